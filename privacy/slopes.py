"""How much noise moves an expression above the privacy line at most: bounds of its values, and of its slopes.

An expression over measures is walked once, from the leaves up, and of every part two things are carried: an interval
of what it can be, and by measure an interval of its slope (forward differentiation in interval arithmetic; Moore,
Kearfott and Cloud 2009, "Introduction to Interval Analysis", §6.4). The noise of a measure moves an expression by no
more than its steepest slope times as much. Sums have one slope everywhere; that of an average, Σ/n, is known where the
rows n are: then Σ is within the bounds of so many rows. What is not known to have a slope has none here: nothing is
guessed.

Intervals are one standard deviation of noise wider at each end than what is expected, and what is divided by must be
`_STANDS_OUT` of its own away from 0. That is where the rows behind a ratio turn out fewer: its variance is
E[e² / (1 + x)²] for noise x of the divisor, up to 1.2 times E[e²] there, and 1 / (0.9)² covers it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.rows.source import sources_of

if TYPE_CHECKING:
    from privacy.measures import RawMeasure

Interval = tuple[float, float]
# A measure as one reading of a block's table shows it: the same in a row, another row's in another reading.
Place = tuple[int, str, str]  # number of the reading, table of the block, measure

_ROUNDED: Place = (-1, "", "")  # what rounding moves by, as if it were noise
_ANY: Interval = (-math.inf, math.inf)
_STANDS_OUT = 9.0


@dataclass(frozen=True)
class Value:
    """Part of an expression.

    Attributes:
        within: what it can be.
        slopes: by measure that it depends on.
    """

    within: Interval
    slopes: Mapping[Place, Interval]


@dataclass(frozen=True)
class NoisyTable:
    """The table that a block's releases are merged into.

    Attributes:
        above: the block's answer, over that table.
        measures: its columns with noise.
        deviations: by measure, the standard deviation of its noise; none where none is to be reckoned with.
        rows: that are expected in each of its counts; None where nobody said.
    """

    above: exp.Select
    measures: Sequence[RawMeasure]
    deviations: Mapping[str, float]
    rows: float | None


@dataclass(frozen=True)
class Column:
    """A column of an answer.

    Attributes:
        error: its greatest standard error; ∞ where noise is too large to say, and where nothing bounds its slope.
        kinds: of the measures in it.
    """

    error: float
    kinds: frozenset[str]


def columns_of(query: exp.Expr, tables: Mapping[str, NoisyTable]) -> list[Column]:
    """The columns of `query`, over the answers of blocks.

    Args:
        tables: by the name that stands for it in `query`.
    """
    return _Reader(tables).columns(query)


def columns_of_block(table: NoisyTable) -> list[Column]:
    """The columns of a block's own answer."""
    return _Reader({_ONLY: table}).columns_of_block(_ONLY)


_ONLY = "only"
Known = Mapping[str, Mapping[str, Value | None]]  # by source in FROM, its columns; None where nothing is known


