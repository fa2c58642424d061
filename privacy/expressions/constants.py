"""Arithmetic on constants, done before any row is looked at, and exactly as DuckDB does it.

`0.06 + 0.01` is 0.07 in DuckDB, whose `0.06` is a DECIMAL; in DOUBLE it would be a little less, and
`discount <= 0.06 + 0.01` would leave out the rows with 0.07.
"""

from __future__ import annotations

from decimal import Context, Decimal

from sqlglot import exp

from privacy.expressions.facts import Facts, Reading
from privacy.expressions.rules import cast

_EXACT = Context(prec=60)


def constant(node: exp.Binary) -> Reading | None:
    """The value of `node`, if it is a sum, difference or product of constants that have to be combined here."""
    number = _decimal(node)
    if number is None or not _has_point(node):
        return None
    value = float(number)
    literal = cast(exp.Literal.number(repr(abs(value))), "DOUBLE")
    return Reading(exp.Neg(this=literal) if value < 0 else literal, Facts("DOUBLE", value, value))


def _decimal(node: exp.Expr) -> Decimal | None:
    if isinstance(node, exp.Paren):
        return _decimal(node.this)
    if isinstance(node, exp.Neg):
        inner = _decimal(node.this)
        return None if inner is None else -inner
    if isinstance(node, exp.Literal) and not node.is_string:
        return Decimal(node.name) if node.name.replace(".", "", 1).isdigit() else None
    if not isinstance(node, exp.Add | exp.Sub | exp.Mul):
        return None
    left, right = _decimal(node.left), _decimal(node.right)
    if left is None or right is None:
        return None
    if isinstance(node, exp.Mul):
        return _EXACT.multiply(left, right)
    return _EXACT.add(left, right if isinstance(node, exp.Add) else -right)


def _has_point(node: exp.Expr) -> bool:
    return any("." in literal.name for literal in node.find_all(exp.Literal))
