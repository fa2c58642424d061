"""FROM, JOIN and WHERE: the rows below the privacy line, whose unit they belong to and how often one row may appear."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from sqlglot import exp

from privacy.catalog import PROVINCE, Catalog, Column, PrivateTable, PublicTable, Table
from privacy.errors import ConstructRefused
from privacy.expressions import Facts, Reader, Reading
from privacy.expressions.comparisons import condition
from privacy.positions import position_of, shown


@dataclass(frozen=True)
class PublicJoin:
    """A join to a public table on equality of columns.

    Attributes:
        sql: the join, in total form.
        alias: of the public table.
        multiplicity: the most rows that one private row may become.
    """

    sql: exp.Join
    alias: str
    multiplicity: int


@dataclass(frozen=True)
class Relation:
    """The rows that are aggregated.

    Attributes:
        alias: of the private table.
        table_name, table: the private table.
        tables: by alias, all tables.
        joins: to public tables.
        conditions: the conjuncts of WHERE, in total form.
    """

    alias: str
    table_name: str
    table: PrivateTable
    tables: dict[str, Table]
    joins: tuple[PublicJoin, ...]
    conditions: tuple[exp.Expr, ...]
    reader: Reader

    @property
    def multiplicity(self) -> int:
        """The most rows that the joins make of one private row."""
        product = 1
        for join in self.joins:
            product *= join.multiplicity
        return product

    def column(self, node: exp.Column) -> Column | None:
        """The catalog's column behind `node`; None for the pseudo-column `province`."""
        return self.tables[node.table].columns.get(node.name)


def read_relation(select: exp.Select, catalog: Catalog) -> Relation:
    """The relation of a bound SELECT.

    Raises:
        ConstructRefused: not exactly one private table, or a join that is not an equality with a public table.
    """
    sources = [select.args["from_"].this, *(join.this for join in select.args.get("joins", []))]
    tables = {source.alias_or_name: catalog.tables[source.name] for source in sources}
    private = [source for source in sources if source.name in catalog.private_tables]
    if not private:
        raise ConstructRefused(
            "The query reads public tables only",
            remedy="Public tables are in the catalog, free of noise: see `weir catalog`.",
            position=position_of(sources[0]),
        )
    if len(private) > 1:
        raise ConstructRefused(
            f"`{private[1].name}`: joins of two private tables are not answered",
            remedy="Join one private table with public tables.",
            position=position_of(private[1]),
        )
    alias, name = private[0].alias_or_name, private[0].name
    optional = {join.this.alias_or_name for join in select.args.get("joins", []) if join.side == "LEFT"}
    reader = Reader(lambda column: _read_column(column, tables, optional))
    joins = _joins(select, alias, tables, reader)
    where = select.args.get("where")
    conditions = where.this.flatten() if where and isinstance(where.this, exp.And) else [where.this] if where else []
    read = tuple(condition(reader, part).sql for part in conditions)
    return Relation(alias, name, catalog.private_tables[name], tables, joins, read, reader)


def _read_column(node: exp.Column, tables: dict[str, Table], optional: set[str]) -> Reading:
    table = tables[node.table]
    if node.name == PROVINCE and isinstance(table, PrivateTable):
        return Reading(node.copy(), Facts("VARCHAR"))
    column = table.columns[node.name]
    facts = _public_facts(table, node.name) if isinstance(table, PublicTable) else _private_facts(column)
    identifier = isinstance(table, PrivateTable) and node.name == table.unit_column
    nullable = facts.nullable or node.table in optional
    return Reading(node.copy(), replace(facts, nullable=nullable, identifier=identifier))


def _public_facts(table: PublicTable, name: str) -> Facts:
    """What the rows of a public table say, which are part of the standard."""
    values = table.values(name)
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    facts = Facts(_kind(table.columns[name]), nullable=None in values)
    return replace(facts, low=min(numbers), high=max(numbers)) if numbers else facts


