"""Live windows counted by Flink: one SQL job, submitted through the SQL gateway, and a reader of what it writes."""
