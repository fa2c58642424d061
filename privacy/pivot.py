"""PIVOT and UNPIVOT, as statements or behind a table of FROM → the SELECTs that they stand for.

Before: `PIVOT (SELECT kind, sex, COUNT(*) AS n …) ON sex IN ('F', 'M') USING SUM(n)`
After:  `SELECT kind, SUM(n) FILTER (WHERE sex = 'F') AS "F", SUM(n) FILTER (…) AS "M" FROM (…) GROUP BY kind`

Before: `SELECT * FROM (SELECT COUNT(*) AS a, …) UNPIVOT (v FOR what IN (a, b))`
After:  `SELECT * FROM (SELECT what, CASE WHEN what = 'a' THEN a … END AS v FROM (…), (VALUES ('a'), ('b')) AS w(what))`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from privacy.catalog import Catalog
from privacy.errors import ConstructRefused
from privacy.positions import position_of, shown

_SOURCE, _NAMES = "pivoted", "unpivoted"


def without_pivot(statement: exp.Expr, catalog: Catalog) -> exp.Expr:
    """`statement` with a SELECT in the place of each PIVOT and UNPIVOT.

    Raises:
        ConstructRefused: the values that become columns are not listed, or another form that is not answered.
    """
    if not isinstance(statement, exp.Pivot) and not statement.find(exp.Pivot):
        return statement
    whole = exp.Tuple(expressions=[statement.copy()])  # so that the outermost has something to stand in
    for pivot in reversed(list(whole.find_all(exp.Pivot))):
        if pivot.arg_key == "pivots":
            _behind_a_table(pivot, whole, catalog)
        else:
            common = pivot.args.get("with_")
            select = _select(pivot, pivot.this, whole, catalog)
            select.set("with_", common.copy() if common is not None else None)
            pivot.replace(select)
    found: exp.Expr = whole.expressions[0]
    return found


def _behind_a_table(pivot: exp.Pivot, whole: exp.Expr, catalog: Catalog) -> None:
    """`t PIVOT (…) AS p` → `(SELECT …) AS p`."""
    table = pivot.parent
    assert table is not None
    if len(table.args["pivots"]) > 1:
        raise _not_answered(pivot)
    plain = table.copy()
    plain.set("pivots", None)
    alias = pivot.args.get("alias")
    made = exp.Subquery(this=_select(pivot, plain, whole, catalog))
    if alias is not None:
        made.set("alias", alias.copy())
    table.replace(made)


def _select(pivot: exp.Pivot, source: exp.Expr, whole: exp.Expr, catalog: Catalog) -> exp.Select:
    source = source.copy()
    if isinstance(source, exp.Subquery) and not source.alias:
        source.set("alias", exp.TableAlias(this=exp.to_identifier(_SOURCE)))
    columns = _columns(source, whole, catalog)
    if pivot.args.get("unpivot"):
        return _unpivoted(pivot, source, columns)
    return _pivoted(pivot, source, columns)


def _columns(source: exp.Expr, whole: exp.Expr, catalog: Catalog) -> list[str]:
    """The columns of what is turned; none where that is not known yet."""
    if isinstance(source, exp.Subquery):
        query: exp.Expr | None = source.this
    else:
        table = catalog.tables.get(source.name.lower())
        if table is not None:
            return list(table.columns)
        query = next((one.this for one in whole.find_all(exp.CTE) if one.alias.lower() == source.name.lower()), None)
    names = query.named_selects if isinstance(query, exp.Query) else []
    return [] if "*" in names or not all(names) else list(names)


@dataclass(frozen=True)
class _Turned:
    """One value that becomes a column, or several: one for each aggregate."""

    value: exp.Expr
    name: str


def _pivoted(pivot: exp.Pivot, source: exp.Expr, columns: Sequence[str]) -> exp.Select:
    """The SELECT of `PIVOT t ON x IN (…) USING …` and of `t PIVOT (… FOR x IN (…))`."""
    tests, using = (
        (pivot.args.get("fields"), pivot.expressions)
        if pivot.args.get("fields")
        else (
            pivot.expressions,
            pivot.args.get("using") or [],
        )
    )
    listed = tests[0] if tests and len(tests) == 1 else None
    if not isinstance(listed, exp.In) or not listed.expressions or not isinstance(listed.this, exp.Column) or not using:
        raise _not_answered(pivot)
    column, values = listed.this, [_turned(value, pivot) for value in listed.expressions]
    group = pivot.args.get("group")
    used = {found.name for item in using for found in item.find_all(exp.Column)} | {column.name}
    keys = group.expressions if group is not None else [exp.column(name) for name in columns if name not in used]
    if group is None and not columns:
        raise _not_answered(pivot)
    turned = [
        exp.alias_(_where(item.unalias(), column, value.value), _name(value, item, alone=len(using) == 1), quoted=True)
        for value in values
        for item in using
    ]
    select = exp.Select(expressions=[*(key.copy() for key in keys), *turned], from_=exp.From(this=source))
    if keys:
        select.set("group", exp.Group(expressions=[key.copy() for key in keys]))
    return select


def _turned(node: exp.Expr, pivot: exp.Pivot) -> _Turned:
    value = node.this if isinstance(node, exp.PivotAlias) else node
    if not isinstance(value, exp.Literal):
        raise _not_answered(pivot)
    return _Turned(value, node.args["alias"].name if isinstance(node, exp.PivotAlias) else value.name)


def _where(aggregate: exp.Expr, column: exp.Column, value: exp.Expr) -> exp.Expr:
    same = exp.EQ(this=column.copy(), expression=value.copy())
    return exp.Filter(this=aggregate.copy(), expression=exp.Where(this=same))


def _name(value: _Turned, item: exp.Expr, *, alone: bool) -> str:
    if item.alias:
        return f"{value.name}_{item.alias}"
    return value.name if alone else f"{value.name}_{shown(item).lower()}"


def _unpivoted(pivot: exp.Pivot, source: exp.Expr, columns: Sequence[str]) -> exp.Select:
    """The SELECT of `UNPIVOT t ON a, b INTO NAME what VALUE v` and of `t UNPIVOT (v FOR what IN (a, b))`."""
    fields, into = pivot.args.get("fields"), pivot.args.get("into")
    if fields:
        names, value, what = fields[0].expressions, pivot.expressions[0].name, fields[0].this.name
    else:
        names = pivot.expressions
        what, value = (into.this.name, into.expressions[0].name) if into is not None else ("name", "value")
    plain = all(isinstance(name, exp.Column) for name in names) and len(pivot.expressions if fields else [1]) == 1
    if not plain or not columns or pivot.args.get("include_nulls"):
        raise _not_answered(pivot)
    turned = [name.name for name in names]
    others = [exp.column(name) for name in columns if name not in turned]
    which = exp.column(what, table=_NAMES)
    ifs = [
        exp.If(this=exp.EQ(this=which.copy(), expression=exp.Literal.string(name)), true=exp.column(name))
        for name in turned
    ]
    found = exp.Case(ifs=ifs)
    rows = exp.values([(name,) for name in turned], alias=_NAMES, columns=[what])
    there = exp.Not(this=exp.Is(this=exp.Paren(this=found.copy()), expression=exp.Null()))
    return exp.Select(
        expressions=[*others, exp.alias_(which.copy(), what), exp.alias_(found, value)],
        from_=exp.From(this=source),
        joins=[exp.Join(this=rows, kind="CROSS")],
        where=exp.Where(this=there),
    )


def _not_answered(pivot: exp.Pivot) -> ConstructRefused:
    if pivot.args.get("unpivot"):
        remedy = "Write UNPIVOT (SELECT a, b …) ON a, b INTO NAME what VALUE v, with the columns listed."
    else:
        remedy = "Write PIVOT … ON column IN ('a', 'b') USING SUM(x), with the values listed."
    return ConstructRefused(
        f"`{shown(pivot)}`: this form of {'UN' if pivot.args.get('unpivot') else ''}PIVOT is not answered",
        remedy=remedy,
        position=position_of(pivot),
    )
