"""Expressions built to fail on one person's row: where the stated bounds and the computed values part, a division by
zero, an overflow or a failed cast would tell whether that person is there.

Every expression runs through the planner over rows at the edges of the declared bounds: no error, and every value that
is summed lies within the bounds from which its sensitivity follows.
"""

from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.binding import Names, bind
from privacy.bounding import bounded_sql
from privacy.catalog import Catalog, parse_catalog
from privacy.errors import QueryRefused
from privacy.fragment import Fragment
from privacy.parsing import parse
from privacy.planner import Planner
from privacy.request import Request
from privacy.rows.relation import Context, read_relation
from privacy.rows.subquery import read_rows

CATALOG = """
[region]
name = "Edge"
version = "1"
description = { en = "One province", zh = "一省" }
provinces = ["east"]

[tables.people]
access = "private"
description = { en = "One row a person", zh = "一人一行" }
unit = "person"
unit_column = "id"
span = 1
rows_per_unit = 1

[tables.people.columns]
id = { type = "BIGINT", description = { en = "Person", zh = "人" } }
age = { type = "INTEGER", bounds = [0, 100], description = { en = "Age", zh = "年龄" } }
debt = { type = "BIGINT", bounds = [-9007199254740992, 9007199254740992], description = { en = "Debt", zh = "债" } }
cost = { type = "DOUBLE", bounds = [0, 1000], grid = 0.01, description = { en = "Cost", zh = "费" } }
gain = { type = "DOUBLE", bounds = [-2.5, 2.5], grid = 1, description = { en = "Gain", zh = "得" } }
speck = { type = "DOUBLE", bounds = [0, 0.5], grid = 1, description = { en = "Speck", zh = "微" } }
free = { type = "BIGINT", description = { en = "Unbounded", zh = "无界" } }
wild = { type = "DOUBLE", description = { en = "Unbounded", zh = "无界" } }
sure = { type = "BOOLEAN", description = { en = "Flag", zh = "旗" } }
day = { type = "DATE", range = [2023-01-01, 2024-12-31], description = { en = "Day", zh = "日" } }
"""
# What the node's views can show of a column: its bounds, NULL for what was no value, and what lies between.
EDGES = {
    "age": "BIGINT: 0, 1, 30, 50, 99, 100, NULL",
    "debt": "BIGINT: -9007199254740992, -1, 0, 9007199254740991, 9007199254740992, NULL",
    "cost": "DOUBLE: 0, 0.005, 0.285, 2.5, 997.5, 999.995, 1000, NULL, -0.0",
    "gain": "DOUBLE: -2.5, -1.5, -0.5, 0, 0.5, 1.5, 2.5, NULL",
    "speck": "DOUBLE: 0, 0.49999999999999994, 0.5, NULL",
    "free": "BIGINT: -9223372036854775808, -1, 0, 9223372036854775807, NULL",
    "wild": "DOUBLE: -1.7976931348623157e308, -5e-324, 0, 1e-300, 1.7976931348623157e308, NULL",
    "sure": "BOOLEAN: TRUE, FALSE, NULL",
    "day": "DATE: '2023-01-01', '2024-02-29', '2024-12-31', NULL",
}
ROWS = 60  # each value of a column beside many of the others
CONSTANTS = (
    "0",
    "1",
    "2",
    "3",
    "7",
    "-1",
    "0.5",
    "997.5",
    "1e-300",
    "1e300",
    "2147483647",
    "2147483648",
    "10000000000000000",
    "46116860184273879",
    "4611686018427387903",
    "4611686018427387904",
    "9223372036854775807",
    "9223372036854775808",
)


def _column(name: str) -> str:
    kind, _, values = EDGES[name].partition(": ")
    listed = values.split(", ")
    # Strides that are coprime with the lengths mix the columns.
    stride = list(EDGES).index(name) * 2 + 1
    chosen = ", ".join(f"CAST({value} AS {kind})" for value in listed)
    return f"[{chosen}][1 + (i * {stride} + i // {len(listed)}) % {len(listed)}] AS {name}"


