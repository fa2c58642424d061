"""Names: every table and column of the query tied to the catalog."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers
from sqlglot.optimizer.qualify_columns import qualify_columns, validate_qualify_columns
from sqlglot.optimizer.qualify_tables import qualify_tables
from sqlglot.optimizer.scope import Scope, traverse_scope
from sqlglot.schema import MappingSchema

from privacy.catalog import PROVINCE, Catalog, PrivateTable, Table
from privacy.dialect import DUCKDB
from privacy.errors import ConstructRefused, NameRefused
from privacy.grouping import expand_positions
from privacy.many_columns import expand_columns
from privacy.positions import position_of, shown
from privacy.rows.placing import own_parts
from privacy.rows.source import sources_of

MAX_SELECTS = 64


class Names:
    """The tables and columns of a catalog, as sqlglot wants to know them; made once."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        tables: dict[str, object] = {name: _types(table) for name, table in catalog.tables.items()}
        self.schema = MappingSchema(tables, dialect=DUCKDB)


def bind(query: exp.Query, names: Names) -> exp.Query:
    """`query` with every column qualified by its table's alias, aliases in GROUP BY and HAVING expanded.

    Common table expressions stand where they are named. What is given is used up.

    Before: `WITH v AS (SELECT kind AS k FROM visits) SELECT k, COUNT(*) FROM v GROUP BY k`
    After:  `SELECT v.k AS k, COUNT(*) AS _col_1 FROM (SELECT visits.kind AS k FROM visits AS visits) AS v GROUP BY v.k`

    Raises:
        NameRefused: an unknown or ambiguous table or column, with the nearest name.
        ConstructRefused: something other than a table of the catalog or a sub-query in FROM.
    """
    query = normalize_identifiers(query, dialect=DUCKDB)
    for scope in traverse_scope(query):
        _check_scope(scope, names.catalog)
    for select in query.find_all(exp.Select):
        if select.args.get("group") and select.args["group"].args.get("all"):
            _expand_group_by_all(select)
        expand_positions(select)
    for ordered in query.find_all(exp.Select, exp.SetOperation):
        _expand_order_by_all(ordered)
    try:
        # What sqlglot's `qualify` does, but for names that have their case already.
        bound = qualify_columns(qualify_tables(query, dialect=DUCKDB), names.schema)
        validate_qualify_columns(bound)
    except SqlglotError as fault:
        message = str(fault).partition(". Line")[0].splitlines()[0]
        raise NameRefused(message, remedy="Qualify columns by their table, for example v.kind.") from None
    _put_common_tables_in_place(bound)
    _refuse_many(bound)
    for select in reversed(list(bound.find_all(exp.Select))):
        if select.find(exp.Columns):
            expand_columns(select, names.catalog)
    assert isinstance(bound, exp.Query)
    return bound


def columns_of(table: Table) -> list[str]:
    """Names of a table's columns, with the pseudo-column `province` where it is private."""
    return [*table.columns, *([PROVINCE] if isinstance(table, PrivateTable) else [])]


def _types(table: Table) -> dict[str, str]:
    types = {name: str(column.type) for name, column in table.columns.items()}
    return types | {PROVINCE: "VARCHAR"} if isinstance(table, PrivateTable) else types


def _check_scope(scope: Scope, catalog: Catalog) -> None:
    """The names of one SELECT; sqlglot would find what is wrong too, but not say what was meant."""
    select = scope.expression
    if not isinstance(select, exp.Select):
        return
    named: dict[str, list[str] | None] = {}  # by alias, the columns; None where they are not known yet
    for node in sources_of(select):
        name = node.alias_or_name
        if name in named and name:
            raise NameRefused(
                f"Two tables are called `{name}`", remedy="Give one of them an alias.", position=position_of(node)
            )
        named[name] = _columns(node, scope, catalog)
    _check_columns(scope, select, named)


def _columns(node: exp.Expr, scope: Scope, catalog: Catalog) -> list[str] | None:
    """The columns of what stands in FROM."""
    if isinstance(node, exp.Values):
        return _listed(node)
    if isinstance(node, exp.Subquery):
        inner = node.this
        if node.alias_column_names:
            return list(node.alias_column_names)
        return _selected(inner) if isinstance(inner, exp.Query) else None
    if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
        raise ConstructRefused(
            f"`{shown(node)}`: only tables of the catalog may be read",
            remedy=f"Tables are {', '.join(catalog.tables)}.",
            position=position_of(node),
        )
    source = scope.cte_sources.get(node.name)
    if source is not None and not node.args.get("db"):
        _refuse_extras(node)
        return _selected(source.expression)
    _check_table(node, catalog)
    return columns_of(catalog.tables[node.name])


def _listed(node: exp.Values) -> list[str]:
    """The columns of VALUES (…), (…) AS t(a, b)."""
    names = [name.lower() for name in node.alias_column_names]
    constant = not node.find(exp.Column, exp.Query)
    if not names or not constant or any(len(row.expressions) != len(names) for row in node.expressions):
        raise ConstructRefused(
            f"`{shown(node)}`: VALUES are constants, and their columns have names",
            remedy="Write (VALUES ('F', 'female'), ('M', 'male')) AS t(sex, label).",
            position=position_of(node),
        )
    return names


def _selected(query: exp.Expr) -> list[str] | None:
    names = query.named_selects if isinstance(query, exp.Query) else []
    return None if "*" in names or not names else list(names)


