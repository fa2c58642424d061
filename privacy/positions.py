"""Where in the SQL an expression stands."""

from __future__ import annotations

from sqlglot import Token, exp

from privacy.dialect import DUCKDB
from privacy.errors import Position


def position_of(node: exp.Expr) -> Position | None:
    """The first token of `node` that carries a place; None where the tree has none."""
    places = [found.meta for found in node.walk() if "line" in found.meta]
    if not places:
        return None
    first = min(places, key=lambda meta: int(meta["start"]))
    return _position(*(int(first[name]) for name in ("line", "col", "start", "end")))


def position_of_token(token: Token) -> Position:
    """Where its first letter stands."""
    return _position(token.line, token.col, token.start, token.end)


def _position(line: int, last_column: int, start: int, end: int) -> Position:
    """sqlglot counts a token's last column."""
    return Position(line, last_column - end + start)


WRITTEN = "written"  # in the meta of a name that nobody wrote: what stood there


def name_is_written(name: str) -> bool:
    """Whether a researcher can have written it; weir's own names have what no identifier has."""
    return "<" not in name


def _as_written(node: exp.Expr) -> exp.Expr:
    text = node.this.meta.get(WRITTEN) if isinstance(node, exp.Column) else None
    return exp.Var(this=text) if text is not None else node


def shown(node: exp.Expr) -> str:
    """The expression as SQL, short enough for a message."""
    if any(WRITTEN in name.meta for name in node.find_all(exp.Identifier)):
        node = node.transform(_as_written)
    text = node.sql(dialect=DUCKDB)
    return text if len(text) <= 80 else text[:77] + "…"