@pytest.fixture(scope="module")
def people() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        columns = ", ".join(_column(name) for name in EDGES)
        connection.execute(f"CREATE TABLE everyone AS SELECT i AS id, {columns} FROM range({ROWS}) t(i)")
        connection.execute("CREATE TABLE people AS SELECT * FROM everyone")
        yield connection


STANDARD: Catalog = parse_catalog(CATALOG, source="edge.toml")
PLANNER = Planner(STANDARD)


def fragment(sql: str) -> Fragment:
    request = Request.new(sql, epsilon=1.0, nonce="0" * 32, expires_unix_s=2**40, delta=0.0)
    return PLANNER.plan(request).blocks[0].fragments["east"]


def assert_sound(people: duckdb.DuckDBPyConnection, sql: str) -> None:
    """No row makes `sql` fail, and no row adds more to a measure than its sensitivity; refusals are fine."""
    try:
        planned = fragment(sql)
    except QueryRefused:
        return
    for measure in planned.measures:
        least, most = people.execute(
            f"SELECT coalesce(min({measure.input or 1}), 0), coalesce(max({measure.input or 1}), 0) FROM ({planned.relation}) AS r"
        ).fetchall()[0]
        if measure.tree is not None:
            assert 0 <= least <= most < measure.tree.leaves, (sql, measure)
        else:
            assert max(-least, most) <= measure.sensitivity, (sql, measure)
    people.execute(bounded_sql(planned, secret="ab")).fetchall()


def _expressions() -> st.SearchStrategy[str]:
    leaves = st.sampled_from([*(name for name in EDGES if name not in ("sure", "day")), *CONSTANTS])
    return st.recursive(leaves, _combined, max_leaves=6)


_FUNCTIONS = ("ABS", "ROUND", "FLOOR", "CEIL", "TRUNC", "LN", "LOG", "LOG2", "SQRT", "EXP", "SIGN", "-")


