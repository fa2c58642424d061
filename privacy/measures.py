"""Aggregates of the query → mergeable integer measures below the privacy line and an expression over them above it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from sqlglot import exp

from privacy.errors import BoundsRefused, ConstructRefused
from privacy.expressions import Facts, Reader, Reading
from privacy.expressions.arithmetic import clamp
from privacy.expressions.comparisons import condition
from privacy.expressions.rules import cast, grouped, integer
from privacy.positions import position_of, shown
from privacy.relation import Relation

_LARGEST_STEPS = 10**9  # of one row: 4 × 10⁹ such rows still fit 2⁶²
_FINE_STEPS = 10**6  # of a whole range: finer steps round no mean that anybody reads
_ANSWERED = (exp.Count, exp.Sum, exp.Avg, exp.CountIf)
_COUNT = Facts("BIGINT", -(2**53), 2**53)


@dataclass(frozen=True)
class RawMeasure:
    """A measure before bounding and calibration; fields as in `privacy.fragment.Measure`."""

    name: str
    label: str
    kind: Literal["count", "sum"]
    input: str | None
    low: int
    high: int
    weight: str | None
    grid: float
    centre: int


@dataclass(frozen=True)
class Input:
    """Column `name` of the relation: an integer expression over one row."""

    name: str
    sql: exp.Expr


class MeasureBook:
    """Collects the measures of one query; equal ones are shared.

    Args:
        relation: whose rows are aggregated.
    """

    def __init__(self, relation: Relation) -> None:
        self._relation = relation
        self._reader: Reader = relation.reader
        self._inputs: dict[str, Input] = {}
        self._measures: dict[tuple[object, ...], RawMeasure] = {}

    @property
    def inputs(self) -> tuple[Input, ...]:
        return tuple(self._inputs.values())

    @property
    def measures(self) -> tuple[RawMeasure, ...]:
        return tuple(self._measures.values())

    def lower(self, node: exp.Expr) -> Reading:
        """The expression over merged measures that stands for aggregate `node`.

        Raises:
            ConstructRefused: an aggregate that is not answered.
            BoundsRefused: a value without bounds.
        """
        kept, aggregate = _filtered(node)
        if isinstance(aggregate, exp.CountIf):
            kept = aggregate.this if kept is None else exp.And(this=kept, expression=aggregate.this)
            aggregate = exp.Count(this=exp.Star())
        _check_form(node, aggregate)
        filtered = condition(self._reader, kept).sql if kept is not None else None
        if isinstance(aggregate, exp.Count):
            counted = self._count(aggregate.this, filtered, label=shown(node))
            return Reading(exp.column(counted.name), _COUNT)
        if isinstance(aggregate, exp.Sum):
            return self._sum(aggregate, filtered, label=shown(node))
        return self._average(aggregate, filtered, label=shown(node))

    def _count(self, value: exp.Expr, kept: exp.Expr | None, *, label: str) -> RawMeasure:
        present = None
        if not isinstance(value, exp.Star):
            reading = self._reader.read(value)
            if reading.facts.nullable:
                present = exp.Not(this=exp.Is(this=grouped(reading.sql), expression=exp.Null()))
        tests = [test for test in (kept, present) if test is not None]
        if not tests:
            return self._measure("count", None, 0, 1, label=label)
        counted = exp.Case(ifs=[exp.If(this=exp.and_(*tests), true=integer(1))])
        return self._measure("count", self._input(counted), 0, 1, label=label)

    def _sum(self, node: exp.Expr, kept: exp.Expr | None, *, label: str) -> Reading:
        reading = self._number(node.this)
        grid = self._grid(node.this, reading.facts)
        low, high = _steps(reading.facts.low, grid), _steps(reading.facts.high, grid)
        column = self._input(_kept(_integer(reading, grid, 0, low, high), kept))
        measure = self._measure("sum", column, low, high, grid=grid, label=label)
        value = scaled(exp.column(measure.name), grid)
        if reading.facts.type != "DOUBLE" and grid == 1:
            return Reading(value, _COUNT)
        return Reading(cast(value, "DOUBLE"), Facts("DOUBLE"))

    def _average(self, node: exp.Expr, kept: exp.Expr | None, *, label: str) -> Reading:
        """Sum of distances from the midpoint of the range, over the count: half the sensitivity of the plain sum."""
        reading = self._number(node.this)
        facts = reading.facts
        grid = self._weighted_grid(self._grid(node.this, facts), facts)
        low, high = _steps(facts.low, grid), _steps(facts.high, grid)
        centre = (low + high) // 2
        count = self._count(node.this, kept, label=f"COUNT of {label}")
        column = self._input(_kept(_integer(reading, grid, centre, low - centre, high - centre), kept))
        measure = self._measure(
            "sum", column, low - centre, high - centre, grid=grid, centre=centre, weight=count.name, label=label
        )
        # centre + Σ/n; held within the range, which costs nothing and cuts the tail of the ratio.
        mean = exp.Add(
            this=number(centre * grid),
            expression=exp.Div(this=scaled(exp.column(measure.name), grid), expression=exp.column(count.name)),
        )
        floored = exp.Greatest(this=mean, expressions=[number(facts.low)], ignore_nulls=True)
        bounded = exp.Least(this=floored, expressions=[number(facts.high)], ignore_nulls=True)
        some = exp.GT(this=exp.column(count.name), expression=integer(0))
        value = cast(exp.Case(ifs=[exp.If(this=some, true=bounded)]), "DOUBLE")
        return Reading(value, Facts("DOUBLE", float(facts.low), float(facts.high), nullable=True))

    def _number(self, node: exp.Expr) -> Reading:
        reading = self._reader.value(node)
        if reading.facts.type == "BOOLEAN":
            reading = Reading(cast(reading.sql, "BIGINT"), Facts("BIGINT", 0, 1, reading.facts.nullable))
        if not reading.facts.is_number:
            raise ConstructRefused(
                f"`{shown(node)}` is of type {reading.facts.type}; SUM and AVG take numbers",
                remedy="Count it, or use it as a key.",
                position=position_of(node),
            )
        if not reading.facts.bounded:
            raise BoundsRefused(
                f"No bounds can be inferred for `{shown(node)}`",
                remedy=f"Give it some that you know: CLAMP({shown(node)}, 0, 100).",
                position=position_of(node),
            )
        return reading

    def _grid(self, node: exp.Expr, facts: Facts) -> float:
        """The step to which values are rounded: the catalog's for a plain column, else 10⁻⁹ of the range or finer."""
        largest = max(abs(facts.low), abs(facts.high))
        natural = 1.0
        if facts.type == "DOUBLE":
            natural = 10.0 ** (math.ceil(math.log10(largest)) - 9) if largest > 0 else 1.0
            plain = node.this if isinstance(node, exp.Paren) else node
            column = self._relation.column(plain) if isinstance(plain, exp.Column) else None
            natural = (column.grid if column is not None else None) or natural
        while largest / natural > _LARGEST_STEPS:
            natural *= 10
        return natural

    def _weighted_grid(self, grid: float, facts: Facts) -> float:
        """A finer step, where bounding will scale sums down and round them: its rounding must not show in the mean."""
        bounded = self._relation.table.rows_per_unit is None
        coarse = max(abs(facts.low), abs(facts.high)) / grid < _FINE_STEPS
        return grid / 1000 if bounded and coarse else grid

    def _input(self, sql: exp.Expr) -> str:
        text = sql.sql(dialect="duckdb")
        if text not in self._inputs:
            self._inputs[text] = Input(f"x{len(self._inputs)}", sql)
        return self._inputs[text].name

    def _measure(
        self,
        kind: Literal["count", "sum"],
        column: str | None,
        low: int,
        high: int,
        *,
        label: str,
        grid: float = 1.0,
        centre: int = 0,
        weight: str | None = None,
    ) -> RawMeasure:
        key = (kind, column, low, high, grid, centre, weight)
        if key not in self._measures:
            name = f"m{len(self._measures)}"
            self._measures[key] = RawMeasure(name, label, kind, column, low, high, weight, grid, centre)
        return self._measures[key]