class _Reader:
    def __init__(self, tables: Mapping[str, NoisyTable]) -> None:
        self._tables = tables
        self._readings = 0
        self._kinds = {
            (name, raw.name): "count" if raw.kind == "units" else raw.kind
            for name, table in tables.items()
            for raw in table.measures
        }

    def columns(self, query: exp.Expr) -> list[Column]:
        query = query.unnest()
        if isinstance(query, exp.SetOperation):  # each row comes from one side
            sides = zip(self.columns(query.left), self.columns(query.right), strict=True)
            return [Column(max(one.error, other.error), one.kinds | other.kinds) for one, other in sides]
        return list(map(self._column, self._answer(query, {})))

    def columns_of_block(self, name: str) -> list[Column]:
        return list(map(self._column, self._block(name).values()))

    def _column(self, value: Value | None) -> Column:
        if value is None:
            return Column(math.inf, frozenset({"unknown"}))
        kinds = {self._kinds[table, measure] for number, table, measure in value.slopes if number >= 0}
        return Column(self._error(value), frozenset(kinds))

    def _error(self, value: Value) -> float:
        """Blocks are independent, and so are the measures of a row. Rows of one block may be the same one."""
        readings: dict[tuple[int, str], float] = {}
        rounded = 0.0
        for place, slope in value.slopes.items():
            number, table, measure = place
            steepest = max(map(abs, slope))
            if place == _ROUNDED:
                rounded += steepest
            elif steepest:
                moved = steepest * self._tables[table].deviations.get(measure, 0.0)
                readings[number, table] = readings.get((number, table), 0.0) + (moved**2 if moved < _HUGE else math.inf)
        blocks: dict[str, float] = {}
        for (_, table), square in readings.items():
            blocks[table] = blocks.get(table, 0.0) + math.sqrt(square)
        found = math.sqrt(math.fsum(error**2 if error < _HUGE else math.inf for error in blocks.values())) + rounded
        return found if math.isfinite(found) else math.inf

    # Queries.

    def _answer(self, query: exp.Expr, outer: Known) -> list[Value | None]:
        query = query.unnest()
        if isinstance(query, exp.SetOperation):
            sides = zip(self._answer(query.left, outer), self._answer(query.right, outer), strict=True)
            return [_either(side) for side in sides]
        if not isinstance(query, exp.Select):
            return []
        known = {**outer, **{source.alias_or_name: self._source(source, outer) for source in sources_of(query)}}
        return [self._read(item.unalias(), known) for item in query.expressions]

    def _source(self, source: exp.Expr, outer: Known) -> Mapping[str, Value | None]:
        if isinstance(source, exp.Table) and source.name in self._tables:
            return self._block(source.name)
        if isinstance(source, exp.Subquery) and isinstance(source.this.unnest(), exp.Query):
            inner = source.this.unnest()
            return dict(zip(inner.named_selects, self._answer(inner, outer), strict=True))
        if isinstance(source, exp.Values):
            return dict.fromkeys((column.name for column in source.args["alias"].columns), Value(_ANY, {}))
        return {}

    def _block(self, name: str) -> dict[str, Value | None]:
        """The columns of the block's answer, in a reading of their own."""
        table = self._tables[name]
        self._readings += 1
        measured = {raw.name: self._measure(raw, name, table) for raw in table.measures}
        inner = table.above.args["from_"].this.this  # one row a group: keys, and aggregates from the measures
        groups: dict[str, Value | None] = {}
        for item in inner.expressions:
            key = isinstance(item, exp.Column)
            groups[item.alias_or_name] = Value(_ANY, {}) if key else self._read(item.unalias(), {"": measured})
        items = table.above.expressions
        return {item.alias_or_name: self._read(item.unalias(), {"": groups}) for item in items}

    def _measure(self, raw: RawMeasure, name: str, table: NoisyTable) -> Value | None:
        if raw.tree is not None:
            return None
        within = _ANY
        if table.rows is not None:
            low, high = (1, 1) if raw.kind != "sum" else (raw.low, raw.high)
            noise = table.deviations.get(raw.name, 0.0)
            within = (low * table.rows - noise, high * table.rows + noise)
        return Value(within, {(self._readings, name, raw.name): (1.0, 1.0)})

    # Expressions.

    def _read(self, node: exp.Expr, known: Known) -> Value | None:
        rule = _RULES.get(type(node))
        if isinstance(node, exp.Column):
            return _column_in(known, node)
        if isinstance(node, exp.Subquery | exp.Select):
            answer = self._answer(node, known)
            return answer[0] if len(answer) == 1 else None
        if isinstance(node, exp.Literal):
            number = float(node.name) if not node.is_string else math.nan
            return Value((number, number) if math.isfinite(number) else _ANY, {})
        if isinstance(node, exp.Case | exp.If):
            return self._choice(node, known)
        if isinstance(node, exp.Div):
            return self._quotient(*(self._read(part, known) for part in (node.this, node.expression)))
        if rule is not None:
            parts = [self._read(part, known) for part in _operands(node)]
            return rule([part for part in parts if part is not None]) if None not in parts else None
        if isinstance(node, exp.Cast):
            return self._cast(node, known)
        if isinstance(node, exp.Round):
            digits = node.args.get("decimals") or exp.Literal.number(0)
            plain = isinstance(digits, exp.Literal) and digits.is_int
            return _rounded(self._read(node.this, known), int(digits.name)) if plain else None
        return None if self._is_noisy(node, known) else Value(_ANY, {})

    def _quotient(self, top: Value | None, bottom: Value | None) -> Value | None:
        if top is None or bottom is None:
            return None
        low, high = bottom.within
        nearest = low if low > 0 else -high if high < 0 else 0.0
        noise = self._error(bottom)
        if not nearest or not math.isfinite(nearest) or noise * _STANDS_OUT > nearest:
            return None
        ratio = _times(top.within, _inverse(bottom.within))
        slopes = {
            place: _times(
                _plus(top.slopes.get(place, _ZERO), _minus(_times(ratio, bottom.slopes.get(place, _ZERO)))),
                _inverse(bottom.within),
            )
            for place in {**top.slopes, **bottom.slopes}
        }
        return Value(ratio, slopes)

    def _choice(self, node: exp.Case | exp.If, known: Known) -> Value | None:
        """CASE: of what has no other branch that; where no noise decides, any of them; else only what clamps."""
        whens = [node] if isinstance(node, exp.If) else node.args["ifs"]
        other = node.args.get("false" if isinstance(node, exp.If) else "default")
        tests = [when.this for when in whens]
        branches = [when.args["true"] for when in whens] + ([other] if other is not None else [])
        if isinstance(node, exp.Case) and node.this is not None:
            tests.append(node.this)
        free = not any(self._is_noisy(test, known) for test in tests)
        alone = len(branches) == 1
        if not (free or alone or (other is not None and all(_clamps(when, other) for when in whens))):
            return None
        return _either([self._read(branch, known) for branch in branches])

    def _cast(self, node: exp.Cast, known: Known) -> Value | None:
        inner = self._read(node.this, known)
        if node.to.this in (exp.DType.DOUBLE, exp.DType.FLOAT):
            return inner
        if node.to.this in exp.DataType.SIGNED_INTEGER_TYPES:
            return inner if node.this.find(exp.Round) else _rounded(inner, 0)
        return inner if inner is not None and not inner.slopes else None

    def _is_noisy(self, node: exp.Expr, known: Known) -> bool:
        """Whether noise may decide on it; aggregates, windows and sub-queries look at which rows there are."""
        if node.find(exp.AggFunc, exp.Window, exp.Query):
            return True
        values = [_column_in(known, column) for column in node.find_all(exp.Column)]
        return any(value is None or value.slopes for value in values)


