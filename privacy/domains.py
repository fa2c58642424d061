"""Public domains of group keys: every group that can exist, computed from the catalog and never from data."""

from __future__ import annotations

import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock

import duckdb
import pyarrow as pa
from sqlglot import exp

from privacy.catalog import PROVINCE, Catalog, PrivateTable, PublicTable
from privacy.errors import DomainRefused
from privacy.expressions.rules import grouped
from privacy.fragment import MAX_CELLS
from privacy.positions import position_of, shown
from privacy.relation import PublicJoin, Relation

_LARGEST_PRODUCT = 2_000_000  # combinations of values that are tried for keys that share columns
_CACHED = 256
_TRUTH = "(VALUES (FALSE), (TRUE))"
_TRUTH_OR_NULL = "(VALUES (FALSE), (TRUE), (NULL))"


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
    """Keys that share columns, to be enumerated together."""

    keys: dict[str, exp.Expr] = field(default_factory=dict)
    columns: set[str] = field(default_factory=set)
    aliases: set[str] = field(default_factory=set)
    truths: set[str] = field(default_factory=set)

    def touches(self, other: _Component) -> bool:
        return bool(self.columns & other.columns or self.aliases & other.aliases or self.truths & other.truths)

    def absorb(self, other: _Component) -> None:
        self.keys |= other.keys
        self.columns |= other.columns
        self.aliases |= other.aliases
        self.truths |= other.truths


