"""2. The append-only log between the collector and everything that reads events."""