_MOST_DIGITS = 100  # of a rounding that still moves anything
_HUGE = 1e150  # its square is a float


def _column_in(known: Known, column: exp.Column) -> Value | None:
    if column.table:
        return known.get(column.table, {}).get(column.name)
    return next((columns[column.name] for columns in known.values() if column.name in columns), None)


def _operands(node: exp.Expr) -> list[exp.Expr]:
    if isinstance(node, exp.Greatest | exp.Least | exp.Coalesce):
        return [node.this, *node.expressions]
    return [node.this, node.expression] if isinstance(node, exp.Binary) else [node.this]


def _clamps(when: exp.Expr, other: exp.Expr) -> bool:
    """`WHEN x < c THEN c` before `ELSE x`: no jump."""
    test = when.this
    ordered = isinstance(test, exp.LT | exp.GT) and test.this == other
    return ordered and bool(test.expression == when.args["true"]) and isinstance(test.expression.unnest(), _CONSTANTS)


_CONSTANTS = (exp.Literal, exp.Neg, exp.Cast)


# Intervals. 0 × ∞ is 0: a slope that is 0 is 0 whatever it is multiplied with. ∞ − ∞ may be anything.

_ZERO: Interval = (0.0, 0.0)


def _plus(one: Interval, other: Interval) -> Interval:
    low, high = one[0] + other[0], one[1] + other[1]
    return -math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high