def _check_table(node: exp.Table, catalog: Catalog) -> None:
    if node.name not in catalog.tables or node.args.get("db"):
        shown_name = shown(node)
        raise NameRefused(
            f"There is no table `{shown_name.partition(' ')[0]}`{_nearest(node.name, catalog.tables)}",
            remedy=f"Tables are {', '.join(catalog.tables)}.",
            position=position_of(node),
        )
    _refuse_extras(node)


def _refuse_extras(node: exp.Table) -> None:
    extra = [name for name, value in node.args.items() if value and name not in ("this", "alias")]
    alias = node.args.get("alias")
    if alias is not None and any(value for name, value in alias.args.items() if name != "this"):
        extra.append("column aliases")
    if extra:
        raise ConstructRefused(
            f"`{shown(node)}`: {extra[0].upper()} is not answered",
            remedy="Read the whole table.",
            position=position_of(node),
        )


def _check_columns(scope: Scope, select: exp.Select, named: Mapping[str, list[str] | None]) -> None:
    outer = _outer_names(scope)
    unknown = any(columns is None for columns in named.values()) or bool(outer)
    aliases = {item.alias for item in select.expressions if item.alias}
    own = (node for part in select.iter_expressions() if not isinstance(part, exp.Query) for node in own_parts(part))
    for column in own:
        if not isinstance(column, exp.Column) or isinstance(column.this, exp.Star):
            continue
        if not column.table and column.parent_select is not select:
            continue  # it stands in a sub-query, whose own tables come first
        if column.table and column.table not in named:
            if column.table in outer:
                continue
            raise NameRefused(
                f"There is no table `{column.table}` in the query{_nearest(column.table, named)}",
                remedy=f"Its tables are {', '.join(named)}.",
                position=position_of(column),
            )
        known = [named[column.table]] if column.table else list(named.values())
        names = {name for columns in known for name in columns or ()} | (set() if column.table else aliases)
        if not column.table and column.name in named and column.name not in names:
            raise ConstructRefused(
                f"`{column.name}` is a table; whole rows are not answered",
                remedy="Name a column, inside COUNT, SUM or AVG.",
                position=position_of(column),
            )
        if column.name not in names and not (unknown if not column.table else None in known):
            raise NameRefused(
                f"There is no column `{column.name}`{_nearest(column.name, names)}",
                remedy=f"Columns are {', '.join(sorted(names - aliases))}.{_as_text(column)}",
                position=position_of(column),
            )


def _as_text(column: exp.Column) -> str:
    return f" A text stands in single quotes: '{column.name}'." if column.this.args.get("quoted") else ""


def _outer_names(scope: Scope) -> set[str]:
    """The tables of the SELECTs around a sub-query of WHERE, whose row it may look at."""
    names: set[str] = set()
    around = scope.parent
    while around is not None and scope.is_subquery:
        names |= set(around.sources)
        around = around.parent
    return names


def _put_common_tables_in_place(query: exp.Expr) -> None:
    """`WITH v AS (SELECT …) SELECT … FROM v` → `SELECT … FROM (SELECT …) AS v`, the innermost first."""
    for with_ in reversed(list(query.find_all(exp.With))):
        holder = with_.parent
        assert holder is not None
        if with_.args.get("recursive"):
            raise ConstructRefused(
                "WITH RECURSIVE is not answered", remedy="Write plain WITH.", position=position_of(with_)
            )
        with_.pop()
        made: dict[str, exp.Expr] = {}
        for cte in with_.expressions:
            _name_in_place(cte.this, made)
            _refuse_many(cte.this)
            made[cte.alias] = cte.this
        _name_in_place(holder, made)
        _refuse_many(query)


def _refuse_many(query: exp.Expr) -> None:
    """A common table stands as often as it is named, so that their number could double with each line."""
    selects = list(query.find_all(exp.Select))
    if len(selects) > MAX_SELECTS:
        raise ConstructRefused(
            f"The query has more than {MAX_SELECTS} SELECTs, counting each use of a WITH table",
            remedy="Ask for parts of it one at a time.",
            position=position_of(selects[0]),
        )


def _name_in_place(node: exp.Expr, made: Mapping[str, exp.Expr]) -> None:
    for table in list(node.find_all(exp.Table)):
        if table.name in made and not table.args.get("db"):
            table.replace(exp.Subquery(this=made[table.name].copy(), alias=table.args["alias"].copy()))


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean `{close[0]}`?" if close else ""


def _expand_group_by_all(select: exp.Select) -> None:
    """GROUP BY ALL → GROUP BY every item without an aggregate; constants make no groups, and 7 would be a position."""
    items = [item.unalias() for item in select.expressions if not item.find(exp.AggFunc)]
    keys = [item.copy() for item in items if item.find(exp.Column)]
    select.set("group", exp.Group(expressions=keys) if keys else None)


def _expand_order_by_all(query: exp.Query) -> None:
    """ORDER BY ALL → ORDER BY 1, 2, …; `SELECT *` around answers is left to DuckDB."""
    order = query.args.get("order")
    term = order.expressions[0] if order is not None and len(order.expressions) == 1 else None
    if order is None or not isinstance(term, exp.Ordered) or not isinstance(term.this, exp.Var) or query.is_star:
        return
    places = []
    for place in range(1, len(query.selects) + 1):
        copy = term.copy()
        copy.set("this", exp.Literal.number(place))
        places.append(copy)
    order.set("expressions", places)
