"""COLUMNS(…), which stands for many columns → an item of SELECT for each.

Before: `SELECT MAX(COLUMNS(*)) FROM (SELECT n, c FROM …) AS t`
After:  `SELECT MAX(t.n) AS "max(n)", MAX(t.c) AS "max(c)" FROM (SELECT n, c FROM …) AS t`
"""

from __future__ import annotations

import re

from sqlglot import exp

from privacy.catalog import Catalog
from privacy.errors import ConstructRefused
from privacy.positions import position_of, shown
from privacy.rows.source import sources_of

_LONGEST = 100  # of a pattern


def expand_columns(select: exp.Select, catalog: Catalog) -> None:
    """Expand it in the SELECT list, in place; the sources' own columns are known.

    Raises:
        ConstructRefused: a form that is not known here, or it stands elsewhere.
    """
    items: list[exp.Expr] = []
    for item in select.expressions:
        found = list(item.find_all(exp.Columns))
        if not found:
            items.append(item)
            continue
        if len({one.this for one in found}) > 1:
            raise _unknown(found[0])
        items += [_with(item.unalias(), column) for column in _chosen(found[0], _columns(select, catalog))]
    select.set("expressions", items)
    elsewhere = next((one for one in select.find_all(exp.Columns) if one.parent_select is select), None)
    if elsewhere is not None or not items:
        raise _unknown(elsewhere or select)


def _columns(select: exp.Select, catalog: Catalog) -> list[exp.Column]:
    found = []
    for source in sources_of(select):
        table = catalog.tables.get(source.name) if isinstance(source, exp.Table) else None
        names = list(table.columns) if table is not None else source.this.named_selects
        found += [exp.column(name, table=source.alias_or_name) for name in names]
    return found


def _chosen(node: exp.Columns, columns: list[exp.Column]) -> list[exp.Column]:
    """Those of COLUMNS(*), COLUMNS(* EXCLUDE (a)) and COLUMNS('pattern')."""
    what = node.this
    if isinstance(what, exp.Star):
        if {name for name, value in what.args.items() if value} - {"except_"}:
            raise _unknown(node)
        left_out = {one.name.lower() for one in what.args.get("except_") or []}
        return [column for column in columns if column.name.lower() not in left_out]
    if not isinstance(what, exp.Literal) or not what.is_string or len(what.name) > _LONGEST:
        raise _unknown(node)
    if not re.fullmatch(r"[\w.*|^$]*", what.name):
        raise _unknown(node)
    return [column for column in columns if re.search(what.name, column.name)]


def _with(item: exp.Expr, column: exp.Column) -> exp.Expr:
    if isinstance(item, exp.Columns):
        return exp.alias_(column.copy(), column.name, quoted=True)
    changed = item.transform(lambda node: column.copy() if isinstance(node, exp.Columns) else node)
    bare = item.transform(lambda node: exp.column(column.name) if isinstance(node, exp.Columns) else node)
    return exp.alias_(changed, shown(bare).lower(), quoted=True)


def _unknown(node: exp.Expr) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(node)}`: this form of COLUMNS is not answered",
        remedy="Write COLUMNS(*), COLUMNS(* EXCLUDE (a)) or COLUMNS('n.*') in the SELECT list, or name the columns.",
        position=position_of(node),
    )
