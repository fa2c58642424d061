"""Public domains of group keys: every group that can exist, computed from the catalog and never from data."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from privacy.catalog import ENUMERABLE_VALUES, Catalog, PrivateTable, PublicTable
from privacy.dialect import DUCKDB
from privacy.errors import DomainRefused
from privacy.expressions import Facts, Reading
from privacy.expressions.rules import grouped
from privacy.fragment import MAX_CELLS
from privacy.positions import position_of, shown
from privacy.remembered import Remembered
from privacy.rows.held import held, listed
from privacy.rows.relation import Join, Relation
from privacy.rows.source import PROVINCE_TABLE, Arm, Source, in_province, is_province

# Of keys and values, by their type in DuckDB.
ARROW_TYPES: dict[str, pa.DataType] = {
    "BOOLEAN": pa.bool_(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "VARCHAR": pa.string(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
    "NULL": pa.int32(),
}
_LARGEST_PRODUCT = 2_000_000  # combinations of values that are tried for keys that share columns
_REMEMBERED, _REMEMBERED_BYTES = 256, 2**26  # lists of groups; more where there are as many provinces
_ROUNDED = exp.Floor | exp.Ceil | exp.Trunc | exp.Round


@dataclass(frozen=True)
class Cells:
    """Groups that exist, sorted: one row each, columns `k0` …; `count` is 1 for a query without keys.

    Attributes:
        listed: whether these are all groups; False where nobody can list them (privacy/open_keys.py), and `count` is 0.
    """

    table: pa.Table
    count: int
    digest: str
    listed: bool = True


@dataclass
class _Component:
    """Keys that share columns, to be enumerated together.

    Attributes:
        columns: of private tables, each with a domain of its own; with the table's alias.
        aliases: of public tables and sub-queries, whose columns hang together; with the columns that are needed.
        free: parts that may have any of their few values, whatever the rows hold (see `_Free`).
    """

    keys: dict[str, exp.Expr] = field(default_factory=dict)
    columns: set[tuple[str, str]] = field(default_factory=set)
    aliases: dict[str, set[str]] = field(default_factory=dict)
    free: set[str] = field(default_factory=set)

    def touches(self, other: _Component) -> bool:
        shared = self.columns & other.columns or self.aliases.keys() & other.aliases.keys()
        return bool(shared or self.free & other.free)

    def absorb(self, other: _Component) -> None:
        self.keys |= other.keys
        self.columns |= other.columns
        for alias, names in other.aliases.items():
            self.aliases.setdefault(alias, set()).update(names)
        self.free |= other.free


@dataclass(frozen=True)
class _Place:
    """A relation as the node of a province sees it.

    Attributes:
        known: what was found of arms in it, which are asked about at each level of sub-queries again.
    """

    relation: Relation
    province: str
    known: dict[tuple[int, tuple[str, ...]], _Listed | None] = field(default_factory=dict)

    @cached_property
    def held(self) -> dict[tuple[str, str], list[str]]:
        """Of columns of private tables, the values that WHERE leaves, as far as it lists them."""
        read = self.relation.total_reader.read
        found = {}
        for (alias, name), left in held(self.relation.conditions, read).items():
            if alias != PROVINCE_TABLE and isinstance(self.relation.source(alias).origin, str):
                values = listed(left, self.relation.source(alias).columns[name].facts)
                if values is not None:
                    found[alias, name] = values
        return found

    def within(self, arm: Arm) -> _Place:
        return _Place(arm.relation, self.province, self.known)

    def seen(self, node: exp.Expr) -> exp.Expr:
        return in_province(grouped(node.copy()), self.province)


@dataclass(frozen=True)
class _Listed:
    """A SELECT of all values that some columns can have, and at most how many those are."""

    sql: str
    most: int


@dataclass(frozen=True)
class _Free:
    """A part of a key that may have any of its few values, whatever the rows hold.

    Attributes:
        part: a condition, or a number that is rounded.
        values: `v`, and NULL if it may be that.
    """

    part: exp.Expr
    values: _Listed


_FREE = "free"  # the tables of their values are called so, with a number


class Domains:
    """The finite domains of a catalog, in an in-memory DuckDB that holds nothing else and reads no file."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._sizes: dict[str, int] = {}
        self._known: Remembered[tuple[str, int], Cells] = Remembered(
            max(_REMEMBERED, 2 * len(catalog.region.provinces)),
            _REMEMBERED_BYTES,
            lambda place, cells: len(place[0]) + cells.table.nbytes,
        )
        self._connection = duckdb.connect(":memory:", config={"threads": 1})
        for name, table in catalog.tables.items():
            self._load(name, table)
        self._connection.execute("SET enable_external_access = false; SET lock_configuration = true")

    def _load(self, name: str, table: PrivateTable | PublicTable) -> None:
        if isinstance(table, PublicTable):
            rows = pa.table({column: pa.array(table.values(column)) for column in table.columns})
            self._create(name, rows, [f'"{column}"::{definition.type}' for column, definition in table.columns.items()])
            return
        for column, definition in table.columns.items():
            values = self._catalog.domain(definition)
            if values is not None and column != table.unit_column:
                kind = "BIGINT" if definition.type == "INTEGER" else definition.type
                self._sizes[f"{name}.{column}"] = len(values)
                self._create(f"{name}.{column}", pa.table({column: pa.array(values)}), [f'"{column}"::{kind}'])

    def _create(self, name: str, rows: pa.Table, columns: Sequence[str]) -> None:
        self._connection.register("loading", rows)
        named = ", ".join(f"{column} AS {column.partition('::')[0]}" for column in columns)
        self._connection.execute(f'CREATE TABLE "{name}" AS SELECT {named} FROM loading')
        self._connection.unregister("loading")

    def cells(self, relation: Relation, keys: Sequence[exp.Expr], province: str, *, measures: int) -> Cells | None:
        """Every group that `keys` can give in `province`; None where WHERE excludes all its rows.

        Args:
            keys: in total form, in the order of GROUP BY.
            measures: how many numbers each group has, for the limit on cells.

        Raises:
            DomainRefused: a key without a public domain, or too many cells.
        """
        sql = self._enumeration(_Place(relation, province), {f"k{number}": key for number, key in enumerate(keys)}).sql
        limit = MAX_CELLS // max(1, measures)
        cells = self._known.get((sql, limit), lambda: self._run(sql, limit))
        if cells.count > limit:
            each = f"{measures} numbers" if measures > 1 else "one number"
            raise DomainRefused(
                f"The keys make more than {limit:,} groups of {each}; a release has at most {MAX_CELLS:,} numbers",
                remedy="Group by fewer or coarser keys, or narrow them in WHERE.",
                position=position_of(keys[0]) if keys else None,
            )
        return cells if cells.count else None

    def values(self, relation: Relation, reading: Reading, *, most: int) -> pa.Array:
        """Every value but NULL that `reading` can have in any province, in ascending order.

        Raises:
            DomainRefused: nobody can list them, or they are more than `most`.
        """
        located = any(map(is_province, relation.query({"x": reading.sql}).find_all(exp.Column)))
        provinces = self._catalog.region.provinces
        found = pa.array([], ARROW_TYPES[reading.facts.type])
        for province in provinces if located else provinces[:1]:
            enumeration = self._enumeration(_Place(relation, province), {"k0": reading.sql})
            listed = self._run(enumeration.sql, most + 1)
            if listed.count > most + 1:
                raise DomainRefused(f"there are more than {most:,}")
            found = pa.concat_arrays([found, listed.table.column("k0").combine_chunks().cast(found.type)])
        found = pc.unique(found).drop_null()
        return found.take(pc.sort_indices(found))

    def _run(self, sql: str, limit: int) -> Cells:
        bounded = f"SELECT * FROM ({sql} LIMIT {limit + 1}) ORDER BY ALL"
        found: pa.Table = self._connection.cursor().sql(bounded).to_arrow_table()
        table = found.drop_columns(["one"]) if found.column_names == ["one"] else found
        content = json.dumps([str(table.schema), table.to_pydict()], default=str, ensure_ascii=False)
        return Cells(table, found.num_rows, hashlib.sha256(content.encode()).hexdigest())

    def _enumeration(self, place: _Place, named: dict[str, exp.Expr]) -> _Listed:
        """SELECT of every combination of values that the expressions `named` can have."""
        free: dict[str, _Free] = {}
        components: list[_Component] = []
        conditions = [place.seen(part) for part in place.relation.conditions]
        for name, original in named.items():
            enumerable = self._enumerable(place, place.seen(original), original, free)
            _merge(components, self._component(place, name, enumerable, original))
        self._put_together(place, components, conditions, free)
        sizes = {name: self._most_values(place.relation, original) for name, original in named.items()}
        parts = [self._component_sql(place, component, free, conditions, sizes) for component in components]
        constant = [part.sql(dialect=DUCKDB) for part in conditions if not part.find(exp.Column, exp.Query)]
        where = f" WHERE {' AND '.join(f'({part})' for part in constant)}" if constant else ""
        if not parts:
            return _Listed(f"SELECT 1 AS one{where}", 1)
        sources = " CROSS JOIN ".join(f"({part.sql})" for part in parts)
        return _Listed(f"SELECT {_quoted(named)} FROM {sources}{where}", math.prod(part.most for part in parts))

    def _put_together(
        self,
        place: _Place,
        components: list[_Component],
        conditions: Sequence[exp.Expr],
        free: Mapping[str, _Free],
    ) -> None:
        """Make one component of those that a conjunct of WHERE speaks of, so that it rules out their combinations.

        First each gets the public tables that it meets in any case, because conditions on them rule out groups too.
        """
        relation = place.relation
        for join in relation.joins:
            for component in components:
                if _is_met(relation, component, join):
                    component.aliases.setdefault(join.source.alias, set())
        for part in (part for part in conditions if not part.find(exp.Query)):
            columns = list(part.find_all(exp.Column))
            spoken = [one for one in components if any(_is_in(relation, one, column) for column in columns)]
            whole = _Component()
            for one in spoken:
                whole.absorb(one)
            if len(spoken) > 1 and _decides(relation, whole, part) and self._is_small(place, whole, free):
                _merge(components, whole)

    def _is_small(self, place: _Place, component: _Component, free: Mapping[str, _Free]) -> bool:
        if any(isinstance(place.relation.source(alias).origin, tuple) for alias in component.aliases):
            return False
        try:
            return self._product(place, component, {}, free) < _LARGEST_PRODUCT
        except DomainRefused:
            return False

    def _most_values(self, relation: Relation, key: exp.Expr) -> int:
        """How many values a key can have, NULL too, as far as that is known without listing them."""
        if isinstance(key, exp.Column) and not is_province(key):
            origin = relation.source(key.table).origin
            if isinstance(origin, PublicTable):
                return len(origin.rows) + 1
        facts = relation.facts(key)
        return _range("", facts).most if _is_listed(facts) else _LARGEST_PRODUCT

    def _enumerable(self, place: _Place, node: exp.Expr, original: exp.Expr, free: dict[str, _Free]) -> exp.Expr:
        """`node` with parts over columns without a domain replaced by free values: conditions, and what is rounded.

        Before: `CASE WHEN cost > 100 THEN kind ELSE 'x' END`, `FLOOR(cost / 100) * 100`
        After:  `CASE WHEN free0.v THEN kind ELSE 'x' END`, `free1.v * 100`
        """
        if not node.find(exp.Query) and all(self._has_domain(place, column) for column in node.find_all(exp.Column)):
            return node
        if isinstance(node, exp.Predicate | exp.Connector | exp.Not):
            return _put_free(free, node, _any_value(place.relation.facts(node), 1))
        if isinstance(node, exp.Column):
            raise DomainRefused(
                f"`{shown(original)}` has no public domain, because `{node.name}` has none in the catalog",
                remedy="Group by columns with a code list, integer bounds or a date range, or by CASE with literals.",
                position=position_of(original),
            )
        replaced = node.copy()
        try:
            for child in list(replaced.iter_expressions()):
                new = self._enumerable(place, child, original, free)
                if new is not child:
                    child.replace(new)
        except DomainRefused:
            values = _few_values(place.relation, node)
            if values is None:
                raise
            return _put_free(free, node, values)
        return replaced

    def _has_domain(self, place: _Place, column: exp.Column) -> bool:
        source = place.relation.source(column.table)
        if isinstance(source.origin, PublicTable):
            return True  # it is enumerable whole
        if isinstance(source.origin, str):
            return self._size(place, column.table, column.name) is not None
        if _is_listed(source.columns[column.name].facts):
            return True
        return all(self._of_arm(place.within(arm), arm, [column.name]) is not None for arm in source.origin)

    def _of_arm(self, place: _Place, arm: Arm, names: Sequence[str]) -> _Listed | None:
        """Every combination of values that these columns of an arm can have; None where nobody can list them."""
        asked = (id(arm), tuple(names))
        if asked not in place.known:
            try:
                items = {name: arm.items[name] for name in names}
                place.known[asked] = self._enumeration(place, items)
            except (DomainRefused, KeyError):
                place.known[asked] = None
        return place.known[asked]

    def _size(self, place: _Place, alias: str, name: str) -> int | None:
        """How many values a column of a private table can have; None where nobody can list them."""
        known = self._sizes.get(f"{place.relation.source(alias).origin}.{name}")
        if known is None and (alias, name) in place.held:
            return len(place.held[alias, name])
        return known

    def _values(self, place: _Place, alias: str, name: str) -> str:
        """The same values, as a table."""
        known = f"{place.relation.source(alias).origin}.{name}"
        if known in self._sizes:
            return f'"{known}"'
        return f'(SELECT UNNEST([{", ".join(place.held[alias, name])}]) AS "{name}") AS "{known}"'

    def _component(self, place: _Place, name: str, key: exp.Expr, original: exp.Expr) -> _Component:
        found = _Component(keys={name: key})
        pending = list(key.find_all(exp.Column))
        while pending:
            column = pending.pop()
            if column.table.startswith(_FREE):
                found.free.add(column.table)
                continue
            origin = place.relation.source(column.table).origin
            if isinstance(origin, str):
                found.columns.add((column.table, column.name))
            elif not isinstance(origin, PublicTable):
                found.aliases.setdefault(column.table, set()).add(column.name)
            elif column.table not in found.aliases:
                found.aliases[column.table] = set()
                pending += self._joining(place, column.table, original)
        return found

    def _joining(self, place: _Place, alias: str, original: exp.Expr) -> list[exp.Column]:
        """Columns that the join to public table `alias` compares."""
        join = next(join for join in place.relation.joins if join.source.alias == alias)
        columns = [column for column in join.sql.args["on"].find_all(exp.Column) if not is_province(column)]
        for column in columns:
            if not self._has_domain(place, column):
                raise DomainRefused(
                    f"`{shown(original)}` has no public domain: its table is joined by `{column.name}`, which has none",
                    remedy=f"The steward can give `{column.name}` one in the catalog: references = …",
                    position=position_of(original),
                )
        return columns

    def _component_sql(
        self,
        place: _Place,
        component: _Component,
        free: dict[str, _Free],
        conditions: Iterable[exp.Expr],
        sizes: Mapping[str, int],
    ) -> _Listed:
        nested = {
            alias: self._listed(place, place.relation.source(alias), sorted(columns))
            for alias, columns in component.aliases.items()
            if isinstance(place.relation.source(alias).origin, tuple)
        }
        most = min(self._product(place, component, nested, free), math.prod(sizes[name] for name in component.keys))
        items = ", ".join(f'{key.sql(dialect=DUCKDB)} AS "{name}"' for name, key in component.keys.items())
        sources = self._sources(place, component, nested, free)
        kept = [part.sql(dialect=DUCKDB) for part in conditions if _decides(place.relation, component, part)]
        where = f" WHERE {' AND '.join(f'({part})' for part in kept)}" if kept else ""
        return _Listed(f"SELECT DISTINCT {items}{' FROM ' if sources else ''}{sources}{where}", most)

    def _product(
        self, place: _Place, component: _Component, nested: Mapping[str, _Listed], free: Mapping[str, _Free]
    ) -> int:
        """How many combinations of values a component tries.

        Raises:
            DomainRefused: too many.
        """
        relation = place.relation
        own = [self._size(place, alias, column) or 0 for alias, column in component.columns]
        sizes = [*own, *(one.most for one in nested.values())]
        size = math.prod(sizes)
        chosen = [free[name].values.most for name in component.free]
        if math.prod([size, *chosen]) > _LARGEST_PRODUCT:
            names = {column for _, column in component.columns} | {
                name for alias in nested for name in component.aliases[alias]
            }
            raise DomainRefused(
                f"The keys combine {size:,} values of {', '.join(sorted(names))}; that is too many to list",
                remedy="Use fewer columns in one key, or group by them one by one.",
            )
        matches = [join.matches for join in relation.joins if join.source.alias in component.aliases]
        return min(math.prod([size, *chosen, *matches]), _LARGEST_PRODUCT)

    def _sources(
        self,
        place: _Place,
        component: _Component,
        nested: Mapping[str, _Listed],
        free: dict[str, _Free],
    ) -> str:
        relation, listed = place.relation, dict[str, str]()
        columns = {alias: sorted(found) for alias, found in component.aliases.items()}
        for alias in sorted({alias for alias, _ in component.columns}):
            names = sorted(column for table, column in component.columns if table == alias)
            tables = " CROSS JOIN ".join(self._values(place, alias, name) for name in names)
            listed[alias] = f"SELECT {_quoted(names)} FROM {tables}"
            columns[alias] = names
        listed |= {alias: found.sql for alias, found in nested.items()}
        for join in relation.joins:
            alias = join.source.alias
            if join.optional and alias in listed:
                listed[alias] = _or_nothing(listed[alias], columns[alias])
        sources = [f'({sql}) AS "{alias}"' for alias, sql in listed.items()]
        sources += [f"({free[name].values.sql}) AS {name}(v)" for name in sorted(component.free)]
        public = [join for join in relation.joins if isinstance(join.source.origin, PublicTable)]
        met = [join.sql.copy() for join in public if join.source.alias in component.aliases]
        if met and not sources:
            sources = ["(SELECT 1) AS one"]  # joined by the province alone
        joins = "".join(f" {in_province(join, place.province).sql(dialect='duckdb')}" for join in met)
        return " CROSS JOIN ".join(sources) + joins

    def _listed(self, place: _Place, source: Source, names: Sequence[str]) -> _Listed:
        """Every combination of values that columns of a sub-query can have."""
        assert isinstance(source.origin, tuple)
        ranges = [name for name in names if _is_listed(source.columns[name].facts)]
        # The WHERE of the arms may leave fewer values than the facts allow.
        narrowed = [name for name in ranges if all(name in arm.items for arm in source.origin)]
        if narrowed:
            try:
                return self._combined(place, source, names, [name for name in ranges if name not in narrowed])
            except DomainRefused:
                pass  # the facts list what has too many combinations, or none that the catalog knows
        return self._combined(place, source, names, ranges)

    def _combined(self, place: _Place, source: Source, names: Sequence[str], ranges: Sequence[str]) -> _Listed:
        """The same, where the facts list the values of `ranges`, and the arms those of the others."""
        assert isinstance(source.origin, tuple)
        parts = [_range(name, source.columns[name].facts) for name in ranges]
        others = [name for name in names if name not in ranges]
        if others:
            arms = [self._by_arm(place.within(arm), arm, source, others) for arm in source.origin]
            together = " UNION ".join(f"SELECT {_quoted(others)} FROM ({arm.sql})" for arm in arms)
            parts.append(_Listed(together, sum(arm.most for arm in arms)))
        return _crossed(names, parts)

    def _by_arm(self, place: _Place, arm: Arm, source: Source, names: Sequence[str]) -> _Listed:
        """The same for one SELECT; values that come from different rows may meet in any way."""
        apart = [name for name in names if name in arm.apart]
        joint = [name for name in names if name not in arm.apart]
        parts: list[_Listed] = []
        for group in [*([joint] if joint else []), *([name] for name in apart)]:
            found = self._of_arm(place, arm, group)
            if found is None:
                raise DomainRefused(
                    f"`{group[0]}` has no public domain", remedy="Group by columns with a code list or bounds."
                )
            missing = group[0] in arm.apart and source.columns[group[0]].facts.nullable
            parts.append(_Listed(_or_nothing(found.sql, group), found.most + 1) if missing else found)
        return _crossed(names, parts)


