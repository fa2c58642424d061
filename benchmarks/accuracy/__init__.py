"""How far answers are from the truth: weir against smartnoise-sql, pyqrlew and OpenDP's Polars context.

All answer the same queries over the same table at the same ε, for the same privacy unit with the same limits. Peers run
in environments of their own under build/, each a subprocess that takes a task and gives its releases, as JSON.
"""
