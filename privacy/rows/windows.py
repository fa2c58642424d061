"""Window functions over the rows of one unit: PARTITION BY must name its identifier.

Rows that tie would be told apart by where they lie in the data, which other units' rows can change. So every column
that the SELECT reads ends the order: what still ties is the same in all that can be seen of it. Where several windows
choose among rows, they must tell those apart alike: rows are numbered first, and the number ends each order.
"""

from __future__ import annotations

from sqlglot import exp

from privacy.errors import ConstructRefused, RowsRefused
from privacy.expressions import Facts, Reading
from privacy.positions import position_of, shown
from privacy.rows.per_unit import aggregate_of_unit
from privacy.rows.placing import column_at, own_parts, placed
from privacy.rows.relation import Context, Relation, conjuncts_of, is_unit, relation_over
from privacy.rows.source import LARGEST_LIMIT, UNIT, Arm, Source, SourceColumn

_WINDOWED, _NUMBERED = "<windows>", "<numbered>"  # no identifier of a query can be these
_NUMBER = "number"
_RANKS = exp.Rank | exp.DenseRank
_CHOOSING = exp.RowNumber | exp.Lag | exp.Lead | exp.FirstValue | exp.LastValue
_MANY = 2**53


def has_windows(select: exp.Select) -> bool:
    return any(isinstance(node, exp.Window) for part in _parts(select) for node in own_parts(part))


def with_windows(select: exp.Select, relation: Relation, context: Context) -> tuple[exp.Select, Relation]:
    """A SELECT with windows → its rows with a column for each, and what is left to select of them.

    Raises:
        RowsRefused: a window that is not partitioned by the unit.
        ConstructRefused: a window function that is not answered; QUALIFY without any.
    """
    nodes = [node for part in _parts(select) for node in own_parts(part)]
    found = list(dict.fromkeys(node for node in nodes if isinstance(node, exp.Window)))
    if not found:
        raise _without_window(select)
    names = dict.fromkeys(node for node in nodes if isinstance(node, exp.Column))
    ties = [relation.reader.read(node).sql for node in names]
    if sum(isinstance(node.this, _CHOOSING) for node in found) > 1:
        for node in found:  # so that a refusal shows what the researcher wrote
            _window(node, relation, ties)
        select, relation, ties = _numbered(select, list(names), relation, context)
    columns: dict[exp.Expr, str] = {}
    windows: dict[exp.Expr, str] = {}
    readings: dict[str, Reading] = {}

    def place(node: exp.Expr) -> exp.Column | None:
        if isinstance(node, exp.Window):
            if node not in windows:
                windows[node] = f"w{len(windows)}"
                readings[windows[node]] = _window(node, relation, ties)
            return column_at(windows[node], _WINDOWED, node)
        if not isinstance(node, exp.Column):
            return None
        if node not in columns:
            columns[node] = f"c{len(columns)}"
            readings[columns[node]] = relation.reader.read(node)
        return column_at(columns[node], _WINDOWED, node)

    items = [exp.alias_(placed(item.unalias(), place), item.alias_or_name, quoted=True) for item in select.expressions]
    qualify = select.args.get("qualify")
    conjuncts = [placed(part, place) for part in conjuncts_of(qualify.this if qualify else None)]
    known = {name: _described(name, reading, relation) for name, reading in readings.items()}
    listed = {name: readings[name].sql for name in columns.values()}
    sql = relation.query({UNIT: relation.unit} | {name: reading.sql for name, reading in readings.items()})
    known[UNIT] = relation.column(relation.unit)
    source = Source(context.alias("sub"), sql, known, UNIT, relation.owned, (Arm(relation, listed),))
    rest = exp.Select(expressions=items, distinct=select.args.get("distinct"))
    return rest, relation_over(source, _WINDOWED, conjuncts, context)


def _numbered(
    select: exp.Select, names: list[exp.Column], relation: Relation, context: Context
) -> tuple[exp.Select, Relation, list[exp.Expr]]:
    """The same SELECT over rows that have a number each, and that number.

    Rows that are the same in all columns may swap their numbers, which nobody can see.
    """
    columns = {node: f"c{place}" for place, node in enumerate(names)}
    readings = {name: relation.reader.read(node) for node, name in columns.items()}
    order = [exp.Ordered(this=reading.sql.copy()) for reading in readings.values()]
    number = exp.Window(
        this=exp.RowNumber(), partition_by=[relation.unit], over="OVER", order=exp.Order(expressions=order)
    )
    items = {name: reading.sql for name, reading in readings.items()}
    known = {name: described(reading, relation) for name, reading in readings.items()}
    known |= {UNIT: relation.column(relation.unit), _NUMBER: SourceColumn(Facts("BIGINT", 1, _MANY))}
    sql = relation.query({UNIT: relation.unit} | items | {_NUMBER: number})
    source = Source(context.alias("sub"), sql, known, UNIT, relation.owned, (Arm(relation, items),))

    def place(node: exp.Expr) -> exp.Column | None:
        return column_at(columns[node], _NUMBERED, node) if isinstance(node, exp.Column) else None

    changed = exp.Select(
        expressions=[
            exp.alias_(placed(item.unalias(), place), item.alias_or_name, quoted=True) for item in select.expressions
        ],
        distinct=select.args.get("distinct"),
    )
    qualify = select.args.get("qualify")
    if qualify is not None:
        changed.set("qualify", exp.Qualify(this=placed(qualify.this, place)))
    return changed, relation_over(source, _NUMBERED, (), context), [source.column(_NUMBER)]


