"""Arithmetic on numbers: interval arithmetic (Moore 1966), and forms without overflow or division by zero."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.errors import BoundsRefused, ConstructRefused
from privacy.expressions.constants import constant
from privacy.expressions.facts import Facts, Number, Reading, hull
from privacy.expressions.moved_dates import by_an_interval, by_days, has_dates, moves_a_date
from privacy.expressions.rules import cast, common_type, grouped, integer, refuse_types, rule
from privacy.positions import position_of, shown

if TYPE_CHECKING:
    from privacy.expressions.reader import Reader

Interval = tuple[Number, Number]

LAST_BITS = 2.0**-50  # relative; a logarithm is off by no more


def numbers_of(reader: Reader, node: exp.Expr, *operands: exp.Expr) -> list[Reading]:
    readings = [reader.value(operand) for operand in operands]
    if not all(reading.facts.is_number for reading in readings):
        raise refuse_types(node, *(reading.facts for reading in readings))
    return readings


def _sum(left: Facts, right: Facts) -> Interval:
    return left.low + right.low, left.high + right.high


def _difference(left: Facts, right: Facts) -> Interval:
    return left.low - right.high, left.high - right.low


def _product(left: Facts, right: Facts) -> Interval:
    if not (left.bounded and right.bounded):
        return -math.inf, math.inf  # not 0 × ∞ = 0: the row itself may hold ∞, and ∞ × 0 is NaN
    corners = [a * b for a in (left.low, left.high) for b in (right.low, right.high)]
    return min(corners), max(corners)


def _binary(interval: Callable[[Facts, Facts], Interval]) -> Callable[[Reader, exp.Binary], Reading]:
    def apply(reader: Reader, node: exp.Binary) -> Reading:
        known = constant(node)
        if known is not None:
            return known
        if moves_a_date(node):
            return by_an_interval(reader, node)
        left, right = reader.value(node.left), reader.value(node.right)
        if has_dates(left, right):
            return by_days(node, left, right)
        if not (left.facts.is_number and right.facts.is_number):
            raise refuse_types(node, left.facts, right.facts)
        whole = left.facts.type == right.facts.type == "BIGINT"
        low, high = interval(left.facts, right.facts) if whole else (-math.inf, math.inf)
        exact = whole and Facts("BIGINT", low, high).fits_integer
        first, second = grouped(left.sql), grouped(right.sql)
        if not exact:
            # In DOUBLE nothing overflows into an error; integers are widened before, not after. The bounds are computed
            # with the same roundings as the rows: rounding is monotone, so no row gets past them.
            first, second = as_double(left), as_double(right)
            low, high = interval(_widened(left.facts), _widened(right.facts))
        elif left.facts.narrow and right.facts.narrow:
            first = cast(first, "BIGINT")
        nullable = left.facts.nullable or right.facts.nullable
        kind = "BIGINT" if exact else "DOUBLE"
        minus_zero = isinstance(node, exp.Mul) and below_zero(left, right)  # sums of what is not −0.0 are not −0.0
        return Reading(type(node)(this=first, expression=second), Facts(kind, low, high, nullable), minus_zero)

    return apply


def below_zero(*operands: Reading) -> bool:
    """Whether one may be: only then a product, quotient or rounded value can be −0.0."""
    return any(operand.facts.low < 0 for operand in operands)


def _widened(facts: Facts) -> Facts:
    return replace(facts, type="DOUBLE")


def negation(reader: Reader, node: exp.Neg) -> Reading:
    (inner,) = numbers_of(reader, node, node.this)
    facts = inner.facts
    exact = facts.type == "BIGINT" and facts.fits_integer
    operand = grouped(inner.sql) if exact else as_double(inner)
    kind = "BIGINT" if exact else "DOUBLE"
    negated = Facts(kind, -facts.high, -facts.low, facts.nullable, narrow=facts.narrow)
    return Reading(exp.Neg(this=operand), negated, minus_zero=facts.low <= 0 <= facts.high)


def _nonzero(divisor: Reading) -> exp.Expr:
    if divisor.facts.low > 0 or divisor.facts.high < 0:
        return grouped(divisor.sql)
    return exp.Nullif(this=divisor.sql, expression=integer(0))


def _may_vanish(divisor: Facts) -> bool:
    return divisor.low <= 0 <= divisor.high


def division(reader: Reader, node: exp.Div) -> Reading:
    """a / b as DOUBLE; NULL where b is zero."""
    left, right = numbers_of(reader, node, node.left, node.right)
    low, high = -math.inf, math.inf
    if not _may_vanish(right.facts) and left.facts.bounded and right.facts.bounded:
        above, below = _widened(left.facts), _widened(right.facts)
        corners = [a / b for a in (above.low, above.high) for b in (below.low, below.high)]
        low, high = min(corners), max(corners)
    nullable = left.facts.nullable or right.facts.nullable or _may_vanish(right.facts)
    quotient = exp.Div(this=as_double(left), expression=_nonzero(right))
    return Reading(quotient, Facts("DOUBLE", low, high, nullable), below_zero(left, right))


def integer_division(reader: Reader, node: exp.IntDiv) -> Reading:
    """a // b, truncated towards zero; NULL where b is zero."""
    left, right = _integers(reader, node)
    largest = max(abs(left.facts.low), abs(left.facts.high))
    low, high = (0 if left.facts.low >= 0 and right.facts.low >= 0 else -largest), largest
    if right.facts.low > 0:
        low, high = _quotients(left.facts, right.facts)
    nullable = left.facts.nullable or right.facts.nullable or _may_vanish(right.facts)
    first = _wide(left)
    return Reading(exp.IntDiv(this=first, expression=_nonzero(right)), Facts("BIGINT", low, high, nullable))


