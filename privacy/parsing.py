"""SQL text → one SELECT whose clauses are all known."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.errors import SqlglotError

from privacy.clause import Clause, read_clause
from privacy.dialect import DifferentialPrivacy, Parsed, read
from privacy.errors import ConstructRefused, Position, SyntaxRefused
from privacy.growth import refuse_growth
from privacy.positions import position_of, position_of_token, shown
from privacy.spellings import spelled

# sqlglot warns on a logger before it falls back to Command, which is refused below with an error of our own.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

_CLAUSES = {
    *("kind", "hint", "with_", "distinct", "expressions", "from_", "joins", "where", "group", "having", "qualify"),
    *("order", "limit", "offset"),
}
_LATER = {
    "sample": ("TABLESAMPLE", "Leave it out: noise is added by the nodes, sampling is not needed."),
    "into": ("INTO", "Weir only reads: leave INTO out."),
}
_NOT_A_SELECT = "Write one SELECT with COUNT, SUM or AVG over a private table."


@dataclass(frozen=True)
class Written:
    """What a text says.

    Attributes:
        query: or PIVOT, in DuckDB's dialect.
        clause: WITH DIFFERENTIAL_PRIVACY, which the query has no more.
        explains: whether EXPLAIN stands before it.
    """

    query: exp.Expr
    clause: Clause
    explains: bool


def parse(sql: str) -> Written:
    """The one query in `sql`.

    Raises:
        SyntaxRefused: it does not parse; with the position.
        ConstructRefused: several statements, no query, or a clause that is not answered.
    """
    parsed = _parsed(sql)
    if parsed.explain is not None and not parsed.statements:
        raise _explained_otherwise(position_of_token(parsed.explain))
    statement = _one(parsed.statements)
    if not isinstance(statement, exp.Select | exp.SetOperation | exp.Subquery | exp.Pivot):
        raise _not_a_select(statement)
    for part in (statement, *(option for clause in parsed.clauses for option in clause.options)):
        _refuse_half_numbers(part)
    for index in statement.find_all(exp.Bracket):
        index.set("offset", 1)  # as written, and as it is to be written again
    clause = _clause_of(statement, parsed.clauses)
    spelled(statement)
    for select in statement.find_all(exp.Select):
        for name, value in select.args.items():
            if name not in _CLAUSES and value not in (None, [], False):
                raise _clause(name, value if isinstance(value, exp.Expr) else select)
        if select.args.get("kind") or select.args.get("hint"):
            raise _clause("kind", select)
    refuse_growth(statement)
    return Written(statement, clause, explains=parsed.explain is not None)


def _explained_otherwise(position: Position) -> ConstructRefused:
    return ConstructRefused(
        "Of EXPLAIN only the plain form is answered, before a query",
        remedy="Write EXPLAIN SELECT …, which runs nothing and costs nothing; as JSON it comes from .to_dict(), or "
        "from `weir query --format json`.",
        position=position,
    )


def _clause_of(statement: exp.Expr, clauses: tuple[DifferentialPrivacy, ...]) -> Clause:
    """WITH DIFFERENTIAL_PRIVACY of the outermost SELECT."""
    outermost = statement.unnest()
    inner = next((clause for clause in clauses if clause.select is not outermost), None)
    if inner is not None:
        around = "around the UNION" if isinstance(outermost, exp.SetOperation) else "there"
        raise ConstructRefused(
            "WITH DIFFERENTIAL_PRIVACY is about the whole query, and stands at its outermost SELECT alone",
            remedy=f"Write it once, {around}: SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(…) … FROM (…) AS t.",
            position=position_of_token(inner.start),
        )
    return read_clause(clauses[0].options) if clauses else Clause()


def _refuse_half_numbers(statement: exp.Expr) -> None:
    """`1e`, which sqlglot's lexer takes for a number."""
    for literal in statement.find_all(exp.Literal):
        if literal.is_string:
            continue
        try:
            float(literal.name)
        except ValueError:
            raise SyntaxRefused(
                f"`{literal.name}` is no number", remedy="Write it out: 1000 or 1e3.", position=position_of(literal)
            ) from None


def _parsed(sql: str) -> Parsed:
    try:
        return read(sql)
    except SqlglotError as fault:
        raise _syntax(fault) from None
    except RecursionError:
        raise SyntaxRefused("The query is nested too deeply.", remedy="Write it with fewer parentheses.") from None


def _syntax(fault: SqlglotError) -> SyntaxRefused:
    details = getattr(fault, "errors", None) or [{}]
    first = details[0]
    position = None
    if first.get("line"):
        # sqlglot counts the last column of the token that it could not use.
        width = len(first.get("highlight") or " ")
        position = Position(first["line"], max(1, first["col"] - width + 1))
    token = first.get("highlight")
    near = f" at `{token}`" if token else ""
    what = (first.get("description") or "a text or comment is not closed").rstrip(".")
    return SyntaxRefused(f"Syntax error{near}: {what}", remedy="Correct the SQL there.", position=position)


def _one(statements: tuple[exp.Expr, ...]) -> exp.Expr:
    if not statements:
        raise SyntaxRefused("There is no query.", remedy=_NOT_A_SELECT)
    if len(statements) > 1:
        raise ConstructRefused(
            f"There are {len(statements)} statements; a request is one query",
            remedy="Send them one at a time.",
            position=position_of(statements[1]),
        )
    return statements[0]


def _not_a_select(statement: exp.Expr) -> ConstructRefused:
    if isinstance(statement, exp.Query | exp.Pivot):
        what, remedy = f"`{shown(statement)}`", _NOT_A_SELECT
    else:
        what, remedy = f"`{shown(statement)}` is no query; it", f"Weir only reads. {_NOT_A_SELECT}"
    return ConstructRefused(f"{what} is not answered", remedy=remedy, position=position_of(statement))


def _clause(name: str, value: exp.Expr) -> ConstructRefused:
    title, remedy = _LATER.get(name, (name.strip("_").upper(), "Leave it out; docs/sql.md lists the clauses."))
    return ConstructRefused(f"{title} is not answered", remedy=remedy, position=position_of(value))
