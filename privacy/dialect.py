"""DuckDB's SQL, with EXPLAIN and HISTOGRAM as trees, and with the clause in which GoogleSQL says what a query may cost.

    EXPLAIN SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 1, max_groups_contributed = 2) kind, COUNT(*) FROM …

The clause stands where a hint stands, behind SELECT, and comes back as the SELECT's hint.
"""

from __future__ import annotations

from sqlglot import TokenType, exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.parsers.duckdb import DuckDBParser

_BEGIN = {TokenType.SELECT, TokenType.WITH, TokenType.FROM, TokenType.PIVOT}  # a query


class DifferentialPrivacy(exp.Hint):
    """WITH DIFFERENTIAL_PRIVACY, with its OPTIONS as expressions."""

    arg_types = {"expressions": False}  # noqa: RUF012 - as sqlglot has it


class Explain(exp.Expression):
    """EXPLAIN of a query; of anything else, whose tokens are dropped, there is no `this`."""

    arg_types = {"this": False}  # noqa: RUF012


class Histogram(exp.Expression, exp.AggFunc):
    """HISTOGRAM(x), HISTOGRAM(x, [10, 20, 50])."""

    arg_types = {"this": True, "expression": False}  # noqa: RUF012


class WeirSQL(DuckDB):
    """To read; what is written is plain DuckDB."""

    INDEX_OFFSET = 0  # `x[1]` stays 1 until it is known whether x is a list or a MAP; parsing.py tells the writer

    class Tokenizer(DuckDB.Tokenizer):
        # As a keyword it would swallow the statement as one text.
        KEYWORDS = {name: kind for name, kind in DuckDB.Tokenizer.KEYWORDS.items() if name != "EXPLAIN"}  # noqa: RUF012

    class Parser(DuckDBParser):
        FUNCTIONS = {**DuckDBParser.FUNCTIONS, "HISTOGRAM": Histogram.from_arg_list}  # noqa: RUF012

        def _parse_statement(self) -> exp.Expr | None:
            place = self._curr
            if not self._match_text_seq("EXPLAIN"):
                return super()._parse_statement()
            if self._at_a_query():
                return self.expression(Explain(this=super()._parse_statement()), token=place)
            while self._curr:
                self._advance()
            return self.expression(Explain(), token=place)

        def _at_a_query(self) -> bool:
            start = self._index
            while self._match(TokenType.L_PAREN):
                pass
            found = self._curr.token_type in _BEGIN
            self._retreat(start)
            return found

        def _parse_hint(self) -> exp.Hint | None:
            place = self._curr
            if not self._match_text_seq("WITH", "DIFFERENTIAL_PRIVACY"):
                return super()._parse_hint()
            options = self._parse_wrapped_csv(self._parse_expression) if self._match_text_seq("OPTIONS") else []
            return self.expression(DifferentialPrivacy(expressions=options), token=place)
