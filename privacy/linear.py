"""Which expressions over measures are linear: the distribution of their noise is known without drawing it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sqlglot import exp

Form = tuple[tuple[str, float], ...]  # by measure, what it is multiplied with; what is added does not matter

_CONSTANT = ""  # no measure can have this name
_Affine = dict[str, float]


def linear_form(node: exp.Expr, columns: Mapping[str, exp.Expr], measures: frozenset[str]) -> Form | None:
    """`node` as Σ coefficient × measure + a constant; None where it is anything else.

    >>> linear_form(parse_one("100 - 2 * a0"), {"a0": parse_one("m0 / 100")}, frozenset({"m0"}))
    (('m0', -0.02),)

    Args:
        columns: what the other columns that `node` speaks of stand for.
        measures: the columns that are sums of integers.
    """
    found = _affine(node, columns, measures)
    return tuple(sorted((name, by) for name, by in found.items() if name != _CONSTANT)) if found is not None else None


def _affine(node: exp.Expr, columns: Mapping[str, exp.Expr], measures: frozenset[str]) -> _Affine | None:
    if isinstance(node, exp.Literal):
        return {_CONSTANT: float(node.name)} if not node.is_string else None
    if isinstance(node, exp.Column):
        if node.name in measures:
            return {node.name: 1.0}
        return _affine(columns[node.name], columns, measures) if node.name in columns else None
    if isinstance(node, exp.Paren) or (isinstance(node, exp.Cast) and node.to.this == exp.DType.DOUBLE):
        return _affine(node.this, columns, measures)
    if isinstance(node, exp.Neg):
        return _times(-1.0, _affine(node.this, columns, measures))
    if isinstance(node, exp.Add | exp.Sub | exp.Mul | exp.Div):
        left, right = (_affine(part, columns, measures) for part in (node.this, node.expression))
        return _combined(node, left, right) if left is not None and right is not None else None
    return None


def _combined(node: exp.Binary, left: _Affine, right: _Affine) -> _Affine | None:
    if isinstance(node, exp.Add):
        return _sum(left, right)
    if isinstance(node, exp.Sub):
        return _sum(left, {name: -by for name, by in right.items()})
    if isinstance(node, exp.Mul):
        constant, other = (left, right) if left.keys() <= {_CONSTANT} else (right, left)
        return _times(constant.get(_CONSTANT, 0.0), other) if constant.keys() <= {_CONSTANT} else None
    divisor = right.get(_CONSTANT, 0.0)
    return _times(1 / divisor, left) if right.keys() <= {_CONSTANT} and divisor else None


def _sum(left: _Affine, right: _Affine) -> _Affine:
    return {name: left.get(name, 0.0) + right.get(name, 0.0) for name in left | right}


def _times(factor: float, form: _Affine | None) -> _Affine | None:
    if form is None or not math.isfinite(factor):
        return None
    return {name: factor * by for name, by in form.items()}