def _kind(column: Column) -> str:
    return "BIGINT" if column.type == "INTEGER" else column.type


def _private_facts(column: Column) -> Facts:
    """What the catalog promises of a column."""
    kind, nullable = _kind(column), column.nullable
    if column.bounds is not None:
        low, high = column.bounds
        return Facts(kind, low, high, nullable) if kind == "DOUBLE" else Facts(kind, int(low), int(high), nullable)
    if column.range is not None:
        return Facts(kind, column.range[0].toordinal(), column.range[1].toordinal(), nullable)
    return Facts(kind, nullable=nullable)


def _joins(select: exp.Select, private: str, tables: dict[str, Table], reader: Reader) -> tuple[PublicJoin, ...]:
    """The joins, in the order in which each can follow the private table."""
    first = select.args["from_"].this
    nodes = list(select.args.get("joins", []))
    found = []
    for node in nodes:
        if {name for name, value in node.args.items() if value} - {"this", "on", "side", "kind"}:
            raise _unknown_join(node)
        if node.kind not in ("", "INNER") and not (node.kind == "OUTER" and node.side == "LEFT"):
            raise _unknown_join(node)
        if node.side not in ("", "LEFT"):
            raise _unknown_join(node)
        joined = node.this.alias_or_name
        if joined == private:
            # FROM hospitals JOIN visits is the same as FROM visits JOIN hospitals, unless rows without a visit stay.
            if node.side == "LEFT" or len(nodes) > 1:
                raise _private_not_first(node)
            joined, node = first.alias_or_name, exp.Join(this=first.copy(), on=node.args.get("on"))
        found.append(_public_join(node, joined, tables, reader))
    return tuple(found)


def _public_join(node: exp.Join, alias: str, tables: dict[str, Table], reader: Reader) -> PublicJoin:
    table = tables[alias]
    assert isinstance(table, PublicTable)
    condition_node = node.args.get("on")
    pairs = list(condition_node.flatten()) if isinstance(condition_node, exp.And) else [condition_node]
    # Conditions on public columns alone only take matches away; the equalities bound how many there are.
    names = [_own_column(pair, alias, node, reader) for pair in pairs if not _is_public(pair, tables)]
    if not names:
        raise _unknown_join(node)
    counts = Counter(row for row in zip(*(table.values(name) for name in names), strict=True) if None not in row)
    side = node.side or None
    on = exp.and_(*(condition(reader, pair).sql for pair in pairs if pair is not None), copy=False)
    sql = exp.Join(this=node.this.copy(), on=on, side=side)
    return PublicJoin(sql, alias, max(counts.values(), default=1))


def _is_public(pair: exp.Expr | None, tables: dict[str, Table]) -> bool:
    columns = list(pair.find_all(exp.Column)) if pair is not None else []
    return bool(columns) and all(isinstance(tables[column.table], PublicTable) for column in columns)


def _own_column(pair: exp.Expr | None, alias: str, node: exp.Join, reader: Reader) -> str:
    """The column of the joined table in an equality with a column of a table before it."""
    if isinstance(pair, exp.Paren):
        return _own_column(pair.this, alias, node, reader)
    if not isinstance(pair, exp.EQ) or not all(isinstance(side, exp.Column) for side in (pair.left, pair.right)):
        raise _unknown_join(node)
    own = [side for side in (pair.left, pair.right) if isinstance(side, exp.Column) and side.table == alias]
    if len(own) != 1 or any(reader.read(side).facts.identifier for side in (pair.left, pair.right)):
        raise _unknown_join(node)
    return own[0].name


def _unknown_join(node: exp.Join) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(node)}`: this join is not answered",
        remedy="Write [LEFT] JOIN public_table ON private.column = public_table.column.",
        position=position_of(node),
    )


def _private_not_first(node: exp.Join) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(node)}`: the private table must come first",
        remedy=f"Write FROM {node.this.name} JOIN …; keys that no row has are answered all the same, with 0.",
        position=position_of(node),
    )