def _decides(relation: Relation, component: _Component, part: exp.Expr) -> bool:
    """Whether a conjunct of WHERE speaks of this component's columns only, so that it rules groups out."""
    columns = list(part.find_all(exp.Column))
    return bool(columns) and not part.find(exp.Query) and all(_is_in(relation, component, one) for one in columns)


def _is_met(relation: Relation, component: _Component, join: Join) -> bool:
    """Whether an inner join with a public table compares it with this component only."""
    if join.optional or not isinstance(join.source.origin, PublicTable):
        return False
    columns = [column for column in join.sql.args["on"].find_all(exp.Column) if column.table != join.source.alias]
    return bool(columns) and all(not is_province(one) and _is_in(relation, component, one) for one in columns)


def _is_in(relation: Relation, component: _Component, column: exp.Column) -> bool:
    origin = relation.source(column.table).origin
    if isinstance(origin, str):
        return (column.table, column.name) in component.columns
    names = component.aliases.get(column.table)
    return names is not None and (isinstance(origin, PublicTable) or column.name in names)


def _is_listed(facts: Facts) -> bool:
    """Whether the facts alone say which few values there are."""
    few = facts.type == "BIGINT" and facts.bounded and facts.high - facts.low < ENUMERABLE_VALUES
    return few or facts.type == "BOOLEAN"