def _quotients(left: Facts, right: Facts) -> Interval:
    if not (left.bounded and right.bounded):
        return left.low, left.high
    corners = [_truncated(a, b) for a in (int(left.low), int(left.high)) for b in (int(right.low), int(right.high))]
    return min(corners), max(corners)


def _truncated(dividend: int, divisor: int) -> int:
    """The quotient towards zero, exact at any size; `divisor` is positive."""
    return dividend // divisor if dividend >= 0 else -(-dividend // divisor)


def modulo(reader: Reader, node: exp.Mod) -> Reading:
    """a % b with the sign of a; NULL where b is zero."""
    operands = numbers_of(reader, node, node.left, node.right)
    if any(operand.facts.type == "DOUBLE" for operand in operands):
        return _remainder(*operands)
    left, right = _integers(reader, node)
    largest = max(abs(right.facts.low), abs(right.facts.high))
    high = min(largest, max(abs(left.facts.low), abs(left.facts.high)))
    low = 0 if left.facts.low >= 0 else -high
    nullable = left.facts.nullable or right.facts.nullable or _may_vanish(right.facts)
    return Reading(exp.Mod(this=_wide(left), expression=_nonzero(right)), Facts("BIGINT", low, high, nullable))


def _remainder(left: Reading, right: Reading) -> Reading:
    """a % b of a DOUBLE, which is exact."""
    low, high = -math.inf, math.inf
    if left.facts.bounded and right.facts.bounded:
        above, below = _widened(left.facts), _widened(right.facts)
        high = min(max(abs(below.low), abs(below.high)), max(abs(above.low), abs(above.high)))
        low, high = (0.0 if above.low >= 0 else -high), high
    nullable = left.facts.nullable or right.facts.nullable or _may_vanish(right.facts)
    divisor = Reading(as_double(right), right.facts)
    rest = exp.Mod(this=as_double(left), expression=_nonzero(divisor))
    return Reading(rest, Facts("DOUBLE", low, high, nullable), below_zero(left))


def _integers(reader: Reader, node: exp.Binary) -> list[Reading]:
    left, right = readings = numbers_of(reader, node, node.left, node.right)
    if left.facts.type != "BIGINT" or right.facts.type != "BIGINT":
        raise ConstructRefused(
            f"`{shown(node)}` takes whole numbers only",  # of others DuckDB's // divides like /
            remedy=f"Write FLOOR({shown(node.left)} / {shown(node.right)}), or CAST the operands AS BIGINT.",
            position=position_of(node),
        )
    if not left.facts.bounded:
        raise BoundsRefused(
            f"`{shown(node.left)}` has no bounds, so `{node.key}` could overflow",
            remedy="Give it bounds: CLAMP(x, lo, hi).",
            position=position_of(node),
        )
    return readings


