"""What the conjuncts of WHERE leave of a column: they hold on every row that is counted, whatever the data is.

note IN ('a', 'b')              only these values
amount BETWEEN 0 AND 50         a least and a greatest value
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sqlglot import exp

from privacy.dialect import DUCKDB
from privacy.expressions import Facts, Reading
from privacy.expressions.arithmetic import clamp
from privacy.expressions.rules import cast, integer

Place = tuple[str, str]  # a column: its table's alias, and its name
Read = Callable[[exp.Expr], Reading]

_TYPES = ("VARCHAR", "BIGINT", "DATE")  # equal values of these are the same value
_MOST_VALUES = 10_000
_TURNED: dict[type[exp.Expr], type[exp.Expr]] = {exp.LT: exp.GT, exp.LTE: exp.GTE, exp.GT: exp.LT, exp.GTE: exp.LTE}


@dataclass(frozen=True)
class Held:
    """What a column may be.

    Attributes:
        values: as SQL, all of them; None where they are not listed.
        low, high: of a number; of a DATE as ordinal.
    """

    values: frozenset[str] | None = None
    low: float = -math.inf
    high: float = math.inf

    def also(self, other: Held) -> Held:
        """What both leave."""
        known = [values for values in (self.values, other.values) if values is not None]
        values = frozenset.intersection(*known) if known else None
        return Held(values, max(self.low, other.low), min(self.high, other.high))

    def either(self, other: Held) -> Held:
        """What one of both leaves."""
        listed = self.values is not None and other.values is not None
        values = (self.values or frozenset()) | (other.values or frozenset()) if listed else None
        return Held(values, min(self.low, other.low), max(self.high, other.high))


def held(parts: Iterable[exp.Expr], read: Read) -> dict[Place, Held]:
    """By column, what is left of it where all `parts` are true; nothing of columns that they do not speak of."""
    found: dict[Place, Held] = {}
    for part in parts:
        for place, left in _by(part.unnest(), read).items():
            found[place] = found[place].also(left) if place in found else left
    return found


def within(reading: Reading, left: Held) -> Reading:
    """`reading`, a column without bounds, within those of WHERE: the same value on all rows that are kept."""
    facts = reading.facts
    if not facts.is_number or facts.bounded or facts.identifier or not -(2**53) <= left.low <= left.high <= 2**53:
        return reading
    low, high = left.low, left.high
    if facts.type == "BIGINT":
        low, high = math.ceil(low), math.floor(high)
    ends = [_whole(int(end)) if facts.type == "BIGINT" else _real(end) for end in (low, high)]
    if low > high:
        return reading
    return Reading(clamp(reading.sql, *ends), Facts(facts.type, low, high, facts.nullable))


def listed(left: Held, facts: Facts) -> list[str] | None:
    """All the values that are left, as SQL; None where there are too many, or nobody can list them."""
    if left.values is not None:
        return sorted(left.values)
    low, high = math.ceil(left.low) if math.isfinite(left.low) else 0, left.high
    if facts.type not in ("BIGINT", "DATE") or not (math.isfinite(left.low) and math.isfinite(high)):
        return None
    numbers = range(low, math.floor(high) + 1)
    if not 0 < len(numbers) <= _MOST_VALUES:
        return None
    if facts.type == "BIGINT":
        return [f"CAST({number} AS BIGINT)" for number in numbers]
    return [f"DATE '0001-01-01' + {ordinal - 1}" for ordinal in numbers]


def _by(part: exp.Expr, read: Read) -> Mapping[Place, Held]:
    if isinstance(part, exp.And):
        return held((part.left, part.right), read)
    if isinstance(part, exp.Or):
        left, right = (_by(side.unnest(), read) for side in (part.left, part.right))
        return {place: left[place].either(right[place]) for place in left.keys() & right.keys()}
    if isinstance(part, exp.In) and part.expressions and isinstance(part.this.unnest(), exp.Column):
        return _one_of(part.this.unnest(), part.expressions, read)
    if isinstance(part, exp.Between) and not part.args.get("symmetric"):
        value, low, high = (part.args[name].copy() for name in ("this", "low", "high"))
        return held((exp.GTE(this=value, expression=low), exp.LTE(this=value.copy(), expression=high)), read)
    if isinstance(part, exp.EQ | exp.LT | exp.LTE | exp.GT | exp.GTE):
        column, value = part.left.unnest(), part.right.unnest()
        kind: type[exp.Expr] = type(part)
        if isinstance(value, exp.Column):
            column, value, kind = value, column, _TURNED.get(kind, kind)
        if isinstance(column, exp.Column) and not value.find(exp.Column, exp.Query):
            return _one_of(column, [value], read) if kind is exp.EQ else _side(column, value, kind, read)
    return {}


def _one_of(column: exp.Column, values: Iterable[exp.Expr], read: Read) -> Mapping[Place, Held]:
    facts, readings = read(column).facts, [read(value) for value in values]
    readings = [reading for reading in readings if reading.facts.type != "NULL"]  # equal to nothing
    if not readings or any(reading.sql.find(exp.Column, exp.Query) for reading in readings):
        return {}
    ends = [(reading.facts.low, reading.facts.high) for reading in readings]
    same = facts.type in _TYPES and all(reading.facts.type == facts.type for reading in readings)
    written = frozenset(_typed(reading).sql(dialect=DUCKDB) for reading in readings) if same else None
    return {_place(column): Held(written, min(low for low, _ in ends), max(high for _, high in ends))}


def _typed(reading: Reading) -> exp.Expr:
    return cast(reading.sql, "BIGINT") if reading.facts.type == "BIGINT" else reading.sql


def _side(column: exp.Column, value: exp.Expr, kind: type[exp.Expr], read: Read) -> Mapping[Place, Held]:
    bound = read(value).facts
    if read(column).facts.type not in ("BIGINT", "DOUBLE", "DATE"):
        return {}
    if kind in (exp.LT, exp.LTE):
        return {_place(column): Held(high=bound.high)}
    return {_place(column): Held(low=bound.low)}


def _place(column: exp.Column) -> Place:
    return column.table, column.name


def _whole(value: int) -> exp.Expr:
    return cast(integer(value) if value >= 0 else exp.Neg(this=integer(-value)), "BIGINT")


def _real(value: float) -> exp.Expr:
    literal = cast(exp.Literal.number(repr(abs(float(value)))), "DOUBLE")
    return exp.Neg(this=literal) if value < 0 else literal
