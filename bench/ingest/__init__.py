"""Durable ingest: the collector, and beside it what others do with the same bodies."""