def is_aggregate(node: exp.Expr) -> bool:
    """Whether `node` is an aggregate call, with its FILTER where it has one."""
    return isinstance(node, exp.AggFunc | exp.Filter)


def scaled(value: exp.Expr, grid: float) -> exp.Expr:
    """Steps → value; a division where that is exact, so that 0.01 does not round twice."""
    inverse = 1 / grid
    if grid == 1:
        return value
    if inverse > 1 and abs(inverse - round(inverse)) < 1e-9 * inverse:
        return exp.Div(this=value, expression=number(round(inverse)))
    return exp.Mul(this=value, expression=number(grid))


def number(value: float) -> exp.Expr:
    """A literal, DOUBLE where it is no integer (DuckDB would read a DECIMAL)."""
    text = exp.Literal.number(repr(abs(value)))
    literal = text if isinstance(value, int) else cast(text, "DOUBLE")
    return exp.Neg(this=literal) if value < 0 else literal


def _filtered(node: exp.Expr) -> tuple[exp.Expr | None, exp.Expr]:
    if isinstance(node, exp.Filter):
        return node.expression.this, node.this
    return None, node


def _check_form(node: exp.Expr, aggregate: exp.Expr) -> None:
    plain = {"this", "big_int"}
    extra = {name for name, value in aggregate.args.items() if value not in (None, [], False)} - plain
    if not isinstance(aggregate, _ANSWERED) or extra or isinstance(aggregate.this, exp.Distinct | exp.Order):
        name = aggregate.sql_name() if isinstance(aggregate, exp.Func) else aggregate.key.upper()
        raise ConstructRefused(
            f"`{shown(node)}`: this form of {name} is not answered",
            remedy="Use COUNT(*), COUNT(x), COUNT_IF(condition), SUM(x) or AVG(x), with FILTER (WHERE …) if need be.",
            position=position_of(node),
        )
    nested = aggregate.this.find(exp.AggFunc, exp.Window) if aggregate.this else None
    if nested is not None or (isinstance(aggregate, exp.Sum | exp.Avg) and isinstance(aggregate.this, exp.Star)):
        raise ConstructRefused(
            f"`{shown(node)}` cannot be aggregated",
            remedy="Aggregate a column or an expression over one row.",
            position=position_of(node),
        )