def _put_free(free: dict[str, _Free], part: exp.Expr, values: _Listed) -> exp.Column:
    """The column that stands for `part`; what is written twice is one."""
    text = part.sql(dialect=DUCKDB)
    name = next((known for known, one in free.items() if one.part.sql(DUCKDB) == text), None)
    if name is None:
        name = f"{_FREE}{len(free)}"
        free[name] = _Free(part, values)
    return exp.column("v", table=name)


def _few_values(relation: Relation, node: exp.Expr) -> _Listed | None:
    """The values of a number that is rounded, or whole: FLOOR(cost / 100), MONTH(day); None of anything else."""
    rounded = isinstance(node, _ROUNDED)
    if not isinstance(node, exp.Func | exp.Binary | exp.Cast) or node.find(exp.Query):
        return None
    facts, step = relation.facts(node), 1
    if rounded and node.args.get("decimals") is not None:
        digits = node.args["decimals"]
        if not isinstance(digits, exp.Neg):
            return None
        step = 10 ** int(digits.this.name)
    whole = facts.type == "BIGINT" or (rounded and facts.type == "DOUBLE")
    if not whole or not facts.bounded or (facts.high - facts.low) / step >= ENUMERABLE_VALUES:
        return None
    return _any_value(facts, step)


def _any_value(facts: Facts, step: int) -> _Listed:
    """All that the facts allow, of a number in multiples of `step`."""
    if facts.type not in ("BIGINT", "DOUBLE"):
        return _range("v", replace(facts, type="BOOLEAN"))
    low, high = math.floor(facts.low / step), math.ceil(facts.high / step)
    value = f"CAST(v * {step} AS {facts.type})"
    null = " UNION ALL SELECT NULL" if facts.nullable else ""
    return _Listed(f"SELECT {value} AS v FROM (SELECT UNNEST(RANGE({low}, {high + 1})) AS v){null}", high - low + 2)