def _wide(reading: Reading) -> exp.Expr:
    return cast(reading.sql, "BIGINT") if reading.facts.narrow else grouped(reading.sql)


def absolute(reader: Reader, node: exp.Abs) -> Reading:
    (inner,) = numbers_of(reader, node, node.this)
    facts = inner.facts
    high = max(abs(facts.low), abs(facts.high))
    low = 0 if facts.low <= 0 <= facts.high else min(abs(facts.low), abs(facts.high))
    exact = facts.type == "BIGINT" and facts.fits_integer
    operand = inner.sql if exact else as_double(inner)
    kind = "BIGINT" if exact else "DOUBLE"
    return Reading(exp.Abs(this=operand), Facts(kind, low, high, facts.nullable, narrow=facts.narrow))


def rounding(reader: Reader, node: exp.Round) -> Reading:
    """ROUND(x) and ROUND(x, digits) with a literal number of digits; as DOUBLE."""
    digits = node.args.get("decimals")
    places = 0 if digits is None else _digits(digits)
    if places is None:
        raise ConstructRefused(
            f"`{shown(node)}`: the number of digits must be a literal from -9 to 9",
            remedy="Write for example ROUND(x, 2), or ROUND(x, -2) for hundreds.",
            position=position_of(node),
        )
    (inner,) = numbers_of(reader, node, node.this)
    return rounded(inner, places)


def rounded(inner: Reading, places: int) -> Reading:
    """A number to so many decimals; −2 are hundreds."""
    low = _rounded(inner.facts.low, places, outwards=-1)
    high = _rounded(inner.facts.high, places, outwards=1)
    digits = integer(abs(places)) if places >= 0 else exp.Neg(this=integer(abs(places)))
    facts = Facts("DOUBLE", low, high, inner.facts.nullable)
    sql = exp.Round(this=as_double(inner), decimals=digits if places else None)
    return Reading(sql, facts, below_zero(inner))


def _digits(node: exp.Expr) -> int | None:
    """The number that a literal from -9 to 9 is; None of anything else."""
    value = node.this if isinstance(node, exp.Neg) else node
    known = isinstance(value, exp.Literal) and value.name.isdigit() and len(value.name) == 1
    return (int(value.name) if value is node else -int(value.name)) if known else None


def _rounded(bound: Number, places: int, *, outwards: int) -> Number:
    """`bound` if it has no more than `places` decimals, else the next value that has, up (1) or down (-1).

    Python and engines differ in which way they round a half, and on large values scaling changes the last bits.
    """
    if not math.isfinite(bound) or round(bound, places) == bound:
        return bound if not places or abs(bound) * 10.0**places < 2**52 else bound + outwards * LAST_BITS * abs(bound)
    outer = math.ceil if outwards > 0 else math.floor
    if places < 0:
        step = 10.0 ** abs(places)
        return outer(bound / step) * step
    return outer(bound * 10.0**places) / 10.0**places


def _whole(kind: type[exp.Func], function: Callable[[Number], int]) -> Callable[[Reader, exp.Func], Reading]:
    def apply(reader: Reader, node: exp.Func) -> Reading:
        (inner,) = numbers_of(reader, node, node.this)
        bounds = (inner.facts.low, inner.facts.high)
        low, high = (function(bound) if math.isfinite(bound) else bound for bound in bounds)
        facts = Facts("DOUBLE", low, high, inner.facts.nullable)
        return Reading(kind(this=as_double(inner)), facts, below_zero(inner))

    return apply


