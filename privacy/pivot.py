"""PIVOT → the SELECT that it stands for.

Before: `PIVOT (SELECT kind, sex, COUNT(*) AS n …) ON sex IN ('F', 'M') USING SUM(n)`
After:  `SELECT kind, SUM(n) FILTER (WHERE sex = 'F') AS "F", SUM(n) FILTER (…) AS "M" FROM (…) GROUP BY kind`
"""

from __future__ import annotations

from sqlglot import exp

from privacy.catalog import Catalog
from privacy.errors import ConstructRefused
from privacy.positions import position_of, shown


def without_pivot(statement: exp.Expr, catalog: Catalog) -> exp.Expr:
    """`statement`, if it is a PIVOT as a SELECT.

    Raises:
        ConstructRefused: the values that become columns are not listed, or another form that is not answered.
    """
    if not isinstance(statement, exp.Pivot):
        return statement
    tests, using = statement.expressions, statement.args.get("using") or []
    listed = [test for test in tests if isinstance(test, exp.In) and test.expressions]
    if len(tests) != 1 or listed != tests or not using or statement.args.get("unpivot"):
        raise _not_answered(statement)
    if len(using) > 1 and not all(item.alias for item in using):
        raise _not_answered(statement)
    column, values = listed[0].this, listed[0].expressions
    if not isinstance(column, exp.Column) or not all(isinstance(value, exp.Literal) for value in values):
        raise _not_answered(statement)
    group = statement.args.get("group")
    used = {found.name for item in using for found in item.find_all(exp.Column)} | {column.name}
    keys = group.expressions if group is not None else _others(statement, catalog, used)
    pivoted = [
        exp.alias_(
            exp.Filter(
                this=item.unalias().copy(),
                expression=exp.Where(this=exp.EQ(this=column.copy(), expression=value.copy())),
            ),
            f"{value.name}_{item.alias}" if item.alias else value.name,
            quoted=True,
        )
        for value in values
        for item in using
    ]
    source = statement.this.copy()
    if isinstance(source, exp.Subquery) and not source.alias:
        source.set("alias", exp.TableAlias(this=exp.to_identifier("pivoted")))
    select = exp.Select(expressions=[*(key.copy() for key in keys), *pivoted], from_=exp.From(this=source))
    if keys:
        select.set("group", exp.Group(expressions=[key.copy() for key in keys]))
    return select


def _others(statement: exp.Pivot, catalog: Catalog, used: set[str]) -> list[exp.Expr]:
    """The columns that are neither turned nor aggregated: PIVOT groups by them."""
    source = statement.this
    if isinstance(source, exp.Subquery):
        names = source.this.named_selects
    else:
        table = catalog.tables.get(source.name)
        names = list(table.columns) if table is not None else []
    if not names or "*" in names:
        raise _not_answered(statement)
    return [exp.column(name) for name in names if name not in used]


def _not_answered(statement: exp.Pivot) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(statement)}`: this form of PIVOT is not answered",
        remedy="Write PIVOT … ON column IN ('a', 'b') USING SUM(x), with the values listed; if there are several "
        "aggregates, give each an alias.",
        position=position_of(statement),
    )