def _parts(select: exp.Select) -> list[exp.Expr]:
    qualify = select.args.get("qualify")
    return [*select.expressions, *([qualify.this] if qualify is not None else [])]


def described(reading: Reading, relation: Relation) -> SourceColumn:
    """What is known of a column that holds `reading`, an expression over one row."""
    grid = relation.column(reading.sql).grid if isinstance(reading.sql, exp.Column) else None
    return SourceColumn(reading.facts, grid, fixed=relation.is_fixed(reading.sql))


def _described(name: str, reading: Reading, relation: Relation) -> SourceColumn:
    one = relation.owned.rows == 1
    return SourceColumn(reading.facts, fixed=one) if name.startswith("w") else described(reading, relation)


def _window(node: exp.Window, relation: Relation, ties: list[exp.Expr]) -> Reading:
    given = {name for name, value in node.args.items() if value not in (None, [], False)}
    if given - {"this", "partition_by", "order", "over"} or node.find(exp.Query):
        raise _not_answered(node)
    partition = [relation.reader.read(part) for part in node.args.get("partition_by") or ()]
    if not any(map(is_unit, partition)):
        raise RowsRefused(
            f"`{shown(node)}` looks at rows of other {relation.owned.unit}s",
            remedy=f"Add PARTITION BY with the identifier of the {relation.owned.unit}, or rank the answer's groups.",
            position=position_of(node),
        )
    order = node.args.get("order")
    terms = [_ordered(term, relation) for term in order.expressions] if order is not None else []
    if isinstance(node.this, _CHOOSING):  # elsewhere rows that tie are looked at together
        terms += [exp.Ordered(this=tie.copy()) for tie in ties]

    def over(function: exp.Expr) -> exp.Expr:
        window = exp.Window(this=function, partition_by=[part.sql.copy() for part in partition], over="OVER")
        if terms:
            window.set("order", exp.Order(expressions=[term.copy() for term in terms]))
        return window

    if not isinstance(node.this, _RANKS | _CHOOSING):
        return aggregate_of_unit(node.this, relation, over=over).reading
    function, facts = _function(node, relation)
    return Reading(over(function), facts)


def _function(node: exp.Window, relation: Relation) -> tuple[exp.Expr, Facts]:
    function = node.this
    given = {name for name, value in function.args.items() if value not in (None, [], False)}
    if isinstance(function, exp.RowNumber | _RANKS) and not given:
        return type(function)(), Facts("BIGINT", 1, relation.owned.rows or _MANY)
    if given - {"this", "offset"} or "this" not in given:
        raise _not_answered(node)
    offset = function.args.get("offset")
    if offset is not None and not _is_offset(offset):
        raise _not_answered(node)
    reading = relation.reader.value(function.this)
    moved = isinstance(function, exp.Lag | exp.Lead)
    more = {"offset": offset.copy()} if offset is not None else {}
    return type(function)(this=reading.sql, **more), reading.facts.or_null() if moved else reading.facts


def _is_offset(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and node.name.isdigit() and int(node.name) <= LARGEST_LIMIT


def _ordered(term: exp.Expr, relation: Relation) -> exp.Ordered:
    ordered = term.copy()
    assert isinstance(ordered, exp.Ordered)
    ordered.set("this", relation.reader.read(term.this).sql)
    return ordered


def _without_window(select: exp.Select) -> ConstructRefused:
    return ConstructRefused(
        "QUALIFY chooses by a window, and there is none",
        remedy="Use WHERE.",
        position=position_of(select.args["qualify"]),
    )


def _not_answered(node: exp.Window) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(node)}` is not answered below the aggregates",
        remedy="Over one unit's rows there are ROW_NUMBER, RANK, DENSE_RANK, LAG, LEAD, FIRST_VALUE, LAST_VALUE, "
        "COUNT, SUM, AVG, MIN and MAX, with PARTITION BY and ORDER BY and no frame.",
        position=position_of(node),
    )
