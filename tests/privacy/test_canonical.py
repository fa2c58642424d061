"""What is the same has one spelling, and what has one spelling is the same."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp, parse_one

from privacy.canonical import canonical
from tests.privacy.corpus_planner import plan

ONE = "SELECT t.a AS x FROM t AS t WHERE "
SAME = [
    ("t.a = 1 AND t.b > 2", "t.b > 2 AND t.a = 1"),
    ("t.a = 1 AND t.b > 2", "((1 = t.a) AND (2 < t.b))"),
    ("t.a = 1 AND t.b > 2", "t.a = 1 AND (t.b > 2 AND t.a = 1)"),
    ("t.a = 1 OR t.b = 2 OR t.c = 3", "t.c = 3 OR (t.b = 2 OR t.a = 1)"),
    ("(t.a = 1 OR t.b = 2) AND t.c = 3", "t.c = 3 AND (t.b = 2 OR 1 = t.a)"),
    ("t.a <= t.b", "t.b >= t.a"),
    ("t.a <> t.b", "t.b <> t.a"),
    ("NOT (t.a = 1 AND t.b = 2)", "NOT (t.b = 2 AND t.a = 1)"),
    (
        "CASE WHEN t.a = 1 AND t.b = 2 THEN TRUE ELSE FALSE END",
        "CASE WHEN 2 = t.b AND t.a = 1 THEN TRUE ELSE FALSE END",
    ),
]
OTHER = [
    ("t.a = 1 AND t.b = 2", "t.a = 1 OR t.b = 2"),
    ("t.a < t.b", "t.b < t.a"),
    ("t.a <= 1", "t.a >= 1"),
    ("(t.a = 1 OR t.b = 2) AND t.c = 3", "t.a = 1 OR (t.b = 2 AND t.c = 3)"),
    ("t.a = 1", "NOT t.a = 1"),
]


def text(sql: str) -> str:
    query = parse_one(sql, dialect="duckdb")
    assert isinstance(query, exp.Select)
    return canonical(query).sql(dialect="duckdb")


@pytest.mark.parametrize(("one", "other"), SAME)
def test_one_spelling(one: str, other: str) -> None:
    assert text(ONE + one) == text(ONE + other)


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_what_differs_stays_different(one: str, other: str) -> None:
    assert text(ONE + one) != text(ONE + other)


def test_tables_have_their_own_names_even_where_aliases_swap_them() -> None:
    plain = (
        "SELECT hospitals.level, COUNT(*) FROM visits JOIN hospitals ON visits.hospital = hospitals.hospital GROUP BY 1"
    )
    swapped = "SELECT visits.level, COUNT(*) FROM visits AS hospitals JOIN hospitals AS visits ON visits.hospital = hospitals.hospital GROUP BY 1"
    relations = [plan(sql).blocks[0].fragments["anhui"].relation for sql in (plain, swapped)]
    assert relations[0] == relations[1]
    twice = (
        "SELECT COUNT(*) FROM visits v JOIN hospitals p ON v.hospital = p.hospital JOIN hospitals q ON p.city = q.city"
    )
    assert (
        'JOIN hospitals AS "hospitals#2" ON "hospitals#2".city = hospitals.city'
        in plan(twice).blocks[0].fragments["anhui"].relation
    )


ATOMS = st.sampled_from(
    [
        "t.a = 1",
        "1 < t.b",
        "t.c >= t.a",
        "t.b IS NULL",
        "2 <> t.c",
        "t.a IN (0, 2)",
        "t.b BETWEEN 0 AND 1",
        "t.a <= t.b",
    ]
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda parts: f"({' '.join(parts)})"),
        inner.map(lambda part: f"NOT ({part})"),
    ),
    max_leaves=8,
)
VALUES = [None, 0, 1, 2]
ROWS = ", ".join(f"({a}, {b}, {c})".replace("None", "NULL") for a in VALUES for b in VALUES for c in VALUES)


@pytest.fixture(scope="module")
def rows() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:")
    connection.execute(f"CREATE TABLE t AS FROM (VALUES {ROWS}) AS v(a, b, c)")
    return connection


@settings(max_examples=150, deadline=None)
@given(condition=CONDITIONS)
def test_the_rows_are_the_same(rows: duckdb.DuckDBPyConnection, condition: str) -> None:
    written = f"SELECT t.a AS a, t.b AS b, t.c AS c FROM t AS t WHERE {condition}"
    once = text(written)
    assert sorted(map(str, rows.execute(written).fetchall())) == sorted(map(str, rows.execute(once).fetchall()))
    assert text(once) == once
