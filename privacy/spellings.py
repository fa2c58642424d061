"""Other names and forms of what is answered → the form that the rules know.

Before: `SELECT MEAN(cost), DATE_PART('year', visit_date) FROM visits WHERE (kind, sex) IN (('test', 'F')) …`
After:  `SELECT AVG(cost), EXTRACT(year FROM visit_date) FROM visits WHERE (kind = 'test' AND sex = 'F') …`
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import islice

from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.positions import position_of, shown

Spelled = Callable[[exp.Expr], exp.Expr | None]


def spelled(statement: exp.Expr) -> None:
    """Change `statement` in place; columns of the answer keep the names that they had as written.

    Raises:
        ConstructRefused: a window that is named and nowhere defined.
    """
    items = statement.selects if isinstance(statement, exp.Query) else []
    written = [(item, "" if _is_named(item) else shown(item)) for item in items]
    for select in statement.find_all(exp.Select):
        _put_windows_in_place(select)
    for node in reversed(list(statement.walk())):  # the innermost first
        rule = _FORMS.get(type(node))
        repeats = isinstance(node, _REPEATING) and _is_large(node)
        new = rule(node) if rule is not None and not repeats else None
        if new is not None:
            node.replace(new)
    items = statement.selects if isinstance(statement, exp.Query) else []
    for (old, name), item in zip(written, items, strict=True):
        if not _is_named(item) and (item is not old or shown(item) != name):
            item.replace(exp.alias_(item.copy(), name, quoted=True))


def _is_named(item: exp.Expr) -> bool:
    return bool(item.alias) or isinstance(item, exp.Column | exp.Star)


def _put_windows_in_place(select: exp.Select) -> None:
    """`SUM(n) OVER w … WINDOW w AS (ORDER BY m)` → `SUM(n) OVER (ORDER BY m)`."""
    named = {window.name.lower(): window for window in select.args.get("windows") or []}
    if not named:
        return
    select.set("windows", None)
    for window in list(select.find_all(exp.Window)):
        name = window.args.get("alias")
        if name is None or window.parent_select is not select:
            continue
        definition = named.get(name.name.lower())
        if definition is None or definition.args.get("alias") is not None:
            raise ConstructRefused(
                f"`{shown(window)}`: the window {name.name} is not defined in WINDOW",
                remedy="Write the window where it is used: OVER (PARTITION BY … ORDER BY …).",
                position=position_of(window),
            )
        window.set("alias", None)
        for part in ("partition_by", "order", "spec"):
            given = definition.args.get(part)
            if given and not window.args.get(part):
                copies = [one.copy() for one in given] if isinstance(given, list) else given.copy()
                window.set(part, copies)


_REPEATING = exp.RegrCount | exp.RegrAvgx | exp.RegrAvgy | exp.RegrSxx | exp.RegrSyy | exp.RegrSxy


def _named(node: exp.Expr) -> exp.Expr | None:
    """Functions that sqlglot has no class for."""
    rule = _FUNCTIONS.get(node.name.upper())
    return rule(node.expressions) if rule is not None else None


def _one(kind: type[exp.Expr]) -> Callable[[Sequence[exp.Expr]], exp.Expr | None]:
    return lambda given: kind(this=given[0]) if len(given) == 1 else None


def _two(kind: type[exp.Expr]) -> Callable[[Sequence[exp.Expr]], exp.Expr | None]:
    return lambda given: kind(this=given[0], expression=given[1]) if len(given) == 2 else None


_MOST_PARTS = 100  # of an operand that is written twice: twice as often in each call around it


def _is_large(node: exp.Expr) -> bool:
    return sum(1 for _ in islice(node.walk(), _MOST_PARTS + 1)) > _MOST_PARTS


def _date_part(given: Sequence[exp.Expr]) -> exp.Expr | None:
    """`DATE_PART('year', d)`."""
    if len(given) != 2 or not isinstance(given[0], exp.Literal):
        return None
    return exp.Extract(this=exp.var(given[0].name), expression=given[1])


def _part(name: str) -> Callable[[Sequence[exp.Expr]], exp.Expr | None]:
    return lambda given: exp.Extract(this=exp.var(name), expression=given[0]) if len(given) == 1 else None


def _year_and_week(given: Sequence[exp.Expr]) -> exp.Expr | None:
    """`YEARWEEK(d)`: 202452."""
    if len(given) != 1 or _is_large(given[0]):
        return None
    year, week = (exp.Extract(this=exp.var(name), expression=given[0].copy()) for name in ("isoyear", "week"))
    hundreds = exp.Mul(this=year, expression=exp.Literal.number(100))
    return exp.Paren(this=exp.Add(this=hundreds, expression=week))


def _geometric_mean(given: Sequence[exp.Expr]) -> exp.Expr | None:
    return exp.Exp(this=exp.Avg(this=exp.Ln(this=given[0]))) if len(given) == 1 else None


def _standard_error(given: Sequence[exp.Expr]) -> exp.Expr | None:
    """`SEM(x)`."""
    if len(given) != 1 or _is_large(given[0]):
        return None
    root = exp.Sqrt(this=exp.Count(this=given[0].copy(), big_int=True))
    return exp.Paren(this=exp.Div(this=exp.StddevPop(this=given[0].copy()), expression=root))


def _histogram(given: Sequence[exp.Expr]) -> exp.Expr | None:
    return exp.AnonymousAggFunc(this="HISTOGRAM", expressions=list(given)) if len(given) in (1, 2) else None


_FUNCTIONS: dict[str, Callable[[Sequence[exp.Expr]], exp.Expr | None]] = {
    "HISTOGRAM": _histogram,
    "DATE_PART": _date_part,
    "DATEPART": _date_part,
    "WEEKDAY": _part("dow"),
    "ISOYEAR": _part("isoyear"),
    "DECADE": _part("decade"),
    "YEARWEEK": _year_and_week,
    "PREFIX": _two(exp.StartsWith),
    "SUFFIX": _two(exp.EndsWith),
    "MEAN": _one(exp.Avg),
    "FAVG": _one(exp.Avg),
    "FSUM": _one(exp.Sum),
    "KAHAN_SUM": _one(exp.Sum),
    "SUMKAHAN": _one(exp.Sum),
    "GEOMEAN": _geometric_mean,
    "GEOMETRIC_MEAN": _geometric_mean,
    "SEM": _standard_error,
}


def _as(kind: type[exp.Expr]) -> Spelled:
    return lambda node: kind(this=node.this)


def _count(node: exp.Expr) -> exp.Expr | None:
    """`COUNT()`."""
    return exp.Count(this=exp.Star(), big_int=True) if node.this is None else None


def _moved(node: exp.Expr) -> exp.Expr | None:
    """`DATE_ADD(d, INTERVAL 7 DAY)`."""
    if not isinstance(node.expression, exp.Interval):
        return None
    return exp.Paren(this=exp.Add(this=node.this, expression=node.expression))


def _day(node: exp.Expr) -> exp.Expr | None:
    """`MAKE_DATE(2024, 3, 1)` of numbers that are written out."""
    parts = [node.args.get(name) for name in ("year", "month", "day")]
    if not all(isinstance(part, exp.Literal) and part.is_int for part in parts):
        return None
    year, month, day = (int(part.name) for part in parts if part is not None)
    return exp.cast(exp.Literal.string(f"{year:04}-{month:02}-{day:02}"), "DATE")


def _bucket(node: exp.Expr) -> exp.Expr | None:
    """`TIME_BUCKET(INTERVAL '1 month', d)` of one unit: a truncation that stays a date."""
    width = node.this
    known = isinstance(width, exp.Interval) and width.this is not None and width.this.name == "1"
    if not known or node.args.get("unit") or node.args.get("zone") or node.args.get("origin"):
        return None
    unit = exp.var(width.text("unit").upper().removesuffix("S"))
    return exp.cast(exp.TimestampTrunc(this=node.expression, unit=unit), "DATE", copy=False)


def _membership(node: exp.Expr) -> exp.Expr | None:
    """`(a, b) IN ((1, 2), (3, 4))`."""
    if not isinstance(node.this, exp.Tuple) or _is_large(node.this) or len(node.expressions) > _MOST_PARTS:
        return None
    columns = node.this.expressions
    rows = [row.expressions for row in node.expressions if isinstance(row, exp.Tuple)]
    if not rows or len(rows) < len(node.expressions) or any(len(row) != len(columns) for row in rows):
        return None
    tests = [_equal(columns, row) for row in rows]
    return exp.Paren(this=reduce(lambda left, right: exp.Or(this=left, expression=right), tests))


def _equal(columns: Sequence[exp.Expr], values: Sequence[exp.Expr]) -> exp.Expr:
    pairs = zip(columns, values, strict=True)
    parts: list[exp.Expr] = [exp.EQ(this=column.copy(), expression=value.copy()) for column, value in pairs]
    return exp.Paren(this=reduce(lambda left, right: exp.And(this=left, expression=right), parts))


def _any_of(node: exp.Expr) -> exp.Expr | None:
    """`x = ANY (['a', 'b'])`."""
    listed = node.expression
    values = listed.this.unnest() if isinstance(listed, exp.Any) else None
    if not isinstance(values, exp.Array) or not values.expressions:
        return None
    return exp.In(this=node.this, expressions=list(values.expressions))


def _contained(node: exp.Expr) -> exp.Expr | None:
    """`LIST_CONTAINS(['a', 'b'], x)`."""
    if not isinstance(node.this, exp.Array) or not node.this.expressions:
        return None
    return exp.In(this=node.expression, expressions=list(node.this.expressions))


def _limit(node: exp.Expr) -> exp.Expr | None:
    """`FETCH FIRST 3 ROWS ONLY`."""
    options = node.args.get("limit_options")
    plain = options is None or not (options.args.get("percent") or options.args.get("with_ties"))
    return exp.Limit(expression=node.args.get("count")) if plain else None


def _like(node: exp.Expr) -> exp.Expr | None:
    """`x GLOB 'SH*'`."""
    pattern = node.expression
    if not isinstance(pattern, exp.Literal) or set(pattern.name) & set("%_[]\\"):
        return None
    text = pattern.name.replace("*", "%").replace("?", "_")
    return exp.Like(this=node.this, expression=exp.Literal.string(text))


def _common_table(node: exp.Expr) -> None:
    """`t(k, n) AS (SELECT a, b …)`: its columns get those names."""
    alias = node.args["alias"]
    names, query = list(alias.columns), node.this
    if not names or not isinstance(query, exp.Select):
        return
    values = query.args["from_"].this if query.is_star and query.args.get("from_") is not None else None
    if isinstance(values, exp.Values) and not values.alias_column_names and len(query.expressions) == 1:
        values.args["alias"].set("columns", names)
    elif query.is_star or len(names) != len(query.expressions):
        return
    else:
        query.set(
            "expressions",
            [exp.alias_(item.unalias(), name) for item, name in zip(query.expressions, names, strict=True)],
        )
    alias.set("columns", None)
    return


def _among(node: exp.Expr, value: exp.Expr) -> exp.Expr:
    """`value` where both arguments of a regression are there."""
    there = [exp.Not(this=exp.Is(this=side.copy(), expression=exp.Null())) for side in (node.this, node.expression)]
    return exp.Case(ifs=[exp.If(this=exp.And(this=there[0], expression=there[1]), true=value.copy())])


def _pairs(node: exp.Expr) -> exp.Expr:
    return exp.Count(this=_among(node, exp.Literal.number(1)), big_int=True)


def _mean_of(name: str) -> Spelled:
    return lambda node: exp.Avg(this=_among(node, node.args[name]))


def _squares_of(name: str) -> Spelled:
    """`REGR_SXX(y, x)`: the count of pairs times the variance."""
    return lambda node: exp.Paren(
        this=exp.Mul(this=_pairs(node), expression=exp.VariancePop(this=_among(node, node.args[name])))
    )


def _products(node: exp.Expr) -> exp.Expr:
    covariance = exp.CovarPop(this=node.this.copy(), expression=node.expression.copy())
    return exp.Paren(this=exp.Mul(this=_pairs(node), expression=covariance))


def _explained(node: exp.Expr) -> exp.Expr:
    """`REGR_R2(y, x)`."""
    correlation = exp.Corr(this=node.this.copy(), expression=node.expression.copy())
    return exp.Pow(this=correlation, expression=exp.Literal.number(2))


_FORMS: dict[type[exp.Expr], Spelled] = {
    exp.Anonymous: _named,
    exp.DayOfMonth: _as(exp.Day),
    exp.WeekOfYear: _as(exp.Week),
    exp.Date: lambda node: exp.cast(node.this, "DATE", copy=False) if node.this is not None else None,
    exp.Count: _count,
    exp.DateAdd: _moved,
    exp.DateFromParts: _day,
    exp.DateBin: _bucket,
    exp.ToDays: lambda node: exp.Interval(this=node.this, unit=exp.var("DAY")),
    exp.Fetch: _limit,
    exp.Glob: _like,
    exp.CTE: _common_table,
    exp.In: _membership,
    exp.EQ: _any_of,
    exp.ArrayContains: _contained,
    exp.RegrCount: _pairs,
    exp.RegrAvgx: _mean_of("expression"),
    exp.RegrAvgy: _mean_of("this"),
    exp.RegrSxx: _squares_of("expression"),
    exp.RegrSyy: _squares_of("this"),
    exp.RegrSxy: _products,
    exp.RegrR2: _explained,
}
