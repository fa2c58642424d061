"""What weir costs: against plain DuckDB over the same files, and part by part. Run `make bench`."""