def _combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "/", "//", "%"])
    return st.one_of(
        st.tuples(inner, operators, inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(st.sampled_from(_FUNCTIONS), inner).map(lambda t: f"({t[0]}({t[1]}))"),
        st.tuples(inner, st.sampled_from(["2", "3", "-1", "0.5", "age"])).map(lambda t: f"POWER({t[0]}, {t[1]})"),
        st.sampled_from(
            ["day - DATE '2023-06-01'", "YEAR(day - INTERVAL 3 MONTH)", "DATE_DIFF('day', day, day + age)"]
        ),
        st.tuples(inner, st.integers(-9, 9)).map(lambda t: f"ROUND({t[0]}, {t[1]})"),
        st.tuples(st.sampled_from(["LEAST", "GREATEST", "COALESCE", "NULLIF"]), inner, inner).map(
            lambda t: f"{t[0]}({t[1]}, {t[2]})"
        ),
        st.tuples(inner, inner, inner).map(lambda t: f"CASE WHEN {t[0]} > {t[1]} THEN {t[1]} ELSE {t[2]} END"),
        st.tuples(st.sampled_from(["sure", "day > DATE '2024-02-29'"]), inner).map(
            lambda t: f"CASE WHEN {t[0]} THEN {t[1]} END"
        ),
        st.tuples(inner, st.sampled_from([("0", "2147483647"), ("-2.5", "2.5"), ("-1", "1000000000000")])).map(
            lambda t: f"CLAMP({t[0]}, {t[1][0]}, {t[1][1]})"
        ),
        inner.map(lambda x: f"CAST({x} AS DOUBLE)"),
        inner.map(lambda x: f"CAST({x} AS BIGINT)"),
    )


AGGREGATES = ("SUM", "AVG", "MEDIAN", "VAR_POP")


@given(_expressions(), st.sampled_from(AGGREGATES))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_no_row_fails_or_passes_the_bounds(people: duckdb.DuckDBPyConnection, expression: str, aggregate: str) -> None:
    assert_sound(people, f"SELECT {aggregate}({expression}) FROM people")


NESTED = (
    "SELECT id, SUM({}) AS x FROM people GROUP BY id",
    "SELECT id, AVG({}) AS x FROM people GROUP BY id",
    "SELECT id, MEDIAN({}) AS x FROM people GROUP BY id",
    "SELECT id, MAX({}) FILTER (WHERE sure) AS x FROM people GROUP BY id, age",
    "SELECT id, LAG({}) OVER (PARTITION BY id ORDER BY day) AS x FROM people",
    "SELECT id, SUM({}) OVER (PARTITION BY id ORDER BY age) AS x FROM people",
    "SELECT DISTINCT id, {} AS x FROM people",
    "SELECT id, {} AS x FROM people UNION ALL SELECT id, 2147483647 FROM people",
    "SELECT a.id, b.x FROM people a LEFT JOIN (SELECT id, {} AS x FROM people) b ON a.id = b.id AND a.age > 30",
)


@given(_expressions(), _expressions(), st.sampled_from(NESTED), st.sampled_from(AGGREGATES))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_no_row_fails_or_passes_the_bounds_in_a_sub_query(
    people: duckdb.DuckDBPyConnection, inner: str, outer: str, form: str, aggregate: str
) -> None:
    nested = form.format(inner)
    assert_sound(people, f"SELECT {aggregate}(x) FROM ({nested}) s")
    assert_sound(
        people,
        f"SELECT {aggregate}({outer.replace('age', 'x')}) FROM (SELECT p.*, x FROM ({nested}) s JOIN people p USING (id)) t",
    )


@given(_expressions())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_no_row_fails_where_a_divisor_meets_its_own_bound(people: duckdb.DuckDBPyConnection, expression: str) -> None:
    """1 / (x − b) for b at and just beyond the bounds that were inferred for x: the place where they are a hair wrong."""
    try:
        facts = _facts(expression)
    except QueryRefused:
        return
    if not facts:
        return
    for bound in facts:
        for divisor in (f"({expression}) - {bound}", f"({expression}) - {bound} - 1", f"({expression}) - {bound} + 1"):
            assert_sound(people, f"SELECT SUM(1 / ({divisor})) FROM people")


def _facts(expression: str) -> tuple[str, ...]:
    """The inferred bounds of `expression` as literals; none where there are none."""
    bound = bind(parse(f"SELECT SUM({expression}) FROM people").query, Names(STANDARD))
    facts = (
        read_relation(bound, Context(STANDARD, None, None, read_rows))
        .reader.value(bound.expressions[0].unalias().this)
        .facts
    )
    return tuple(dict.fromkeys((repr(facts.low), repr(facts.high)))) if facts.is_number and facts.bounded else ()


KNOWN = [
    # Each of these once failed, or passed its bounds, on one row and on no other.
    "ABS(CASE WHEN age > 50 THEN 2147483647 ELSE 1 END) * 2",
    "ABS(CASE WHEN age > 50 THEN -2147483648 ELSE 1 END)",
    "CLAMP(CASE WHEN age > 50 THEN 2147483647 ELSE 1 END, 0, 2147483647) * 2",
    "1 / (ROUND(cost - 997.5) - 3)",
    "1 / ((age - 101) * 10000000000000000 // 3 + 3333333333333333)",
    "gain",
    "speck",
    "ROUND(gain)",
    "CAST(4611686018427387903 - age AS DOUBLE)",
    "cost * 1e-310",
    "CASE WHEN age > 50 THEN 4611686018427387904 ELSE -4611686018427387904 END",
    "CASE WHEN age > 50 THEN 1e308 ELSE -1e308 END",
    "LEAST(age, 1e300)",
    "1 / (LEAST(age, speck) - 1)",
]


@pytest.mark.parametrize("expression", KNOWN)
@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_what_once_failed(people: duckdb.DuckDBPyConnection, expression: str, aggregate: str) -> None:
    assert_sound(people, f"SELECT {aggregate}({expression}) FROM people")
