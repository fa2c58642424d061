"""Names: every table and column of the query tied to the catalog."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers
from sqlglot.optimizer.qualify import qualify

from privacy.catalog import PROVINCE, Catalog, PrivateTable, Table
from privacy.errors import ConstructRefused, NameRefused
from privacy.grouping import expand_positions
from privacy.positions import position_of, shown


def bind(select: exp.Select, catalog: Catalog) -> exp.Select:
    """`select` with every column qualified by its table's alias, aliases in GROUP BY and HAVING expanded.

    Before: `SELECT kind AS k, COUNT(*) FROM visits GROUP BY k`
    After:  `SELECT visits.kind AS k, COUNT(*) AS _col_1 FROM visits AS visits GROUP BY visits.kind`

    Raises:
        NameRefused: an unknown or ambiguous table or column, with the nearest name.
        ConstructRefused: something other than a table of the catalog in FROM, or a sub-query.
    """
    select = normalize_identifiers(select.copy(), dialect="duckdb")
    _refuse_subqueries(select)
    tables = _tables(select, catalog)
    _check_columns(select, tables)
    if select.args.get("group") and select.args["group"].args.get("all"):
        _expand_group_by_all(select)
    expand_positions(select)
    schema: dict[str, object] = {name: _types(table) for name, table in catalog.tables.items()}
    try:
        bound = qualify(select, schema=schema, dialect="duckdb", quote_identifiers=False, identify=False)
    except SqlglotError as fault:
        message = str(fault).partition(". Line")[0].splitlines()[0]
        raise NameRefused(message, remedy="Qualify columns by their table, for example v.kind.") from None
    assert isinstance(bound, exp.Select)
    return bound


def columns_of(table: Table) -> list[str]:
    """Names of a table's columns, with the pseudo-column `province` where it is private."""
    return [*table.columns, *([PROVINCE] if isinstance(table, PrivateTable) else [])]


def _types(table: Table) -> dict[str, str]:
    types = {name: str(column.type) for name, column in table.columns.items()}
    return types | {PROVINCE: "VARCHAR"} if isinstance(table, PrivateTable) else types


def _refuse_subqueries(select: exp.Select) -> None:
    inner = next((found for found in select.find_all(exp.Query) if found is not select), None)
    if inner is not None:
        raise ConstructRefused(
            f"`{shown(inner)}`: sub-queries are not answered",
            remedy="Ask the inner and the outer question one at a time.",
            position=position_of(inner),
        )


def _tables(select: exp.Select, catalog: Catalog) -> dict[str, Table]:
    """The catalog's tables that the query reads, by alias."""
    found: dict[str, Table] = {}
    sources = [select.args["from_"]] if select.args.get("from_") else []
    for source in (*sources, *select.args.get("joins", [])):
        node = source.this
        if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
            raise ConstructRefused(
                f"`{shown(node)}`: only tables of the catalog may be read",
                remedy=f"Tables are {', '.join(catalog.tables)}.",
                position=position_of(node),
            )
        _check_table(node, catalog)
        if node.alias_or_name in found:
            raise NameRefused(
                f"Two tables are called `{node.alias_or_name}`",
                remedy="Give one of them an alias.",
                position=position_of(node),
            )
        found[node.alias_or_name] = catalog.tables[node.name]
    if not found:
        raise ConstructRefused("The query reads no table", remedy=f"Tables are {', '.join(catalog.tables)}.")
    return found


def _check_table(node: exp.Table, catalog: Catalog) -> None:
    extra = [name for name, value in node.args.items() if value and name not in ("this", "alias")]
    alias = node.args.get("alias")
    if alias is not None and any(value for name, value in alias.args.items() if name != "this"):
        extra.append("column aliases")
    if node.name not in catalog.tables or "db" in extra:
        shown_name = shown(node)
        raise NameRefused(
            f"There is no table `{shown_name.partition(' ')[0]}`{_nearest(node.name, catalog.tables)}",
            remedy=f"Tables are {', '.join(catalog.tables)}.",
            position=position_of(node),
        )
    if extra:
        raise ConstructRefused(
            f"`{shown(node)}`: {extra[0].upper()} is not answered",
            remedy="Read the whole table.",
            position=position_of(node),
        )


def _check_columns(select: exp.Select, tables: dict[str, Table]) -> None:
    aliases = {item.alias for item in select.expressions if item.alias}
    for column in select.find_all(exp.Column):
        if isinstance(column.this, exp.Star):
            continue
        if column.table and column.table not in tables:
            raise NameRefused(
                f"There is no table `{column.table}` in the query{_nearest(column.table, tables)}",
                remedy=f"Its tables are {', '.join(tables)}.",
                position=position_of(column),
            )
        known = [tables[column.table]] if column.table else list(tables.values())
        names = {name for table in known for name in columns_of(table)} | (set() if column.table else aliases)
        if not column.table and column.name in tables:
            raise ConstructRefused(
                f"`{column.name}` is a table; whole rows are not answered",
                remedy="Name a column, inside COUNT, SUM or AVG.",
                position=position_of(column),
            )
        if column.name not in names:
            raise NameRefused(
                f"There is no column `{column.name}`{_nearest(column.name, names)}",
                remedy=f"Columns are {', '.join(sorted(names - aliases))}.",
                position=position_of(column),
            )


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean `{close[0]}`?" if close else ""


def _expand_group_by_all(select: exp.Select) -> None:
    """GROUP BY ALL → GROUP BY every item without an aggregate."""
    keys = [item.unalias().copy() for item in select.expressions if not item.find(exp.AggFunc)]
    select.set("group", exp.Group(expressions=keys) if keys else None)
