"""Dates plus and minus something: a number of days, an INTERVAL, another date.

Where the range of a date is known, and the result stays within the years 1 to 9999, no row can make it fail.
"""

from __future__ import annotations

import calendar
import datetime as dt
from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.errors import BoundsRefused, ConstructRefused
from privacy.expressions.facts import Facts, Reading
from privacy.expressions.rules import cast, grouped, refuse_types, rule
from privacy.positions import position_of, shown

if TYPE_CHECKING:
    from privacy.expressions.reader import Reader

_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}
_DAYS = {"DAY": 1, "WEEK": 7}
_DIGITS = 7  # more days lead out of the calendar anyway
_DATES = ("DATE", "TIMESTAMP")


def moves_a_date(node: exp.Binary) -> bool:
    """Whether an INTERVAL is added or subtracted."""
    return isinstance(node, exp.Add | exp.Sub) and any(
        isinstance(side.unnest(), exp.Interval) for side in (node.left, node.right)
    )


def by_an_interval(reader: Reader, node: exp.Binary) -> Reading:
    """date ± INTERVAL 30 DAY, a TIMESTAMP as in DuckDB."""
    base, interval = node.left, node.right.unnest()
    if isinstance(node, exp.Add) and isinstance(base.unnest(), exp.Interval):
        base, interval = node.right, node.left.unnest()
    moved = _amount(interval)
    if moved is None:
        raise _not_moved(node)
    days, months = moved
    sign = -1 if isinstance(node, exp.Sub) else 1
    inner = reader.value(base)
    _check_date(node, base, inner)
    ends = [_moved(end, sign * days, sign * months, node) for end in (inner.facts.low, inner.facts.high)]
    if ends[0] == ends[1] and _is_a_day(inner.sql):  # a constant, whichever way it is written
        day = exp.Literal.string(dt.date.fromordinal(ends[0]).isoformat())
        return Reading(cast(cast(day, "DATE"), "TIMESTAMP"), Facts("TIMESTAMP", ends[0], ends[0]))
    amount = exp.Literal.string(str(abs(days or months)))
    backwards = sign * (days + months) < 0
    step = exp.Interval(this=amount, unit=exp.var("DAY" if days else "MONTH"))
    kind = exp.Sub if backwards else exp.Add
    sql = kind(this=grouped(inner.sql), expression=step)
    return Reading(sql, Facts("TIMESTAMP", ends[0], ends[1], inner.facts.nullable))


def _is_a_day(node: exp.Expr) -> bool:
    """A DATE that is written out, or that moved."""
    node = node.unnest()
    while isinstance(node, exp.Cast):
        if node.to.this.name == "DATE":
            return isinstance(node.this, exp.Literal)
        node = node.this
    return False


def by_days(node: exp.Binary, left: Reading, right: Reading) -> Reading:
    """date ± number of days, a DATE; date − date, a number of days."""
    for side, reading in ((node.left, left), (node.right, right)):
        if not reading.facts.bounded:
            raise _unbounded(side)
    nullable = left.facts.nullable or right.facts.nullable
    kinds = (left.facts.type, right.facts.type)
    if kinds == ("DATE", "DATE") and isinstance(node, exp.Sub):
        low, high = left.facts.low - right.facts.high, left.facts.high - right.facts.low
        difference = exp.Sub(this=grouped(left.sql), expression=grouped(right.sql))
        return Reading(cast(difference, "BIGINT"), Facts("BIGINT", low, high, nullable))
    if kinds == ("BIGINT", "DATE") and isinstance(node, exp.Add):
        left, right = right, left
    elif kinds != ("DATE", "BIGINT") or not isinstance(node, exp.Add | exp.Sub):
        raise _not_moved(node) if set(kinds) <= set(_DATES) else refuse_types(node, left.facts, right.facts)
    backwards = isinstance(node, exp.Sub)
    steps = (-right.facts.high, -right.facts.low) if backwards else (right.facts.low, right.facts.high)
    low, high = (
        _moved(end, int(step), 0, node) for end, step in zip((left.facts.low, left.facts.high), steps, strict=True)
    )
    # DuckDB adds 32-bit numbers to dates; what leads to a year up to 9999 is one.
    sql = type(node)(this=grouped(left.sql), expression=cast(right.sql, "INTEGER"))
    return Reading(sql, Facts("DATE", low, high, nullable))


def has_dates(*readings: Reading) -> bool:
    return any(reading.facts.type in _DATES for reading in readings)


def last_day(reader: Reader, node: exp.LastDay) -> Reading:
    """The last day of a date's month."""
    inner = reader.value(node.this)
    _check_date(node, node.this, inner)
    low, high = (_moved(end, 31, 0, node) for end in (inner.facts.low - 31, inner.facts.high))
    return Reading(exp.LastDay(this=inner.sql), Facts("DATE", low, high, inner.facts.nullable))


def _check_date(node: exp.Expr, operand: exp.Expr, reading: Reading) -> None:
    if reading.facts.type not in _DATES:
        raise refuse_types(node, reading.facts)
    if not reading.facts.bounded:
        raise _unbounded(operand)


def _amount(interval: exp.Expr) -> tuple[int, int] | None:
    """Days and months of `INTERVAL 3 WEEK`, of which one is 0; None of anything else."""
    if not isinstance(interval, exp.Interval) or interval.this is None:
        return None
    amount, sign = interval.this.unnest(), 1
    if isinstance(amount, exp.Neg):
        amount, sign = amount.this.unnest(), -1
    text = amount.name if isinstance(amount, exp.Literal) else ""
    if text.startswith("-"):
        text, sign = text[1:], -sign
    unit = interval.text("unit").upper().removesuffix("S")
    if not text.isdigit() or len(text) > _DIGITS or unit not in _MONTHS | _DAYS:
        return None
    number = sign * int(text)
    return number * _DAYS.get(unit, 0), number * _MONTHS.get(unit, 0)


def _moved(ordinal: float, days: int, months: int, node: exp.Expr) -> int:
    """`ordinal` that much later; a day that the month does not have is its last."""
    try:
        day = dt.date.fromordinal(int(ordinal))
        year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
        last = calendar.monthrange(year, month + 1)[1]
        moved = dt.date(year, month + 1, min(day.day, last)) + dt.timedelta(days=days)
    except (ValueError, OverflowError, calendar.IllegalMonthError):
        raise _not_moved(node) from None
    return moved.toordinal()


def _unbounded(operand: exp.Expr) -> BoundsRefused:
    return BoundsRefused(
        f"No range is known for `{shown(operand)}`, so dates could leave the calendar",
        remedy="The steward can give the column a `range`; a number of days gets one from CLAMP(x, 0, 30).",
        position=position_of(operand),
    )


def _not_moved(node: exp.Expr) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(node)}` is not known here, or leads out of the years 1 to 9999",
        remedy="Write DATE '1998-12-01' - INTERVAL 90 DAY, with DAY, WEEK, MONTH, QUARTER or YEAR and a number that is "
        "written out; date + 30; DATE - DATE; or DATE_DIFF('day', a, b).",
        position=position_of(node),
    )


RULES = {exp.LastDay: rule(last_day, "this")}
