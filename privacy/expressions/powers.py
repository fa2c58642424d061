"""Powers, exponentials, logarithms and roots, in DOUBLE: ∞ and NaN come out where a row leads there, never an error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.expressions.arithmetic import LAST_BITS, as_double, below_zero, numbers_of
from privacy.expressions.facts import Facts, Number, Reading
from privacy.expressions.rules import cast, integer, rule
from privacy.positions import position_of, shown

if TYPE_CHECKING:
    from privacy.expressions.reader import Reader

Interval = tuple[Number, Number]

_ANY: Interval = (-math.inf, math.inf)
_LOGARITHMS: dict[int, Callable[[float], float]] = {2: math.log2, 10: math.log10}


def power(reader: Reader, node: exp.Pow) -> Reading:
    """POWER(x, y), x ^ y, x ** y; with bounds where y is a constant and x never leads to ∞ or NaN."""
    base, exponent = numbers_of(reader, node, node.left, node.right)
    low, high = _ANY
    if exponent.facts.bounded and exponent.facts.low == exponent.facts.high and base.facts.bounded:
        low, high = _powers(base.facts, float(exponent.facts.low))
    nullable = base.facts.nullable or exponent.facts.nullable
    raised = exp.Pow(this=as_double(base), expression=as_double(exponent))
    return Reading(raised, Facts("DOUBLE", low, high, nullable), below_zero(base))


def _powers(base: Facts, exponent: float) -> Interval:
    """Powers are monotone on either side of 0."""
    defined = base.low > 0 or (exponent >= 0 and (base.low >= 0 or exponent.is_integer()))
    if not defined:
        return _ANY
    turns = [0.0] if base.low < 0 < base.high else []
    try:
        ends = [float(end) ** exponent for end in (float(base.low), float(base.high), *turns)]
    except OverflowError:
        return _ANY
    return widened(min(ends), max(ends))


def exponential(reader: Reader, node: exp.Exp) -> Reading:
    (inner,) = numbers_of(reader, node, node.this)
    low, high = _ANY
    if inner.facts.bounded and inner.facts.high < _LARGEST_EXPONENT:
        low, high = widened(math.exp(inner.facts.low), math.exp(inner.facts.high))
    return Reading(exp.Exp(this=as_double(inner)), Facts("DOUBLE", low, high, inner.facts.nullable))


_LARGEST_EXPONENT = 709  # of e, within DOUBLE


def natural(reader: Reader, node: exp.Ln) -> Reading:
    """LN(x); NULL where x is not above 0."""
    (inner,) = numbers_of(reader, node, node.this)
    return _logarithm(inner, lambda operand: exp.Ln(this=operand), math.log)


def logarithm(reader: Reader, node: exp.Log) -> Reading:
    """LOG(x) = LOG10(x), LOG2(x), LOG(2, x), LOG(10, x); NULL where x is not above 0."""
    base, value = (exp.Literal.number(10), node.this) if node.expression is None else (node.this, node.expression)
    function = _LOGARITHMS.get(int(base.name)) if isinstance(base, exp.Literal) and base.is_int else None
    if function is None:
        raise ConstructRefused(
            f"`{shown(node)}`: the base must be 2 or 10",
            remedy="Write LOG2(x), LOG10(x), or LN(x) / LN(base).",
            position=position_of(node),
        )
    (inner,) = numbers_of(reader, node, value)
    return _logarithm(inner, lambda operand: exp.Log(this=base.copy(), expression=operand), function)


def _logarithm(inner: Reading, applied: Callable[[exp.Expr], exp.Expr], function: Callable[[float], float]) -> Reading:
    facts, operand = inner.facts, as_double(inner)
    low = function(facts.low) if 0 < facts.low < math.inf else -math.inf
    high = function(facts.high) if 0 < facts.high < math.inf else (0.0 if facts.high <= 0 else math.inf)
    low, high = widened(low, high)
    if facts.low > 0:
        return Reading(applied(operand), Facts("DOUBLE", low, high, facts.nullable))
    above = exp.GT(this=operand.copy(), expression=integer(0))
    guarded = exp.Case(ifs=[exp.If(this=above, true=applied(operand))])
    return Reading(guarded, Facts("DOUBLE", low, high, nullable=True))


def root(reader: Reader, node: exp.Sqrt) -> Reading:
    """SQRT(x); NULL where x is below 0."""
    (inner,) = numbers_of(reader, node, node.this)
    facts, operand = inner.facts, as_double(inner)
    low = math.sqrt(facts.low) if 0 < facts.low < math.inf else 0.0
    high = math.sqrt(facts.high) if 0 < facts.high < math.inf else (0.0 if facts.high <= 0 else math.inf)
    if facts.low > 0:
        return Reading(exp.Sqrt(this=operand), Facts("DOUBLE", low, high, facts.nullable))
    defined = exp.GTE(this=operand.copy(), expression=integer(0))
    guarded = exp.Case(ifs=[exp.If(this=defined, true=exp.Sqrt(this=operand))])
    return Reading(guarded, Facts("DOUBLE", low, high, nullable=True))


def sign(reader: Reader, node: exp.Sign) -> Reading:
    """−1, 0 or 1."""
    (inner,) = numbers_of(reader, node, node.this)
    low = -1 if inner.facts.low < 0 else int(inner.facts.low > 0)
    high = 1 if inner.facts.high > 0 else -int(inner.facts.high < 0)
    if not inner.facts.bounded:
        low, high = -1, 1  # the sign of NaN is 0
    facts = Facts("BIGINT", low, high, inner.facts.nullable)
    return Reading(cast(exp.Sign(this=as_double(inner)), "BIGINT"), facts)


def widened(low: Number, high: Number) -> Interval:
    """By what libraries differ in the last bits."""
    spread = [LAST_BITS * abs(end) if math.isfinite(end) else 0.0 for end in (low, high)]
    return low - spread[0], high + spread[1]


RULES = {
    exp.Pow: rule(power, "this", "expression"),
    exp.Exp: rule(exponential, "this"),
    exp.Ln: rule(natural, "this"),
    exp.Log: rule(logarithm, "this", "expression"),
    exp.Sqrt: rule(root, "this"),
    exp.Sign: rule(sign, "this"),
}
