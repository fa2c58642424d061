"""One thing that FROM reads, and what is known of its rows before any is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.catalog import PROVINCE, Catalog, Column, PrivateTable, PublicTable
from privacy.expressions import Facts

if TYPE_CHECKING:
    from privacy.rows.relation import Relation

UNIT = "_unit"  # the column of a sub-query that holds the unit's identifier
LARGEST_LIMIT = 1_000_000
PROVINCE_TABLE = "<province>"  # no identifier of a query can be this


@dataclass(frozen=True)
class SourceColumn:
    """What is known of a column on every row.

    Attributes:
        grid: the step to which a DOUBLE is rounded; None where the catalog names none.
        fixed: whether all rows of a unit at one node have the same value.
    """

    facts: Facts
    grid: float | None = None
    fixed: bool = False


@dataclass(frozen=True)
class Owner:
    """Whose rows they are.

    Attributes:
        unit: for example `person`.
        homes: private tables, each with the most nodes that hold a unit in it: rows of a unit are only where it is in
            one of these tables.
        rows: the most rows of one unit at one node; None where only limits hold.
        max_rows, max_groups: limits on what of a unit counts, where `rows` is None.
    """

    unit: str
    homes: tuple[tuple[str, int], ...]
    rows: int | None
    max_rows: int
    max_groups: int

    @property
    def span(self) -> int:
        """The most nodes that have rows of one unit."""
        return _nodes(self.homes)

    @property
    def most_rows(self) -> int:
        """Of one unit, in one group: what there can be, or what counts."""
        return self.max_rows if self.rows is None else self.rows

    def multiplied(self, factor: int) -> Owner:
        """After a join that makes at most `factor` rows of one."""
        return self if self.rows is None else replace(self, rows=self.rows * factor)

    def joined(self, other: Owner, *, optional: bool) -> Owner:
        """After a join on the unit; where `other` is optional, rows that meet none of its rows stay."""
        return Owner(
            self.unit,
            self.homes if optional else min(self.homes, other.homes, key=_nodes),
            None if self.rows is None or other.rows is None else self.rows * other.rows,
            min(LARGEST_LIMIT, self.max_rows * other.max_rows),
            min(LARGEST_LIMIT, self.max_groups * other.max_groups),
        )

    def with_all_of(self, other: Owner) -> Owner:
        """After UNION ALL."""
        return Owner(
            self.unit,
            tuple(dict((*self.homes, *other.homes)).items()),
            None if self.rows is None or other.rows is None else self.rows + other.rows,
            min(LARGEST_LIMIT, self.max_rows + other.max_rows),
            min(LARGEST_LIMIT, self.max_groups + other.max_groups),
        )


def _nodes(homes: tuple[tuple[str, int], ...]) -> int:
    return sum(nodes for _, nodes in homes)


@dataclass(frozen=True)
class Arm:
    """One SELECT of a sub-query, for listing the values that its columns can have.

    Attributes:
        items: by column, an expression over `relation` whose values are all that the column can have; a column whose
            values only its facts bound is missing.
        apart: columns that do not come from the same row as the others, as those of aggregates: they may meet any value
            of the others, and NULL where that is none of their values.
    """

    relation: Relation
    items: Mapping[str, exp.Expr]
    apart: frozenset[str] = frozenset()


Origin = str | PublicTable | tuple[Arm, ...]  # a private table's name, a public table, or the arms of a sub-query


@dataclass(frozen=True)
class Source:
    """A table or sub-query in FROM.

    Attributes:
        alias: unique in the whole query, whatever the researcher calls it.
        sql: the table or sub-query, without alias.
        unit: its column that identifies the unit; empty where it is public.
        owner: None where it is public.
        origin: where the values of its columns come from.
        key: columns that tell the rows of a unit apart; None where nothing is known to.
    """

    alias: str
    sql: exp.Expr
    columns: Mapping[str, SourceColumn]
    unit: str
    owner: Owner | None
    origin: Origin
    key: frozenset[str] | None = None

    @property
    def aliased(self) -> exp.Expr:
        """As it stands in FROM."""
        alias = exp.TableAlias(this=exp.to_identifier(self.alias))
        if isinstance(self.sql, exp.Table):
            return exp.Table(this=self.sql.this.copy(), alias=alias)
        return exp.Subquery(this=self.sql.copy(), alias=alias)

    def column(self, name: str) -> exp.Column:
        return exp.column(name, table=self.alias)


def sources_of(select: exp.Select) -> list[exp.Expr]:
    """What stands in FROM and JOIN, as it is written."""
    from_ = select.args.get("from_")
    return [*([from_.this] if from_ is not None else []), *(join.this for join in select.args.get("joins") or [])]


def province_column() -> exp.Column:
    """The pseudo-column `province`, in any sub-query: `in_province` puts the node's name there."""
    return exp.column(PROVINCE, table=PROVINCE_TABLE)