def _extreme(kind: type[exp.Func]) -> Callable[[Reader, exp.Func], Reading]:
    """LEAST and GREATEST, which ignore NULLs as DuckDB does."""

    def apply(reader: Reader, node: exp.Func) -> Reading:
        readings = numbers_of(reader, node, node.this, *node.expressions)
        parts = [reading.facts for reading in readings]
        low, high = hull(*parts)
        # Only a constant is sure to be there: a column that should not be NULL may still hold one (or NaN) on some row.
        constants = [reading.facts for reading in readings if _is_sure(reading)]
        if constants and kind is exp.Least:
            high = min(facts.high for facts in constants)
        elif constants:
            low = max(facts.low for facts in constants)
        rest = [reading.sql for reading in readings[1:]]
        sql = kind(this=readings[0].sql, expressions=rest, ignore_nulls=True)
        narrow = all(part.narrow for part in parts)
        nullable = all(part.nullable for part in parts)
        return Reading(sql, Facts(common_type(node, *parts), low, high, nullable, narrow=narrow))

    return apply


def _is_sure(reading: Reading) -> bool:
    return reading.facts.bounded and not reading.facts.nullable and reading.sql.find(exp.Column) is None


def clamping(reader: Reader, node: exp.Anonymous) -> Reading:
    """CLAMP(x, lo, hi): weir's own function, which gives an expression the bounds that cannot be inferred."""
    if len(node.expressions) != 3:
        raise ConstructRefused(
            f"`{shown(node)}`: CLAMP takes a value, a least and a greatest number",
            remedy="Write CLAMP(x, 0, 100).",
            position=position_of(node),
        )
    value, least, greatest = numbers_of(reader, node, *node.expressions)
    low, high = least.facts.low, greatest.facts.high
    constant = least.facts.low == least.facts.high and greatest.facts.low == greatest.facts.high
    if not constant or not low <= high:
        raise ConstructRefused(
            f"`{shown(node)}`: the bounds of CLAMP must be constants in order",
            remedy="Write CLAMP(x, 0, 100).",
            position=position_of(node),
        )
    facts = Facts(
        common_type(node, value.facts, least.facts, greatest.facts),
        max(low, min(value.facts.low, high)),
        min(high, max(value.facts.high, low)),
        value.facts.nullable,
        narrow=value.facts.narrow and least.facts.narrow and greatest.facts.narrow,
    )
    return Reading(clamp(value.sql, least.sql, greatest.sql), facts)


def clamp(value: exp.Expr, low: exp.Expr, high: exp.Expr) -> exp.Expr:
    """`value` held within [low, high]; NULL stays NULL (LEAST and GREATEST would make it a bound)."""
    ifs = [
        exp.If(this=exp.LT(this=grouped(value.copy()), expression=low.copy()), true=low.copy()),
        exp.If(this=exp.GT(this=grouped(value.copy()), expression=high.copy()), true=high.copy()),
    ]
    return exp.Case(ifs=ifs, default=value.copy())


def as_double(reading: Reading) -> exp.Expr:
    """The expression as DOUBLE, in which nothing overflows into an error."""
    return grouped(reading.sql) if reading.facts.type == "DOUBLE" else cast(reading.sql, "DOUBLE")


RULES = {
    exp.Add: rule(_binary(_sum), "this", "expression"),
    exp.Sub: rule(_binary(_difference), "this", "expression"),
    exp.Mul: rule(_binary(_product), "this", "expression"),
    exp.Neg: rule(negation, "this"),
    exp.Div: rule(division, "this", "expression", "typed", "safe"),
    exp.IntDiv: rule(integer_division, "this", "expression"),
    exp.Mod: rule(modulo, "this", "expression"),
    exp.Abs: rule(absolute, "this"),
    exp.Round: rule(rounding, "this", "decimals", "casts_non_integer_decimals"),
    exp.Floor: rule(_whole(exp.Floor, math.floor), "this"),
    exp.Ceil: rule(_whole(exp.Ceil, math.ceil), "this"),
    exp.Trunc: rule(_whole(exp.Trunc, math.trunc), "this"),
    exp.Least: rule(_extreme(exp.Least), "this", "expressions", "ignore_nulls"),
    exp.Greatest: rule(_extreme(exp.Greatest), "this", "expressions", "ignore_nulls"),
}
