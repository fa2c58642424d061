"""Parts and truncations of dates."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.expressions.facts import Facts, Number, Reading
from privacy.expressions.rules import refuse_types, rule
from privacy.positions import position_of, shown

if TYPE_CHECKING:
    from privacy.expressions.reader import Reader

# Least and greatest value of each part; the year's come from the range of the date.
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
}
_TRUNCATIONS = {"YEAR", "QUARTER", "MONTH", "WEEK", "DAY"}


def _date(reader: Reader, node: exp.Expr, operand: exp.Expr) -> Reading:
    reading = reader.value(operand)
    if reading.facts.type not in ("DATE", "TIMESTAMP"):
        raise refuse_types(node, reading.facts)
    return reading


def _part(name: str, facts: Facts) -> Facts:
    low, high = _PARTS[name]
    if name == "YEAR" and facts.bounded:
        low, high = (dt.date.fromordinal(int(ordinal)).year for ordinal in (facts.low, facts.high))
    return Facts("BIGINT", low, high, facts.nullable)


def _function(name: str) -> Callable[[Reader, exp.Func], Reading]:
    def apply(reader: Reader, node: exp.Func) -> Reading:
        inner = _date(reader, node, node.this)
        return Reading(type(node)(this=inner.sql), _part(name, inner.facts))

    return apply


def extract(reader: Reader, node: exp.Extract) -> Reading:
    """EXTRACT(part FROM date)."""
    name = node.this.name.upper()
    if name not in _PARTS:
        raise _unknown_part(node, name, sorted(_PARTS))
    inner = _date(reader, node, node.expression)
    return Reading(exp.Extract(this=exp.var(name), expression=inner.sql), _part(name, inner.facts))


def truncation(reader: Reader, node: exp.TimestampTrunc | exp.DateTrunc) -> Reading:
    """DATE_TRUNC('month', date), a TIMESTAMP as in DuckDB."""
    name = node.args["unit"].name.upper()
    if name not in _TRUNCATIONS:
        raise _unknown_part(node, name, sorted(_TRUNCATIONS))
    inner = _date(reader, node, node.this)
    # A year at most lies between a day and what it is truncated to.
    facts = Facts("TIMESTAMP", inner.facts.low - 366, inner.facts.high, inner.facts.nullable)
    return Reading(exp.TimestampTrunc(this=inner.sql, unit=exp.var(name)), facts)


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
    exp.Extract: rule(extract, "this", "expression"),
    exp.TimestampTrunc: rule(truncation, "this", "unit", "input_type_preserved"),
    exp.DateTrunc: rule(truncation, "this", "unit", "unabbreviate", "input_type_preserved"),
}