def _steps(value: float, grid: float) -> int:
    steps = value / grid
    return round(steps)


def _kept(value: exp.Expr, kept: exp.Expr | None) -> exp.Expr:
    return value if kept is None else exp.Case(ifs=[exp.If(this=kept.copy(), true=value)])


def _integer(reading: Reading, grid: float, centre: int, low: int, high: int) -> exp.Expr:
    """One row's value in steps of the grid, off centre, clamped to [low, high]; NULL stays NULL."""
    value = reading.sql
    if reading.facts.type == "BIGINT" and grid < 1:
        value = exp.Mul(this=cast(value, "BIGINT"), expression=number(round(1 / grid)))
    elif reading.facts.type == "DOUBLE" or grid != 1:
        inverse = 1 / grid
        whole = abs(inverse - round(inverse)) < 1e-9 * inverse
        ratio = exp.Mul if whole else exp.Div
        steps = ratio(this=grouped(value), expression=number(float(round(inverse)) if whole else grid))
        value = cast(exp.Round(this=steps if grid != 1 else value), "BIGINT")
    if centre:
        value = exp.Sub(this=grouped(value), expression=number(centre))
    if isinstance(reading.sql, exp.Column) or (reading.facts.type == "BIGINT" and grid <= 1):
        return value  # the node's view holds columns within their bounds, and integer intervals are exact
    return clamp(value, number(low), number(high))
