"""How fast answers are: weir, end to end, against plain DuckDB, smartnoise-sql, pyqrlew and OpenDP's Polars context.

All answer one query over the same file, for the same privacy unit with the same bounds and limits, at the same ε, in
turn. Peers are those of benchmarks.accuracy, in its environments and by its scripts, each a process that stays.
"""
