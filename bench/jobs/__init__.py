"""The hourly job beside NumPy, DuckDB and Polars, on the same Parquet files."""
