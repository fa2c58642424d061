"""Aggregates over the rows of one unit: GROUP BY the unit's identifier, and further keys.

What comes out are rows again, each of one unit. Bounds follow from those of a row and from how many rows of the unit
there can be, or count: where only the limit `max_rows` holds, counts and sums are held within what it allows. Sums are
made of whole steps, so that they do not depend on the order of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlglot import exp

from privacy.errors import BoundsRefused, ConstructRefused, RowsRefused
from privacy.expressions import Facts, Reading
from privacy.expressions.arithmetic import as_double, clamp
from privacy.expressions.comparisons import condition
from privacy.expressions.rules import cast
from privacy.grids import grid_of, in_steps, number, scaled, steps_of
from privacy.positions import position_of, shown
from privacy.rows.placing import column_at, own_parts, placed
from privacy.rows.relation import Context, Relation, conjuncts_of, is_unit, relation_over
from privacy.rows.source import UNIT, Arm, Source, SourceColumn

_GROUPED = "<by unit>"  # no identifier of a query can be this


@dataclass(frozen=True)
class Aggregated:
    """An aggregate over the rows of one unit.

    Attributes:
        reading: in total form.
        grid: of a DOUBLE that is made of whole steps.
        listed: an expression over one row whose values, or NULL, are all that the aggregate can have.
    """

    reading: Reading
    grid: float | None = None
    listed: exp.Expr | None = None


@dataclass(frozen=True)
class Rows:
    """What an aggregate is made of: the rows of one unit in which `kept` is true.

    Attributes:
        most: rows there can be, or that count.
        promised: there cannot be more; otherwise more are cut.
        over: puts a window around an aggregate.
    """

    relation: Relation
    kept: exp.Expr | None
    most: int
    promised: bool
    over: Callable[[exp.Expr], exp.Expr] | None

    def filtered(self, aggregate: exp.Expr) -> exp.Expr:
        if self.kept is not None:
            aggregate = exp.Filter(this=aggregate, expression=exp.Where(this=self.kept.copy()))
        return self.over(aggregate) if self.over is not None else aggregate

    def held(self, value: exp.Expr, low: int, high: int) -> exp.Expr:
        """`value`, an integer, as BIGINT within [low, high]."""
        return cast(value if self.promised else clamp(value, number(low), number(high)), "BIGINT")


def has_aggregates(select: exp.Select) -> bool:
    """Whether a SELECT makes groups of the rows of its FROM."""
    if select.args.get("group") or select.args.get("having"):
        return True
    parts = select.expressions
    return any(_aggregate(node) for part in parts for node in _outside_windows(part))


def group_by_unit(select: exp.Select, relation: Relation, context: Context) -> tuple[exp.Select, Relation]:
    """A SELECT … GROUP BY person_id, … → the rows of one unit each, and what is left to select of them.

    Raises:
        RowsRefused: the unit's identifier is not among the keys.
        QueryRefused: an aggregate that is not answered for one unit.
    """
    group = select.args.get("group")
    nodes = list(group.expressions) if group is not None else []
    if group is not None and {name for name, value in group.args.items() if value} - {"expressions"}:
        raise ConstructRefused(
            f"`{shown(group)}` is not answered below the aggregates",
            remedy="Group by the unit and plain keys.",
            position=position_of(group),
        )
    keys = {f"k{place}": relation.reader.read(node) for place, node in enumerate(nodes)}
    if not any(map(is_unit, keys.values())):
        raise RowsRefused(
            f"`{shown(select)}`: aggregates inside of a sub-query must be those of one {relation.owned.unit}",
            remedy=f"Add the identifier of the {relation.owned.unit} to its GROUP BY, or aggregate once, outside.",
            position=position_of(select.expressions[0]),
        )
    columns = {
        name: SourceColumn(reading.facts, fixed=relation.is_fixed(reading.sql)) for name, reading in keys.items()
    }
    found: dict[exp.Expr, str] = {}
    made: dict[str, Aggregated] = {}

    def place(node: exp.Expr) -> exp.Column | None:
        if node in nodes:
            return column_at(f"k{nodes.index(node)}", _GROUPED, node)
        if not _aggregate(node):
            return None
        if node not in found:
            found[node] = f"a{len(found)}"
            made[found[node]] = aggregate_of_unit(node, relation)
        return column_at(found[node], _GROUPED, node)

    items = [exp.alias_(placed(item.unalias(), place), item.alias_or_name, quoted=True) for item in select.expressions]
    having = select.args.get("having")
    conjuncts = [placed(part, place) for part in conjuncts_of(having.this if having else None)]
    owner = relation.owned
    if all(columns[name].fixed for name, reading in keys.items() if not is_unit(reading)):
        owner = replace(owner, rows=1, max_rows=1, max_groups=1)
    columns |= {name: SourceColumn(one.reading.facts, one.grid, fixed=owner.rows == 1) for name, one in made.items()}
    listed = {name: reading.sql for name, reading in keys.items()}
    listed |= {name: one.listed for name, one in made.items() if one.listed is not None}
    selected = {UNIT: relation.unit} | {name: reading.sql for name, reading in keys.items()}
    sql = relation.query(
        selected | {name: one.reading.sql for name, one in made.items()}, grouped_by=list(selected.values())
    )
    unit = relation.column(relation.unit)
    arm = Arm(relation, listed, apart=frozenset(made))
    apart = frozenset(name for name, reading in keys.items() if not is_unit(reading))
    source = Source(context.alias("sub"), sql, {**columns, UNIT: unit}, UNIT, owner, (arm,), apart)
    rest = exp.Select(expressions=items, distinct=select.args.get("distinct"), qualify=_placed_in(select, place))
    return rest, relation_over(source, _GROUPED, conjuncts, context)


def _placed_in(select: exp.Select, place: Callable[[exp.Expr], exp.Column | None]) -> exp.Expr | None:
    qualify = select.args.get("qualify")
    return exp.Qualify(this=placed(qualify.this, place)) if qualify is not None else None


def _outside_windows(node: exp.Expr) -> list[exp.Expr]:
    windows = {
        id(part) for window in node.find_all(exp.Window) for part in [window.this, *window.this.iter_expressions()]
    }
    return [part for part in own_parts(node) if id(part) not in windows]


def _aggregate(node: exp.Expr) -> bool:
    plain = isinstance(node, exp.AggFunc | exp.Filter | exp.WithinGroup)
    return plain and not isinstance(node.parent, exp.Window)


def aggregate_of_unit(
    node: exp.Expr, relation: Relation, *, over: Callable[[exp.Expr], exp.Expr] | None = None
) -> Aggregated:
    """An aggregate over the rows of one unit, or, with `over`, over a window of them.

    Raises:
        QueryRefused: it is not answered, or a value has no bounds.
    """
    kept, aggregate = (node.expression.this, node.this) if isinstance(node, exp.Filter) else (None, node)
    rule = _AGGREGATES.get(type(aggregate))
    given = {name for name, value in aggregate.args.items() if value not in (None, [], False)}
    if rule is None or given - {"this", "big_int"} or aggregate.find(exp.Query):
        raise _not_answered(node, relation)
    owner = relation.owned
    test = condition(relation.reader, kept).sql if kept is not None else None
    rows = Rows(relation, test, owner.most_rows, promised=owner.rows is not None, over=over)
    return rule(rows, aggregate)


def _count(rows: Rows, node: exp.Expr) -> Aggregated:
    if isinstance(node.this, exp.Distinct):
        return _count_distinct(rows, node)
    every = isinstance(node.this, exp.Star)
    reading = None if every else rows.relation.reader.read(node.this)
    counted = exp.Count(this=reading.sql if reading else exp.Star())
    # A column that should not be NULL may still hold one (node/views.py).
    sure = rows.kept is None and (reading is None or is_unit(reading))
    least = 1 if sure else 0
    return Aggregated(Reading(rows.held(rows.filtered(counted), 0, rows.most), Facts("BIGINT", least, rows.most)))


def _count_distinct(rows: Rows, node: exp.Expr) -> Aggregated:
    values = node.this.expressions
    if len(values) != 1:
        raise _not_answered(node, rows.relation)
    counted = exp.Count(this=exp.Distinct(expressions=[rows.relation.reader.read(values[0]).sql]))
    return Aggregated(Reading(rows.held(rows.filtered(counted), 0, rows.most), Facts("BIGINT", 0, rows.most)))


def _count_if(rows: Rows, node: exp.Expr) -> Aggregated:
    # Of no rows COUNT_IF is NULL in DuckDB, and a count of NULLs is 0.
    test = condition(rows.relation.reader, node.this).sql
    counted = exp.Count(this=exp.Case(ifs=[exp.If(this=test, true=number(1))]))
    return Aggregated(Reading(rows.held(rows.filtered(counted), 0, rows.most), Facts("BIGINT", 0, rows.most)))


def _bounded(rows: Rows, node: exp.Expr) -> Reading:
    reading = rows.relation.reader.value(node.this)
    if reading.facts.type == "BOOLEAN":
        reading = Reading(cast(reading.sql, "BIGINT"), Facts("BIGINT", 0, 1, reading.facts.nullable))
    if not reading.facts.is_number:
        raise _not_answered(node, rows.relation)
    if not reading.facts.bounded:
        raise BoundsRefused(
            f"No bounds can be inferred for `{shown(node.this)}`",
            remedy=f"Give it some that you know: CLAMP({shown(node.this)}, 0, 100).",
            position=position_of(node),
        )
    return reading


def _steps(rows: Rows, reading: Reading) -> tuple[exp.Expr, float, int, int]:
    """The sum in whole steps; the step; the bounds of one row."""
    known = rows.relation.column(reading.sql).grid if isinstance(reading.sql, exp.Column) else None
    grid = grid_of(reading.facts, known)
    low, high = steps_of(reading.facts, grid)
    return rows.filtered(exp.Sum(this=in_steps(reading, grid, 0, low, high))), grid, low, high


def _nullable(rows: Rows, reading: Reading) -> bool:
    return reading.facts.nullable or rows.kept is not None


def _sum(rows: Rows, node: exp.Expr) -> Aggregated:
    reading = _bounded(rows, node)
    total, grid, low, high = _steps(rows, reading)
    least, most = rows.most * min(low, 0), rows.most * max(high, 0)
    held = rows.held(total, least, most)
    if reading.facts.type == "BIGINT" and grid == 1:
        return Aggregated(Reading(held, Facts("BIGINT", least, most, _nullable(rows, reading))))
    facts = Facts("DOUBLE", least * grid, most * grid, _nullable(rows, reading))
    return Aggregated(Reading(_within(cast(scaled(held, grid), "DOUBLE"), facts), facts), grid)


def _average(rows: Rows, node: exp.Expr) -> Aggregated:
    reading = _bounded(rows, node)
    total, grid, _, _ = _steps(rows, reading)
    count = rows.filtered(exp.Count(this=reading.sql.copy()))
    mean = scaled(exp.Paren(this=exp.Div(this=cast(total, "DOUBLE"), expression=count)), grid)
    facts = Facts("DOUBLE", float(reading.facts.low), float(reading.facts.high), _nullable(rows, reading))
    return Aggregated(Reading(_within(mean, facts), facts))


def _within(value: exp.Expr, facts: Facts) -> exp.Expr:
    """Rounding moves no value past its bounds."""
    return clamp(value, number(float(facts.low)), number(float(facts.high)))


def _extreme(rows: Rows, node: exp.Expr) -> Aggregated:
    reading = rows.relation.reader.value(node.this)
    facts = replace(reading.facts, nullable=_nullable(rows, reading))
    return Aggregated(Reading(rows.filtered(type(node)(this=reading.sql)), facts), _grid(rows, reading), reading.sql)


def _grid(rows: Rows, reading: Reading) -> float | None:
    return rows.relation.column(reading.sql).grid if isinstance(reading.sql, exp.Column) else None


def _median(rows: Rows, node: exp.Expr) -> Aggregated:
    reading = _bounded(rows, node)
    facts = Facts("DOUBLE", float(reading.facts.low), float(reading.facts.high), _nullable(rows, reading))
    return Aggregated(Reading(_within(rows.filtered(exp.Median(this=as_double(reading))), facts), facts))


def _truth(rows: Rows, node: exp.Expr) -> Aggregated:
    reading = condition(rows.relation.reader, node.this)
    facts = Facts("BOOLEAN", nullable=_nullable(rows, reading))
    return Aggregated(Reading(rows.filtered(type(node)(this=reading.sql)), facts))


_AGGREGATES: dict[type[exp.Expr], Callable[[Rows, exp.Expr], Aggregated]] = {
    exp.Count: _count,
    exp.CountIf: _count_if,
    exp.Sum: _sum,
    exp.Avg: _average,
    exp.Min: _extreme,
    exp.Max: _extreme,
    exp.Median: _median,
    exp.LogicalOr: _truth,
    exp.LogicalAnd: _truth,
}


def _not_answered(node: exp.Expr, relation: Relation) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(node)}` is not answered for one {relation.owned.unit}",
        remedy="Of one unit's rows there are COUNT, COUNT_IF, SUM, AVG, MIN, MAX, MEDIAN, BOOL_OR and BOOL_AND, with "
        "FILTER (WHERE …) if need be.",
        position=position_of(node),
    )
