"""DuckDB's SQL, and the clause in which GoogleSQL says what a query may cost.

    SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 1, max_groups_contributed = 2) kind, COUNT(*) FROM …

It stands where a hint stands, behind SELECT, and comes back as the SELECT's hint.
"""

from __future__ import annotations

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.parsers.duckdb import DuckDBParser


class DifferentialPrivacy(exp.Hint):
    """WITH DIFFERENTIAL_PRIVACY, with its OPTIONS as expressions."""

    arg_types = {"expressions": False}  # noqa: RUF012 - as sqlglot has it


class WeirSQL(DuckDB):
    """To read; what is written is plain DuckDB."""

    class Parser(DuckDBParser):
        def _parse_hint(self) -> exp.Hint | None:
            place = self._curr
            if not self._match_text_seq("WITH", "DIFFERENTIAL_PRIVACY"):
                return super()._parse_hint()
            options = self._parse_wrapped_csv(self._parse_expression) if self._match_text_seq("OPTIONS") else []
            return self.expression(DifferentialPrivacy(expressions=options), token=place)