def _range(name: str, facts: Facts) -> _Listed:
    """SELECT of all values that the facts allow."""
    if facts.type == "BOOLEAN":
        values, most = "SELECT FALSE AS v UNION ALL SELECT TRUE", 3
    else:
        ends = ", ".join(f"CAST({end} AS BIGINT)" for end in (facts.low, facts.high + 1))
        values = f"SELECT UNNEST(RANGE({ends})) AS v"
        most = int(facts.high - facts.low) + 2
    return _Listed(f'SELECT v AS "{name}" FROM ({values}{" UNION ALL SELECT NULL" if facts.nullable else ""})', most)


def _crossed(names: Sequence[str], parts: Sequence[_Listed]) -> _Listed:
    """Every combination of the parts' rows.

    Raises:
        DomainRefused: too many.
    """
    most = math.prod(part.most for part in parts)
    if most > _LARGEST_PRODUCT:
        raise DomainRefused(
            f"The keys combine {most:,} values of {', '.join(names)}; that is too many to list",
            remedy="Use fewer columns in one key, or group by them one by one.",
        )
    return _Listed(f"SELECT {_quoted(names)} FROM {' CROSS JOIN '.join(f'({part.sql})' for part in parts)}", most)


def _or_nothing(sql: str, names: Sequence[str]) -> str:
    """`sql`, and a row of NULLs."""
    return f"SELECT {_quoted(names)} FROM ({sql}) UNION ALL SELECT {', '.join(['NULL'] * len(names))}"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _merge(components: list[_Component], new: _Component) -> None:
    for old in [component for component in components if component.touches(new)]:
        components.remove(old)
        new.absorb(old)
    components.append(new)
