"""Parts of an expression → columns of the SELECT that computes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlglot import exp

from privacy.positions import WRITTEN, name_is_written, position_of, shown

Place = Callable[[exp.Expr], "exp.Column | None"]


def placed(node: exp.Expr, place: Place) -> exp.Expr:
    """`node` with every outermost part for which `place` has a column replaced by it."""
    column = place(node)
    if column is not None:
        return column
    if isinstance(node, exp.Query):
        return node
    copy = node.copy()
    for child in list(copy.iter_expressions()):
        new = placed(child, place)
        if new is not child:
            child.replace(new)
    return copy


def own_parts(node: exp.Expr) -> Iterator[exp.Expr]:
    """`node` and what is in it, without what is in sub-queries."""
    yield node
    for child in node.iter_expressions():
        if not isinstance(child, exp.Query):
            yield from own_parts(child)


def column_at(name: str, table: str, node: exp.Expr) -> exp.Column:
    """Column `name` of `table`, standing where `node` stood; messages show it as it was written."""
    column = exp.column(name, table=table)
    where = position_of(node)
    if where is not None:
        column.this.meta.update(line=where.line, col=where.column, start=0, end=0)
    if not name_is_written(table):
        column.this.meta[WRITTEN] = shown(node)
    return column
