"""A sub-query of FROM whose rows each belong to one unit: SELECT, GROUP BY the unit, DISTINCT, UNION and its like.

Each step is one SELECT around the one before, and keeps the unit in a column of its own:

    rows → by unit and keys (privacy/rows/per_unit.py) → windows (privacy/rows/windows.py) → items → distinct
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sqlglot import exp

from privacy.errors import ConstructRefused, NameRefused, RowsRefused
from privacy.expressions import Facts, Reading
from privacy.expressions.facts import hull
from privacy.expressions.rules import common_type
from privacy.positions import position_of, shown
from privacy.rows.per_unit import group_by_unit, has_aggregates
from privacy.rows.relation import Context, Relation, is_identifier, is_unit, read_relation
from privacy.rows.source import UNIT, Arm, Source, SourceColumn
from privacy.rows.windows import described, has_windows, with_windows

_KNOWN: dict[type[exp.Expr], set[str]] = {
    exp.Select: {"expressions", "from_", "joins", "where", "group", "having", "qualify", "distinct"},
    exp.Subquery: {"this", "alias"},
    exp.Union: {"this", "expression", "distinct"},
    exp.Intersect: {"this", "expression", "distinct"},
    exp.Except: {"this", "expression", "distinct"},
}
_TITLES = {
    "by_name": "UNION BY NAME",
    "sample": "A sample",
    "pivots": "PIVOT",
    "joins": "A join in parentheses",
}
_ONE_ROW = "Choose rows of one unit by a window: QUALIFY ROW_NUMBER() OVER (PARTITION BY person_id …) = 1."
_REMEDIES = dict.fromkeys(("order", "limit", "offset"), _ONE_ROW)


def read_rows(query: exp.Expr, context: Context) -> Source:
    """The rows of a bound sub-query.

    Raises:
        QueryRefused: its rows do not each belong to one unit, or a construct that is not answered there.
    """
    _refuse_extras(query)
    if isinstance(query, exp.Subquery):
        return read_rows(query.this, context)
    if isinstance(query, exp.SetOperation):
        return _together(query, context)
    if not isinstance(query, exp.Select):
        raise ConstructRefused(
            f"`{shown(query)}` is not answered below the aggregates",
            remedy="Write SELECT, or UNION ALL of SELECTs.",
            position=position_of(query),
        )
    relation = read_relation(query, context)
    if relation.owner is None:
        raise ConstructRefused(
            f"`{shown(query)}` reads public tables only",
            remedy="Join the public table itself.",
            position=position_of(query),
        )
    if has_aggregates(query):
        query, relation = group_by_unit(query, relation, context)
    if has_windows(query) or query.args.get("qualify"):
        query, relation = with_windows(query, relation, context)
    readings = {_name(item): relation.reader.read(item.unalias()) for item in query.expressions}
    if len(readings) < len(query.expressions):
        raise NameRefused(
            f"`{shown(query)}` gives two columns one name", remedy="Give each an alias.", position=position_of(query)
        )
    distinct = query.args.get("distinct")
    if distinct is None:
        return _projected(relation, readings, context)
    return _distinct(distinct, relation, readings, context)


def _refuse_extras(query: exp.Expr) -> None:
    given = [name for name, value in query.args.items() if value]
    for name in sorted(set(given) - _KNOWN.get(type(query), set(given))):
        value = query.args[name]
        raise ConstructRefused(
            f"{_TITLES.get(name, name.strip('_').upper())} below the aggregates is not answered",
            remedy=_REMEDIES.get(name, "Write plain SELECTs, or UNION ALL of them."),
            position=position_of(value if isinstance(value, exp.Expr) else query),
        )


def _name(item: exp.Expr) -> str:
    return str(item.alias_or_name)


def _projected(relation: Relation, readings: Mapping[str, Reading], context: Context) -> Source:
    if UNIT in readings:
        raise NameRefused(f"`{UNIT}` is weir's own name", remedy="Give the column another alias.")
    items = {name: reading.sql for name, reading in readings.items()}
    columns = {name: described(reading, relation) for name, reading in readings.items()}
    sql = relation.query({UNIT: relation.unit, **items})
    unit = relation.column(relation.unit)
    arms = (Arm(relation, items),)
    return Source(context.alias("sub"), sql, {**columns, UNIT: unit}, UNIT, relation.owned, arms, _key(items, relation))


def _key(items: Mapping[str, exp.Expr], relation: Relation) -> frozenset[str] | None:
    """The columns that hold the key of the one source below."""
    if relation.joins or relation.first.key is None:
        return None
    names = {item.name: name for name, item in items.items() if isinstance(item, exp.Column)}
    return frozenset(names[name] for name in relation.first.key) if relation.first.key <= names.keys() else None


def _distinct(distinct: exp.Expr, relation: Relation, readings: Mapping[str, Reading], context: Context) -> Source:
    """Each combination once: within a unit, because its identifier is part of it."""
    if distinct.args.get("on") is not None or not any(map(is_unit, readings.values())):
        raise RowsRefused(
            "DISTINCT below the aggregates must name the unit, so that each row belongs to one",
            remedy="Write SELECT DISTINCT person_id, …, or GROUP BY the columns and count.",
            position=position_of(distinct),
        )
    source = _projected(relation, readings, context)
    items = {UNIT: relation.unit} | {name: reading.sql for name, reading in readings.items()}
    query = relation.query(items, grouped_by=list(items.values()))
    others = [name for name, reading in readings.items() if not is_unit(reading)]
    once = all(source.columns[name].fixed for name in others)
    owner = replace(relation.owned, rows=1, max_rows=1, max_groups=1) if once else relation.owned
    return replace(source, sql=query, owner=owner, key=frozenset(others))


def _together(query: exp.SetOperation, context: Context) -> Source:
    """UNION ALL; or UNION, INTERSECT, EXCEPT: they compare rows of one unit, because its identifier is part of them."""
    left, right = (read_rows(part, context) for part in (query.left, query.right))
    owners, names = (left.owner, right.owner), [name for name in left.columns if name != UNIT]
    others, what = [name for name in right.columns if name != UNIT], _what(query)
    if what in ("INTERSECT ALL", "EXCEPT ALL"):
        raise ConstructRefused(
            f"{what} is not answered", remedy=f"Write {what.partition(' ')[0]}.", position=position_of(query)
        )
    if len(names) != len(others):
        raise ConstructRefused(
            f"`{shown(query)}`: its parts have {len(names)} and {len(others)} columns",
            remedy="Give both the same.",
            position=position_of(query),
        )
    assert owners[0] is not None
    assert owners[1] is not None
    if owners[0].unit != owners[1].unit:
        raise ConstructRefused(
            f"{what} of rows of a {owners[0].unit} and of a {owners[1].unit}",
            remedy="Ask about each by itself.",
            position=position_of(query),
        )
    columns = {
        name: _either(query, left.columns[name], right.columns[other])
        for name, other in zip(names, others, strict=True)
    }
    if what != "UNION ALL" and not any(is_identifier(column.facts) for column in columns.values()):
        raise RowsRefused(
            f"{what} below the aggregates must name the unit in both parts, so that each row belongs to one",
            remedy=f"Add the identifier of the {owners[0].unit} to both, or write UNION ALL.",
            position=position_of(query),
        )
    renamed = [_selected(left, names, names), _selected(right, others, names)]
    sql = type(query)(this=renamed[0], expression=renamed[1], distinct=what != "UNION ALL")
    arms = (*_arms(left, names, names), *_arms(right, others, names))
    unit = _either(query, left.columns[UNIT], right.columns[UNIT])
    owner = owners[0].with_all_of(owners[1])
    if what != "UNION ALL" and all(is_identifier(column.facts) for column in columns.values()):
        owner = replace(owner, rows=1, max_rows=1, max_groups=1)
    return Source(context.alias("sub"), sql, {**columns, UNIT: unit}, UNIT, owner, arms)


def _what(query: exp.SetOperation) -> str:
    distinct = query.args.get("distinct") is not False
    return f"{query.key.upper()}{'' if distinct else ' ALL'}"


def _either(query: exp.Expr, left: SourceColumn, right: SourceColumn) -> SourceColumn:
    low, high = hull(left.facts, right.facts)
    facts = Facts(
        common_type(query, left.facts, right.facts),
        low,
        high,
        nullable=left.facts.nullable or right.facts.nullable,
        identifier=left.facts.identifier,
        narrow=left.facts.narrow and right.facts.narrow,
    )
    if left.facts.identifier != right.facts.identifier:
        raise RowsRefused(
            "The unit's identifier comes into one column with other values",
            remedy="Give the identifier a column of its own in both parts.",
            position=position_of(query),
        )
    return SourceColumn(facts, left.grid if left.grid == right.grid else None, fixed=is_identifier(facts))


def _selected(source: Source, names: list[str], renamed: list[str]) -> exp.Select:
    items = {UNIT: source.column(UNIT)} | {new: source.column(name) for name, new in zip(names, renamed, strict=True)}
    expressions = [exp.alias_(column, name, copy=False) for name, column in items.items()]
    return exp.Select(expressions=expressions, from_=exp.From(this=source.aliased))


def _arms(source: Source, names: list[str], renamed: list[str]) -> tuple[Arm, ...]:
    assert isinstance(source.origin, tuple)
    new = dict(zip(names, renamed, strict=True))
    return tuple(_renamed(arm, new) for arm in source.origin)


def _renamed(arm: Arm, new: Mapping[str, str]) -> Arm:
    items = {new[name]: item for name, item in arm.items.items() if name in new}
    return Arm(arm.relation, items, frozenset(new[name] for name in arm.apart if name in new))