def is_province(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) and node.table == PROVINCE_TABLE


def in_province(node: exp.Expr, province: str) -> exp.Expr:
    """`node`, which is changed in place, as the node of `province` sees it."""
    return node.transform(lambda part: exp.Literal.string(province) if is_province(part) else part, copy=False)


def private_source(
    name: str, table: PrivateTable, catalog: Catalog, alias: str, *, max_rows: int | None, max_groups: int | None
) -> Source:
    """A private table of the catalog.

    Args:
        max_rows, max_groups: of the request, which may lower the catalog's limits.
    """
    most = table.rows_per_unit
    rows = min(table.max_rows or most or 1, max_rows or LARGEST_LIMIT)
    groups = min(table.max_groups or most or 1, max_groups or LARGEST_LIMIT)
    # What is promised needs no bounding; limits that the request names replace it where they let no more count.
    limited = most is None or (min(rows, groups) < most and rows * groups <= most)
    owner = Owner(table.unit, ((name, catalog.span(table)),), None if limited else most, rows, groups)
    columns = {column: _private_column(column, known, table) for column, known in table.columns.items()}
    key = frozenset[str]() if most == 1 else frozenset(table.key) if table.key else None
    return Source(alias, exp.Table(this=exp.to_identifier(name)), columns, table.unit_column, owner, name, key)


def public_source(name: str, table: PublicTable, alias: str) -> Source:
    columns = {column: SourceColumn(_public_facts(table, column)) for column in table.columns}
    return Source(alias, exp.Table(this=exp.to_identifier(name)), columns, "", None, table)


def _private_column(name: str, column: Column, table: PrivateTable) -> SourceColumn:
    facts, fixed = _private_facts(column), column.fixed_per_unit or table.rows_per_unit == 1
    if name == table.unit_column:  # rows of nobody are dropped (node/views.py)
        return SourceColumn(replace(facts, nullable=False, identifier=table.unit), fixed=True)
    return SourceColumn(facts, column.grid, fixed)


def _private_facts(column: Column) -> Facts:
    """What the catalog promises of a column."""
    kind, nullable = _kind(column), column.nullable
    if column.bounds is not None:
        low, high = column.bounds
        return Facts(kind, low, high, nullable) if kind == "DOUBLE" else Facts(kind, int(low), int(high), nullable)
    if column.range is not None:
        return Facts(kind, column.range[0].toordinal(), column.range[1].toordinal(), nullable)
    return Facts(kind, nullable=nullable)


def _public_facts(table: PublicTable, name: str) -> Facts:
    """What the rows of a public table say, which are part of the standard."""
    values = table.values(name)
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    facts = Facts(_kind(table.columns[name]), nullable=None in values)
    return replace(facts, low=min(numbers), high=max(numbers)) if numbers else facts


def _kind(column: Column) -> str:
    return "BIGINT" if column.type == "INTEGER" else column.type
