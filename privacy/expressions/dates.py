"""Parts, truncations, names and differences of dates."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.errors import BoundsRefused, ConstructRefused
from privacy.expressions.facts import Facts, Number, Reading
from privacy.expressions.literals import date_literal
from privacy.expressions.rules import refuse_types, rule
from privacy.positions import position_of, shown

if TYPE_CHECKING:
    from privacy.expressions.reader import Reader

# Least and greatest value of each part; those of years come from the range of the date.
_PARTS: dict[str, tuple[Number, Number]] = {
    "YEAR": (-math.inf, math.inf),
    "QUARTER": (1, 4),
    "MONTH": (1, 12),
    "WEEK": (1, 53),
    "DAY": (1, 31),
    "DAYOFWEEK": (0, 6),
    "DOW": (0, 6),
    "ISODOW": (1, 7),
    "DAYOFYEAR": (1, 366),
    "DOY": (1, 366),
    "ISOYEAR": (-math.inf, math.inf),
    "DECADE": (-math.inf, math.inf),
}
_YEARS: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "YEAR": lambda first, last: (first, last),
    "ISOYEAR": lambda first, last: (first - 1, last + 1),  # the first days of January may be of the year before
    "DECADE": lambda first, last: (first // 10, last // 10),
}
_OTHER_NAMES = {"MON": "MONTH", "WEEKDAY": "DOW", "WEEKOFYEAR": "WEEK", "DAYOFMONTH": "DAY", "QTR": "QUARTER"}
_TRUNCATIONS = {"YEAR", "QUARTER", "MONTH", "WEEK", "DAY"}


def _date(reader: Reader, node: exp.Expr, operand: exp.Expr) -> Reading:
    if isinstance(operand, exp.Literal) and operand.is_string:
        return date_literal(operand)
    reading = reader.value(operand)
    if reading.facts.type not in ("DATE", "TIMESTAMP"):
        raise refuse_types(node, reading.facts)
    return reading


def _part(name: str, facts: Facts) -> Facts:
    low, high = _PARTS[name]
    if name in _YEARS and facts.bounded:
        first, last = (dt.date.fromordinal(int(ordinal)).year for ordinal in (facts.low, facts.high))
        low, high = _YEARS[name](first, last)
    return Facts("BIGINT", low, high, facts.nullable)


def _part_name(node: exp.Expr) -> str:
    """`month` of 'months', 'mon' and 'MONTH'."""
    name = node.name.upper()
    singular = name.removesuffix("S")
    name = singular if singular in _PARTS else name
    return _OTHER_NAMES.get(name, name)


def _function(name: str) -> Callable[[Reader, exp.Func], Reading]:
    def apply(reader: Reader, node: exp.Func) -> Reading:
        inner = _date(reader, node, node.this)
        return Reading(type(node)(this=inner.sql), _part(name, inner.facts))

    return apply


def extract(reader: Reader, node: exp.Extract) -> Reading:
    """EXTRACT(part FROM date)."""
    name = _part_name(node.this)
    if name not in _PARTS:
        raise _unknown_part(node, name, sorted(_PARTS))
    inner = _date(reader, node, node.expression)
    return Reading(exp.Extract(this=exp.var(name), expression=inner.sql), _part(name, inner.facts))


def truncation(reader: Reader, node: exp.TimestampTrunc | exp.DateTrunc) -> Reading:
    """DATE_TRUNC('month', date), a TIMESTAMP as in DuckDB."""
    name = _part_name(node.args["unit"])
    if name not in _TRUNCATIONS:
        raise _unknown_part(node, name, sorted(_TRUNCATIONS))
    inner = _date(reader, node, node.this)
    # A year at most lies between a day and what it is truncated to.
    facts = Facts("TIMESTAMP", inner.facts.low - 366, inner.facts.high, inner.facts.nullable)
    return Reading(exp.TimestampTrunc(this=inner.sql, unit=exp.var(name)), facts)


# The fewest days that lie between two starts of each unit.
_UNITS = {"DAY": 1, "WEEK": 7, "MONTH": 28, "QUARTER": 90, "YEAR": 365}


def difference(reader: Reader, node: exp.DateDiff) -> Reading:
    """DATE_DIFF('month', a, b): how many starts of a month lie after `a`, up to `b`."""
    name = _part_name(node.args["unit"])
    if name not in _UNITS:
        raise _unknown_part(node, name, sorted(_UNITS))
    end, start = (_ranged(reader, node, operand) for operand in (node.this, node.expression))
    low, high = end.facts.low - start.facts.high, end.facts.high - start.facts.low
    days = _UNITS[name]
    if name != "DAY":
        low, high = math.floor(low / days) - 1, math.ceil(high / days) + 1
    nullable = end.facts.nullable or start.facts.nullable
    sql = exp.DateDiff(this=end.sql, expression=start.sql, unit=exp.var(name))
    return Reading(sql, Facts("BIGINT", low, high, nullable))


def _name(kind: type[exp.Func]) -> Callable[[Reader, exp.Func], Reading]:
    """DAYNAME(date), MONTHNAME(date)."""

    def apply(reader: Reader, node: exp.Func) -> Reading:
        inner = _ranged(reader, node, node.this)
        return Reading(kind(this=inner.sql), Facts("VARCHAR", nullable=inner.facts.nullable))

    return apply


def formatted(reader: Reader, node: exp.TimeToStr) -> Reading:
    """STRFTIME(date, '%Y-%m')."""
    value, text = node.this, node.args["format"]
    if isinstance(value, exp.Literal) and value.is_string:  # DuckDB takes both orders
        value, text = text, value
    inner = _ranged(reader, node, value)
    if not isinstance(text, exp.Literal) or not text.is_string or not _FORMAT.fullmatch(text.name):
        raise ConstructRefused(
            f"`{shown(node)}`: the format is not known here",
            remedy="It may have %Y, %y, %G, %m, %d, %j, %V, %u, %w, %b, %B, %a and %A, and other text between them.",
            position=position_of(node),
        )
    return Reading(exp.TimeToStr(this=inner.sql, format=text.copy()), Facts("VARCHAR", nullable=inner.facts.nullable))


_FORMAT = re.compile(r"(%-?[mdj]|%[YyGVuwWUbBaA%]|[^%]){1,100}")


def _ranged(reader: Reader, node: exp.Expr, operand: exp.Expr) -> Reading:
    """A date within a range that is known: no engine fails on it."""
    reading = _date(reader, node, operand)
    if not reading.facts.bounded:
        raise BoundsRefused(
            f"No range is known for `{shown(operand)}`",
            remedy="The steward can give the column a `range` in the catalog.",
            position=position_of(operand),
        )
    return reading


def _unknown_part(node: exp.Expr, name: str, known: list[str]) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(node)}`: the part {name} is not known here",
        remedy=f"Parts are {', '.join(known)}.",
        position=position_of(node),
    )


RULES = {
    exp.Year: rule(_function("YEAR"), "this"),
    exp.Quarter: rule(_function("QUARTER"), "this"),
    exp.Month: rule(_function("MONTH"), "this"),
    exp.Week: rule(_function("WEEK"), "this"),
    exp.Day: rule(_function("DAY"), "this"),
    exp.DayOfWeek: rule(_function("DAYOFWEEK"), "this"),
    exp.DayOfYear: rule(_function("DAYOFYEAR"), "this"),
    exp.DayOfWeekIso: rule(_function("ISODOW"), "this"),
    exp.DateDiff: rule(difference, "this", "expression", "unit", "big_int", "date_part_boundary"),
    exp.Dayname: rule(_name(exp.Dayname), "this"),
    exp.Monthname: rule(_name(exp.Monthname), "this"),
    exp.TimeToStr: rule(formatted, "this", "format"),
    exp.Extract: rule(extract, "this", "expression"),
    exp.TimestampTrunc: rule(truncation, "this", "unit", "input_type_preserved"),
    exp.DateTrunc: rule(truncation, "this", "unit", "unabbreviate", "input_type_preserved"),
}