def _minus(one: Interval) -> Interval:
    return -one[1], -one[0]


def _times(one: Interval, other: Interval) -> Interval:
    products = [a * b if a and b else 0.0 for a in one for b in other]
    return min(products), max(products)


def _inverse(one: Interval) -> Interval:
    """Of an interval without 0."""
    return 1 / one[1], 1 / one[0]


# What an expression does to values and slopes.


def _either(values: Sequence[Value | None]) -> Value | None:
    """Any of them."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    places = {place for value in known for place in value.slopes}
    slopes = {place: _hull([value.slopes.get(place, _ZERO) for value in known]) for place in sorted(places)}
    return Value(_hull([value.within for value in known]), slopes)


def _hull(intervals: Sequence[Interval]) -> Interval:
    return min(low for low, _ in intervals), max(high for _, high in intervals)


def _sum(values: Sequence[Value]) -> Value:
    one, other = values
    places = {**one.slopes, **other.slopes}
    slopes = {place: _plus(one.slopes.get(place, _ZERO), other.slopes.get(place, _ZERO)) for place in places}
    return Value(_plus(one.within, other.within), slopes)


def _negative(values: Sequence[Value]) -> Value:
    (one,) = values
    return Value(_minus(one.within), {place: _minus(slope) for place, slope in one.slopes.items()})


def _difference(values: Sequence[Value]) -> Value:
    return _sum([values[0], _negative(values[1:])])


def _product(values: Sequence[Value]) -> Value:
    one, other = values
    slopes = {
        place: _plus(
            _times(other.within, one.slopes.get(place, _ZERO)), _times(one.within, other.slopes.get(place, _ZERO))
        )
        for place in {**one.slopes, **other.slopes}
    }
    return Value(_times(one.within, other.within), slopes)


def _size(values: Sequence[Value]) -> Value:
    (one,) = values
    found = _either([one, _negative(values)])
    assert found is not None
    return Value((0.0, found.within[1]), found.slopes)


def _greatest(values: Sequence[Value]) -> Value:
    found = _either(values)
    assert found is not None
    return Value(tuple(max(value.within[end] for value in values) for end in (0, 1)), found.slopes)  # type: ignore[arg-type]


def _least(values: Sequence[Value]) -> Value:
    return _negative([_greatest([_negative([value]) for value in values])])


def _same(values: Sequence[Value]) -> Value:
    return values[0]


def _curve(of: Callable[[float], float], slope: Callable[[float], float]) -> Callable[[Sequence[Value]], Value | None]:
    """A rising function whose slope falls, of numbers above 0."""

    def rule(values: Sequence[Value]) -> Value | None:
        (one,) = values
        low, high = one.within
        if not one.slopes:
            return Value(_ANY, {})
        if low <= 0 or not math.isfinite(high):
            return None
        steep = (slope(high), slope(low))
        return Value((of(low), of(high)), {place: _times(steep, own) for place, own in one.slopes.items()})

    return rule


def _rounded(value: Value | None, digits: int) -> Value | None:
    if value is None:
        return None
    half = 0.5 * 10.0 ** -min(digits, _MOST_DIGITS)
    low, high = value.slopes.get(_ROUNDED, _ZERO)
    slopes = {**value.slopes, _ROUNDED: (low - half, high + half)} if value.slopes else {}
    return Value((value.within[0] - half, value.within[1] + half), slopes)


_RULES: dict[type[exp.Expr], Callable[[Sequence[Value]], Value | None]] = {
    exp.Paren: _same,
    exp.Neg: _negative,
    exp.Add: _sum,
    exp.Sub: _difference,
    exp.Mul: _product,
    exp.Abs: _size,
    exp.Greatest: _greatest,
    exp.Least: _least,
    exp.Coalesce: _either,
    exp.Nullif: lambda values: values[0],
    exp.Sqrt: _curve(math.sqrt, lambda x: 0.5 / math.sqrt(x)),
    exp.Ln: _curve(math.log, lambda x: 1 / x),
}
