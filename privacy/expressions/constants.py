"""Arithmetic on constants, done before any row is looked at, and exactly as DuckDB does it.

`DATE '1998-12-01' - INTERVAL 90 DAY` is a day. `0.06 + 0.01` is 0.07 in DuckDB, whose `0.06` is a DECIMAL; in DOUBLE it
would be a little less, and `discount <= 0.06 + 0.01` would leave out the rows with 0.07.
"""

from __future__ import annotations

import calendar
import datetime as dt
from decimal import Context, Decimal

from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.expressions.facts import Facts, Reading
from privacy.expressions.rules import cast
from privacy.positions import position_of, shown

_MONTHS = {"MONTH": 1, "YEAR": 12}
_DAYS = {"DAY": 1, "WEEK": 7}
_DIGITS = 7  # more days lead out of the calendar anyway
_EXACT = Context(prec=60)


def constant(node: exp.Binary) -> Reading | None:
    """The value of `node`, if it is a sum, difference or product of constants that have to be combined here.

    Raises:
        ConstructRefused: an INTERVAL that is not added to a constant date, or leads out of the calendar.
    """
    if isinstance(node.left, exp.Interval) or isinstance(node.right, exp.Interval):
        day = _day(node)
        sql = cast(cast(exp.Literal.string(day.isoformat()), "DATE"), "TIMESTAMP")
        return Reading(sql, Facts("TIMESTAMP", day.toordinal(), day.toordinal()))
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


def _day(node: exp.Expr) -> dt.date:
    node = node.unnest()
    if isinstance(node, exp.Cast) and node.to.this.name.upper() == "DATE" and isinstance(node.this, exp.Literal):
        try:
            return dt.date.fromisoformat(node.this.name)
        except ValueError:
            raise _not_moved(node) from None
    if isinstance(node, exp.Add | exp.Sub) and isinstance(node.right, exp.Interval):
        return _moved(_day(node.left), node, -1 if isinstance(node, exp.Sub) else 1)
    raise _not_moved(node)


def _moved(day: dt.date, node: exp.Binary, sign: int) -> dt.date:
    interval = node.right
    amount, unit = interval.this, interval.text("unit").upper().removesuffix("S")
    known = isinstance(amount, exp.Literal) and amount.name.isdigit() and len(amount.name) <= _DIGITS
    if not known or unit not in _MONTHS | _DAYS:
        raise _not_moved(node)
    number = sign * int(amount.name)
    try:
        if unit in _DAYS:
            return day + dt.timedelta(days=number * _DAYS[unit])
        year, month = divmod(day.year * 12 + day.month - 1 + number * _MONTHS[unit], 12)
        last = calendar.monthrange(year, month + 1)[1]
        return dt.date(year, month + 1, min(day.day, last))
    except (ValueError, OverflowError):
        raise _not_moved(node) from None


def _not_moved(node: exp.Expr) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(node)}`: an INTERVAL can only be added to a constant date of the years 1 to 9999",
        remedy="Write DATE '1998-12-01' - INTERVAL 90 DAY, with DAY, WEEK, MONTH or YEAR.",
        position=position_of(node),
    )
