"""Batch engines: they turn raw files, or finer maps, into maps."""
