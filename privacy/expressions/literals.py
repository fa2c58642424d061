"""Constants and parentheses."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.expressions.facts import INTEGER_LIMIT, Facts, Reading
from privacy.expressions.rules import cast, grouped, rule
from privacy.positions import position_of, shown

if TYPE_CHECKING:
    from privacy.expressions.reader import Reader

_NARROW = 2**31 - 1
_LONG = 20  # digits, which no integer within the limit has


def literal(_: Reader, node: exp.Literal) -> Reading:
    if node.is_string:
        return Reading(node.copy(), Facts("VARCHAR"))
    text = node.name
    if text.isdigit() and len(text) < _LONG and int(text) <= INTEGER_LIMIT:
        value, narrow = int(text), int(text) <= _NARROW
        plain = exp.Literal.number(value)
        # DuckDB would read -2147483648 as the INTEGER whose ABS overflows, though 2147483648 is a BIGINT.
        return Reading(plain if narrow else cast(plain, "BIGINT"), Facts("BIGINT", value, value, narrow=narrow))
    number = float(text)
    if not math.isfinite(number):
        raise ConstructRefused(
            f"`{shown(node)[:20]}…` is too large a number", remedy="Write a smaller one.", position=position_of(node)
        )
    # DuckDB reads 0.1 as DECIMAL, whose arithmetic can overflow into an error.
    return Reading(cast(exp.Literal.number(text), "DOUBLE"), Facts("DOUBLE", number, number))


def boolean(_: Reader, node: exp.Boolean) -> Reading:
    return Reading(node.copy(), Facts("BOOLEAN"))


def null(_: Reader, node: exp.Null) -> Reading:
    # The empty interval: NULL adds nothing to the bounds of what it is combined with.
    return Reading(node.copy(), Facts("NULL", math.inf, -math.inf, nullable=True, narrow=True))


def paren(reader: Reader, node: exp.Paren) -> Reading:
    inner = reader.read(node.this)
    return Reading(grouped(inner.sql), inner.facts)


def date_literal(node: exp.Literal) -> Reading:
    """A string as a DATE.

    Raises:
        ConstructRefused: it is no date.
    """
    try:
        day = dt.date.fromisoformat(node.name)
    except ValueError:
        raise ConstructRefused(
            f"{shown(node)} is no date", remedy="Write dates as DATE '2024-03-01'.", position=position_of(node)
        ) from None
    ordinal = day.toordinal()
    return Reading(cast(exp.Literal.string(day.isoformat()), "DATE"), Facts("DATE", ordinal, ordinal))


def timestamp_literal(node: exp.Literal) -> Reading:
    """A string as a TIMESTAMP without a time zone.

    Raises:
        ConstructRefused: it is no point in time.
    """
    try:
        moment = dt.datetime.fromisoformat(node.name)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is not None:
        raise ConstructRefused(
            f"{shown(node)} is no point in time",
            remedy="Write TIMESTAMP '2024-03-01 12:00:00'.",
            position=position_of(node),
        )
    sql = cast(exp.Literal.string(moment.isoformat(sep=" ")), "TIMESTAMP")
    return Reading(sql, Facts("TIMESTAMP", moment.toordinal(), moment.toordinal()))


RULES = {
    exp.Literal: rule(literal, "this", "is_string"),
    exp.Boolean: rule(boolean, "this"),
    exp.Null: rule(null),
    exp.Paren: rule(paren, "this"),
}
