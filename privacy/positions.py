"""Where in the SQL an expression stands."""

from __future__ import annotations

from sqlglot import exp

from privacy.errors import Position


def position_of(node: exp.Expr) -> Position | None:
    """The first token of `node` that carries a place; None where the tree has none."""
    places = [found.meta for found in node.walk() if "line" in found.meta]
    if not places:
        return None
    first = min(places, key=lambda meta: int(meta["start"]))
    # sqlglot counts a token's last column.
    return Position(int(first["line"]), int(first["col"]) - int(first["end"]) + int(first["start"]))


def shown(node: exp.Expr) -> str:
    """The expression as SQL, short enough for a message."""
    text = node.sql(dialect="duckdb")
    return text if len(text) <= 80 else text[:77] + "…"
