"""Mergeable integer measures: what is summed below the privacy line, and the expressions over the sums above it."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, replace

from sqlglot import exp

from privacy.bins import Bins, refuse_large, value_bins
from privacy.dialect import DUCKDB
from privacy.domains import Domains
from privacy.errors import BoundsRefused, ConstructRefused, DomainRefused
from privacy.expressions import Facts, Reader, Reading
from privacy.expressions.arithmetic import clamp
from privacy.expressions.rules import cast, grouped, integer
from privacy.fragment import Asked, Kind, Level, ReadOff
from privacy.grids import EXACT, grid_of, in_steps, number, scaled, steps_of
from privacy.positions import position_of, shown
from privacy.rows.relation import Relation
from privacy.trees import Rank, Tree, flat_tree, tree_over

MOST_LEAVES = 1000
MOST_LISTS = 20  # expressions whose values are listed for one query: each may take a tenth of a second
_FINE_STEPS = 10**6  # of a whole range: finer steps round no mean that anybody reads
COUNT_FACTS = Facts("BIGINT", -(2**53), 2**53)
_OF_NO_KNOWN_SIZE = 2**31  # the range of lengths and places in texts
_MOST_VALUES = 10_000


@dataclass(frozen=True)
class RawMeasure:
    """A measure before bounding and calibration; fields as in `privacy.fragment.Measure`."""

    name: str
    label: str
    kind: Kind
    input: str | None
    low: int
    high: int
    weight: str | None
    grid: float
    centre: int
    tree: Tree | None = None
    total: str = ""
    level: Level | None = None

    @property
    def width(self) -> int:
        """How many numbers one cell has of it."""
        return self.tree.size if self.tree is not None else 1


@dataclass(frozen=True)
class Input:
    """Column `name` of the relation: an integer expression over one row."""

    name: str
    sql: exp.Expr


@dataclass(frozen=True)
class Lowered:
    """An aggregate as an expression over merged measures.

    Attributes:
        importance: by measure, how its noise shows in the aggregate: Var(aggregate) ≈ Σ importance × Var(measure) /
            (its largest value of one row)², in units that make a count, a sum and a mean comparable (calibration.py).
    """

    reading: Reading
    importance: dict[str, float]


class MeasureBook:
    """Collects the measures of one query; equal ones are shared.

    Args:
        relation: whose rows are aggregated.
        domains: list the values that an expression over those rows can have.
        most_leaves: of one histogram.
        from_means: sums that are to be computed from a mean and a count, of the `derivable` of the query's first book.
        levels: whether groups are rolled up; then sums of integers are no `derivable`, because rounded at each level
            the levels would not agree.
    """

    def __init__(
        self,
        relation: Relation,
        domains: Domains,
        *,
        most_leaves: int = MOST_LEAVES,
        from_means: frozenset[str] = frozenset(),
        levels: bool = False,
    ) -> None:
        self._relation = relation
        self._domains = domains
        self._most_leaves = most_leaves
        self._from_means = from_means
        self._levels = levels
        self._sums: dict[str, str | None] = {}  # by input of a sum, the input of the count of the same rows
        self._bins: dict[exp.Expr, Bins] = {}
        self._parts = 0  # of what numbers single bins
        self._read_off: dict[tuple[str, Asked], ReadOff] = {}
        self.reader: Reader = relation.reader
        self._inputs: dict[str, Input] = {}
        self._measures: dict[tuple[object, ...], RawMeasure] = {}

    @property
    def inputs(self) -> tuple[Input, ...]:
        return tuple(self._inputs.values())

    @property
    def columns_read_off(self) -> tuple[ReadOff, ...]:
        return tuple(self._read_off.values())

    @property
    def measures(self) -> tuple[RawMeasure, ...]:
        return tuple(self._measures.values())

    def count(self, value: exp.Expr, kept: exp.Expr | None, *, label: str) -> RawMeasure:
        """Rows in which `value` is not NULL and `kept` (in total form) is true."""
        counted = self._counted(value, kept)
        return self._measure("count", self._input(counted) if counted is not None else None, 0, 1, label=label)

    def units(self, value: exp.Expr, kept: exp.Expr | None, *, label: str) -> RawMeasure:
        """Distinct units with a row in which `value`, their identifier, is not NULL and `kept` is true."""
        if self._relation.owned.rows == 1:
            return self.count(value, kept, label=label)
        counted = self._counted(value, kept)
        return self._measure("units", self._input(counted) if counted is not None else None, 0, 1, label=label)

    def _counted(self, value: exp.Expr, kept: exp.Expr | None) -> exp.Expr | None:
        """What is not NULL in the rows of that count; None where all rows are."""
        present = None
        if not isinstance(value, exp.Star):
            reading = self.reader.read(value)
            if reading.facts.nullable:
                present = exp.Not(this=exp.Is(this=grouped(reading.sql), expression=exp.Null()))
        tests = [test for test in (kept, present) if test is not None]
        return exp.Case(ifs=[exp.If(this=exp.and_(*tests), true=integer(1))]) if tests else None

    def total(self, node: exp.Expr, kept: exp.Expr | None, *, label: str) -> Lowered:
        """Σ of `node` over the rows in which `kept` is true."""
        reading = self.number(node)
        grid = self._grid(reading)
        low, high = steps_of(reading.facts, grid)
        summed = _kept(in_steps(reading, grid, 0, low, high), kept)
        text = summed.sql(dialect=DUCKDB)
        if text in self._from_means:
            return self._total_from_mean(node, kept, reading.facts, label=label)
        if low < high and (reading.facts.type == "DOUBLE" or not self._levels):
            counted = self._counted(node, kept)
            self._sums[text] = counted.sql(dialect=DUCKDB) if counted is not None else None
        column = self._input(summed)
        measure = self._measure("sum", column, low, high, grid=grid, label=label)
        value = scaled(exp.column(measure.name), grid)
        importance = {measure.name: _importance_of_total(low, high)}
        if reading.facts.type != "DOUBLE" and grid == 1:
            return Lowered(Reading(value, COUNT_FACTS), importance)
        return Lowered(Reading(cast(value, "DOUBLE"), Facts("DOUBLE")), importance)

    def _total_from_mean(self, node: exp.Expr, kept: exp.Expr | None, facts: Facts, *, label: str) -> Lowered:
        """Σ of distances from the centre + centre × count: where the count is released anyway, a measure less."""
        centred, count = self._centred(self.number(node), node, kept, total=label)
        low, high = steps_of(facts, centred.grid)
        # As DOUBLE, because the product may exceed 2⁶³ where the noise is extreme.
        shift = exp.Mul(this=number(float(centred.centre)), expression=exp.column(count.name))
        steps = exp.Paren(this=exp.Add(this=exp.column(centred.name), expression=shift))
        value = scaled(steps, centred.grid)
        squared = (max(abs(low), abs(high)) / centred.high) ** 2 / _importance_of_total(low, high)
        importance = {centred.name: 1 / squared, count.name: (centred.centre / centred.high) ** 2 / squared}
        if facts.type != "DOUBLE":
            whole = clamp(exp.Round(this=value), number(COUNT_FACTS.low), number(COUNT_FACTS.high))
            return Lowered(Reading(cast(whole, "BIGINT"), COUNT_FACTS), importance)
        return Lowered(Reading(cast(value, "DOUBLE"), Facts("DOUBLE")), importance)

    @property
    def derivable(self) -> frozenset[str]:
        """The sums of rows that are counted too: each could be computed from a mean and that count."""
        names = {column.name: text for text, column in self._inputs.items()}
        counts = {names.get(raw.input or "") for raw in self.measures if raw.kind == "count"}
        return frozenset(text for text, counted in self._sums.items() if counted in counts)

    def mean(self, node: exp.Expr, kept: exp.Expr | None, *, label: str, reading: Reading | None = None) -> Lowered:
        """Sum of distances from the midpoint of the range, over the count: half the sensitivity of the plain sum.

        Args:
            reading: of `node`, where its caller knows closer bounds than can be inferred.
        """
        reading = reading or self.number(node)
        facts = reading.facts
        measure, count = self._centred(reading, node, kept, label=label)
        grid, centre = measure.grid, measure.centre
        # centre + Σ/n; held within the range, which costs nothing and cuts the tail of the ratio.
        mean = exp.Add(
            this=number(centre * grid),
            expression=exp.Div(this=scaled(exp.column(measure.name), grid), expression=exp.column(count.name)),
        )
        floored = exp.Greatest(this=mean, expressions=[number(facts.low)], ignore_nulls=True)
        bounded = exp.Least(this=floored, expressions=[number(facts.high)], ignore_nulls=True)
        some = exp.GT(this=exp.column(count.name), expression=integer(0))
        value = cast(exp.Case(ifs=[exp.If(this=some, true=bounded)]), "DOUBLE")
        known = Facts("DOUBLE", float(facts.low), float(facts.high), nullable=True)
        # Noise of the count moves the mean by its distance from the middle: half of half the range, say.
        return Lowered(Reading(value, known), {measure.name: 1.0, count.name: 0.25})

    def _centred(
        self, reading: Reading, node: exp.Expr, kept: exp.Expr | None, *, label: str = "", total: str = ""
    ) -> tuple[RawMeasure, RawMeasure]:
        """The sum of distances of `reading` of `node` from the middle of its range, and the count of its rows.

        Args:
            label, total: of the mean or of the sum that is computed from both.
        """
        grid = self._weighted_grid(self._grid(reading), reading.facts)
        low, high = steps_of(reading.facts, grid)
        centre = (low + high) // 2
        count = self.count(node, kept, label=f"COUNT of {label or total}")
        column = self._input(_kept(in_steps(reading, grid, centre, low - centre, high - centre), kept))
        measure = self._measure(
            "sum", column, low - centre, high - centre, grid=grid, centre=centre, weight=count.name, label=label
        )
        # It may be known already from its other use.
        key = next(key for key, known in self._measures.items() if known is measure)
        self._measures[key] = replace(measure, label=measure.label or label, total=measure.total or total)
        return self._measures[key], count

    def quantile(self, node: exp.Expr, rank: Rank, kept: exp.Expr | None, *, label: str) -> Lowered:
        """The value of `node` at `rank` among the rows in which `kept` is true, to the width of a bin."""
        day = self.reader.value(node)
        if day.facts.type == "DATE" and day.facts.bounded and rank in ("least", "greatest"):
            return self._day(day, rank, kept, label=label)
        return self._at_rank(self._spread_out(node), rank, kept, label=label)

    def _day(self, day: Reading, rank: Rank, kept: exp.Expr | None, *, label: str) -> Lowered:
        """The first or last day, as a number of days since the first that there can be."""
        first = exp.Literal.string(dt.date.fromordinal(int(day.facts.low)).isoformat())
        since = exp.Sub(this=grouped(day.sql), expression=cast(first, "DATE"))
        known = Facts("BIGINT", 0, int(day.facts.high - day.facts.low), day.facts.nullable)
        found = self._at_rank(Reading(cast(since, "BIGINT"), known), rank, kept, label=label)
        days = cast(exp.Round(this=found.reading.sql), "INTEGER")
        last = day.facts.low + math.ceil(found.reading.facts.high)
        value = exp.Add(this=cast(first.copy(), "DATE"), expression=days)
        return replace(found, reading=Reading(value, Facts("DATE", day.facts.low, last, nullable=True)))

    def _at_rank(self, reading: Reading, rank: Rank, kept: exp.Expr | None, *, label: str) -> Lowered:
        facts = reading.facts
        whole = facts.type == "BIGINT"
        tree = tree_over(facts.low, facts.high, whole=whole, most_leaves=self._most_leaves)
        column = self._input(_kept(_leaf(reading, tree), kept))
        measure = self._measure("tree", column, 0, 1, tree=tree, label=label)
        name = self._named(measure, rank)
        known = Facts("DOUBLE", float(facts.low), float(facts.high) + tree.width, nullable=True)
        return Lowered(Reading(exp.column(name), known), {measure.name: 1.0})

    def bins_of_values(self, node: exp.Expr) -> Bins:
        """A bin for each value that `node` can have.

        Raises:
            DomainRefused: nobody can list the values.
            ConstructRefused: the values of too many expressions are to be listed.
        """
        if node not in self._bins:
            if len(self._bins) == MOST_LISTS:
                raise ConstructRefused(
                    f"`{shown(node)}`: single values of more than {MOST_LISTS} expressions are counted",
                    remedy="Ask several queries.",
                    position=position_of(node),
                )
            self._bins[node] = value_bins(node, self.reader, self._relation, self._domains)
        return self._bins[node]

    def read_off(self, node: exp.Expr, bins: Bins, asked: Asked, kept: exp.Expr | None, *, facts: Facts) -> Lowered:
        """What aggregate `node` reads off the counts of single bins, over the rows in which `kept` is true.

        Args:
            facts: of what is read off.

        Raises:
            ConstructRefused: the bins of the query's aggregates are too many.
        """
        numbered = _kept(bins.leaf, kept)
        if numbered.sql(dialect=DUCKDB) not in self._inputs:
            self._parts += sum(1 for _ in numbered.walk())
            refuse_large(node, self._parts)
        column = self._input(numbered)
        measure = self._measure("tree", column, 0, 1, tree=flat_tree(len(bins.values)), label=shown(node))
        name = self._named(measure, asked, bins)
        return Lowered(Reading(exp.column(name), facts), {measure.name: 1.0})

    def _named(self, measure: RawMeasure, asked: Asked, bins: Bins | None = None) -> str:
        place = (measure.name, asked)
        if place not in self._read_off:
            name = f"q{len(self._read_off)}"
            found = ReadOff(name, measure.name, asked)
            self._read_off[place] = replace(found, values=bins.values, boundaries=bins.boundaries) if bins else found
        return self._read_off[place].name

    def _spread_out(self, node: exp.Expr) -> Reading:
        """`node` as a number whose distance from the lower bound can be computed on every row."""
        reading = self.number(node)
        facts = reading.facts
        distance = facts.high - facts.low
        if not math.isfinite(distance):
            raise BoundsRefused(
                f"The bounds of `{shown(node)}` are too far apart for bins",
                remedy=f"Give it closer ones that you know: CLAMP({shown(node)}, 0, 100).",
                position=position_of(node),
            )
        if facts.type == "BIGINT" and distance > EXACT:
            return Reading(cast(reading.sql, "DOUBLE"), replace(facts, type="DOUBLE"))
        return reading

    def number(self, node: exp.Expr) -> Reading:
        """`node` as a number with bounds.

        Raises:
            ConstructRefused: it is no number.
            BoundsRefused: no bounds can be inferred.
        """
        reading = self.reader.value(node)
        if reading.facts.type == "BOOLEAN":
            reading = Reading(cast(reading.sql, "BIGINT"), Facts("BIGINT", 0, 1, reading.facts.nullable))
        if not reading.facts.is_number:
            raise ConstructRefused(
                f"`{shown(node)}` is of type {reading.facts.type}, where a number must stand",
                remedy=_NO_NUMBER.get(reading.facts.type, "Count it, or use it as a key."),
                position=position_of(node),
            )
        if not reading.facts.bounded:
            raise BoundsRefused(
                f"No bounds can be inferred for `{shown(node)}`",
                remedy=f"Give it some that you know: CLAMP({shown(node)}, 0, 100).",
                position=position_of(node),
            )
        return self._narrowed(reading)

    def _narrowed(self, reading: Reading) -> Reading:
        """An integer of no known size, as a text's length, within the values that it can have, if these are listed.

        It is clamped to them, so a row with a code that nobody listed counts no more than others.
        """
        facts = reading.facts
        if facts.type != "BIGINT" or facts.high - facts.low < _OF_NO_KNOWN_SIZE:
            return reading
        try:
            values = self._domains.values(self._relation, reading, most=_MOST_VALUES).to_pylist()
        except DomainRefused:
            return reading
        if not values:
            return reading
        low, high = max(facts.low, values[0]), min(facts.high, values[-1])
        held = clamp(reading.sql, number(low), number(high))
        return Reading(cast(held, "BIGINT"), Facts("BIGINT", low, high, facts.nullable))

    def _grid(self, reading: Reading) -> float:
        plain = reading.sql.unnest()
        known = self._relation.column(plain).grid if isinstance(plain, exp.Column) else None
        return grid_of(reading.facts, known)

    def _weighted_grid(self, grid: float, facts: Facts) -> float:
        """A finer step where steps are coarse: bounding may scale sums down and round them, pairs have a middle."""
        coarse = max(abs(facts.low), abs(facts.high)) / grid < _FINE_STEPS
        return grid / 1000 if coarse else grid

    def _input(self, sql: exp.Expr) -> str:
        text = sql.sql(dialect=DUCKDB)
        if text not in self._inputs:
            self._inputs[text] = Input(f"x{len(self._inputs)}", sql)
        return self._inputs[text].name

    def _measure(
        self,
        kind: Kind,
        column: str | None,
        low: int,
        high: int,
        *,
        label: str,
        grid: float = 1.0,
        centre: int = 0,
        weight: str | None = None,
        tree: Tree | None = None,
    ) -> RawMeasure:
        key = (kind, column, low, high, grid, centre, weight, tree)
        if key not in self._measures:
            name = f"m{len(self._measures)}"
            self._measures[key] = RawMeasure(name, label, kind, column, low, high, weight, grid, centre, tree)
        return self._measures[key]


_NO_NUMBER = {
    "DATE": "Of dates there are MIN, MAX and COUNT; of others aggregate days: DATE_DIFF('day', DATE '2024-01-01', x).",
    "VARCHAR": "Count it, use it as a key, or make a number of it: TRY_CAST(x AS INTEGER).",
}


def _leaf(reading: Reading, tree: Tree) -> exp.Expr:
    """The number of the bin that one row's value is in; NULL stays NULL."""
    if reading.facts.type == "BIGINT":
        away = exp.Paren(this=exp.Sub(this=grouped(cast(reading.sql, "BIGINT")), expression=number(int(tree.low))))
        place: exp.Expr = exp.IntDiv(this=away, expression=integer(int(tree.width)))
    else:
        away = exp.Paren(this=exp.Sub(this=grouped(reading.sql), expression=number(float(tree.low))))
        place = cast(exp.Floor(this=exp.Div(this=away, expression=number(float(tree.width)))), "BIGINT")
    return clamp(place, integer(0), integer(tree.leaves - 1))


def _importance_of_total(low: int, high: int) -> float:
    """A sum is read in units of half its range a row: what counts is how its largest row compares with that."""
    half = (high - low) / 2
    largest = max(abs(low), abs(high))
    return min(4.0, (largest / half) ** 2) if half else 1.0


def _kept(value: exp.Expr, kept: exp.Expr | None) -> exp.Expr:
    return value if kept is None else exp.Case(ifs=[exp.If(this=kept.copy(), true=value)])
