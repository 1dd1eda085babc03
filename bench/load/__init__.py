"""The load: distinct, realistic bodies, and senders that are not the bottleneck on the second core."""