class Domains:
    """The finite domains of a catalog, in an in-memory DuckDB that holds nothing else and reads no file."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._sizes: dict[str, int] = {}
        self._cache: OrderedDict[tuple[str, int], Cells] = OrderedDict()
        self._lock = Lock()
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
        located = [in_province(key, relation, province) for key in keys]
        conditions = [in_province(part, relation, province) for part in relation.conditions]
        sql = self._enumeration(relation, located, keys, conditions)
        limit = MAX_CELLS // max(1, measures)
        cells = self._run(sql, limit)
        if cells.count > limit:
            raise DomainRefused(
                f"The keys make more than {limit:,} groups of {measures} numbers; a release has at most {MAX_CELLS:,}",
                remedy="Group by fewer or coarser keys, or narrow them in WHERE.",
                position=position_of(keys[0]) if keys else None,
            )
        return cells if cells.count else None

    def _run(self, sql: str, limit: int) -> Cells:
        place = (sql, limit)
        with self._lock:
            if place in self._cache:
                self._cache.move_to_end(place)
                return self._cache[place]
        bounded = f"SELECT * FROM ({sql} LIMIT {limit + 1}) ORDER BY ALL"
        found: pa.Table = self._connection.cursor().sql(bounded).to_arrow_table()
        table = found.drop_columns(["one"]) if found.column_names == ["one"] else found
        content = json.dumps([str(table.schema), table.to_pydict()], default=str, ensure_ascii=False)
        cells = Cells(table, found.num_rows, hashlib.sha256(content.encode()).hexdigest())
        with self._lock:
            self._cache[place] = cells
            if len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        return cells

    def _enumeration(
        self, relation: Relation, keys: Sequence[exp.Expr], written: Sequence[exp.Expr], conditions: list[exp.Expr]
    ) -> str:
        truths: dict[str, tuple[exp.Expr, bool]] = {}
        components: list[_Component] = []
        for number, (key, original) in enumerate(zip(keys, written, strict=True)):
            enumerable = self._enumerable(relation, key, original, truths)
            _merge(components, self._component(relation, f"k{number}", enumerable, original))
        parts = [self._component_sql(relation, component, truths, conditions) for component in components]
        constant = [part.sql(dialect="duckdb") for part in conditions if not part.find(exp.Column)]
        where = f" WHERE {' AND '.join(f'({part})' for part in constant)}" if constant else ""
        if not parts:
            return f"SELECT 1 AS one{where}"
        names = ", ".join(f"k{number}" for number in range(len(keys)))
        return f"SELECT {names} FROM {' CROSS JOIN '.join(f'({part})' for part in parts)}{where}"

    def _enumerable(
        self, relation: Relation, node: exp.Expr, original: exp.Expr, truths: dict[str, tuple[exp.Expr, bool]]
    ) -> exp.Expr:
        """`node` with each condition on columns without a domain replaced by a free truth value.

        Before: `CASE WHEN cost > 100 THEN kind ELSE 'x' END`
        After:  `CASE WHEN truth0.t THEN kind ELSE 'x' END`
        """
        if all(self._has_domain(relation, column) for column in node.find_all(exp.Column)):
            return node
        if isinstance(node, exp.Predicate | exp.Connector | exp.Not):
            text = node.sql(dialect="duckdb")
            nullable = relation.reader.read(node).facts.nullable
            name = next((known for known, (truth, _) in truths.items() if truth.sql("duckdb") == text), None)
            if name is None:
                name = f"truth{len(truths)}"
                truths[name] = (node, nullable)
            return exp.column("t", table=name)
        if isinstance(node, exp.Column):
            raise DomainRefused(
                f"`{shown(original)}` has no public domain, because `{node.name}` has none in the catalog",
                remedy="Group by columns with a code list, integer bounds or a date range, or by CASE with literals.",
                position=position_of(original),
            )
        replaced = node.copy()
        for child in list(replaced.iter_expressions()):
            new = self._enumerable(relation, child, original, truths)
            if new is not child:
                child.replace(new)
        return replaced

    def _has_domain(self, relation: Relation, column: exp.Column) -> bool:
        if column.table != relation.alias:
            return True  # public tables are enumerable whole
        return f"{relation.table_name}.{column.name}" in self._sizes

    def _component(self, relation: Relation, name: str, key: exp.Expr, original: exp.Expr) -> _Component:
        found = _Component(keys={name: key})
        pending = list(key.find_all(exp.Column))
        while pending:
            column = pending.pop()
            if column.table == relation.alias:
                found.columns.add(column.name)
            elif column.table.startswith("truth"):
                found.truths.add(column.table)
            elif column.table not in found.aliases:
                found.aliases.add(column.table)
                pending += self._joining(relation, column.table, original)
        return found

    def _joining(self, relation: Relation, alias: str, original: exp.Expr) -> list[exp.Column]:
        """Columns that the join to public table `alias` compares."""
        columns = list(_join(relation, alias).sql.args["on"].find_all(exp.Column))
        for column in columns:
            if not self._has_domain(relation, column):
                raise DomainRefused(
                    f"`{shown(original)}` has no public domain: its table is joined by `{column.name}`, which has none",
                    remedy=f"The steward can give `{column.name}` one in the catalog: references = …",
                    position=position_of(original),
                )
        return columns

    def _component_sql(
        self,
        relation: Relation,
        component: _Component,
        truths: dict[str, tuple[exp.Expr, bool]],
        conditions: Iterable[exp.Expr],
    ) -> str:
        self._check_product(relation, component)
        items = ", ".join(f"{key.sql(dialect='duckdb')} AS {name}" for name, key in component.keys.items())
        sources = self._sources(relation, component, truths)
        kept = [part.sql(dialect="duckdb") for part in conditions if self._decides(relation, component, part)]
        where = f" WHERE {' AND '.join(f'({part})' for part in kept)}" if kept else ""
        return f"SELECT DISTINCT {items}{' FROM ' if sources else ''}{sources}{where}"

    def _check_product(self, relation: Relation, component: _Component) -> None:
        size = math.prod(self._sizes[f"{relation.table_name}.{column}"] for column in component.columns)
        if size * 3 ** len(component.truths) > _LARGEST_PRODUCT:
            raise DomainRefused(
                f"The keys combine {size:,} values of {', '.join(sorted(component.columns))}; that is too many to list",
                remedy="Use fewer columns in one key, or group by them one by one.",
            )

    def _sources(self, relation: Relation, component: _Component, truths: dict[str, tuple[exp.Expr, bool]]) -> str:
        names = [f'"{relation.table_name}.{column}"' for column in sorted(component.columns)]
        sources = [f"(SELECT * FROM {' CROSS JOIN '.join(names)}) AS {relation.alias}"] if names else []
        sources += [
            f"{_TRUTH_OR_NULL if truths[name][1] else _TRUTH} AS {name}(t)" for name in sorted(component.truths)
        ]
        joins = [join.sql.sql(dialect="duckdb") for join in relation.joins if join.alias in component.aliases]
        return " CROSS JOIN ".join(sources) + "".join(f" {join}" for join in joins)

    def _decides(self, relation: Relation, component: _Component, part: exp.Expr) -> bool:
        """Whether a conjunct of WHERE speaks of this component's columns only, so that it rules groups out."""
        columns = list(part.find_all(exp.Column))
        return bool(columns) and all(
            column.name in component.columns if column.table == relation.alias else column.table in component.aliases
            for column in columns
        )


def in_province(node: exp.Expr, relation: Relation, province: str) -> exp.Expr:
    """`node` as the node of `province` sees it: the pseudo-column is its name."""

    def replace(part: exp.Expr) -> exp.Expr:
        is_province = isinstance(part, exp.Column) and part.name == PROVINCE and part.table == relation.alias
        return exp.Literal.string(province) if is_province else part

    return grouped(node.copy()).transform(replace, copy=False)


def _join(relation: Relation, alias: str) -> PublicJoin:
    return next(join for join in relation.joins if join.alias == alias)


def _merge(components: list[_Component], new: _Component) -> None:
    for old in [component for component in components if component.touches(new)]:
        components.remove(old)
        new.absorb(old)
    components.append(new)
