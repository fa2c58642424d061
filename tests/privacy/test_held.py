"""Values that WHERE leaves of a column are public: they are listed as keys, and bound what is summed."""

import datetime as dt

import duckdb
import pytest

from privacy.bounding import bounded_sql
from privacy.catalog import parse_catalog
from privacy.errors import BoundsRefused
from privacy.fragment import Fragment
from privacy.planner import Planner
from privacy.request import Request

CATALOG = """
[region]
name = "Held"
version = "1"
description = { en = "One province", zh = "一省" }
provinces = ["east"]

[tables.notes]
access = "private"
description = { en = "One row a person", zh = "一人一行" }
unit = "person"
unit_column = "id"
span = 1
rows_per_unit = 1

[tables.notes.columns]
id = { type = "BIGINT", description = { en = "Person", zh = "人" } }
note = { type = "VARCHAR", nullable = true, description = { en = "Free text", zh = "文" } }
amount = { type = "BIGINT", nullable = true, description = { en = "Unbounded", zh = "无界" } }
wild = { type = "DOUBLE", nullable = true, description = { en = "Unbounded", zh = "无界" } }
day = { type = "DATE", nullable = true, description = { en = "Any day", zh = "日" } }
"""
PLANNER = Planner(parse_catalog(CATALOG, source="held.toml"))
ROWS = """
    CREATE TABLE notes AS SELECT * FROM (VALUES (1, 'a', 1::BIGINT, 0.5::DOUBLE, DATE '2024-01-01'),
      (2, 'b', 5, 'nan', DATE '2024-01-02'), (3, 'c', 9223372036854775807, 'inf', DATE '5000-01-01'),
      (4, NULL, NULL, NULL, NULL), (5, 'a', -9223372036854775808, -1e308, DATE '0044-03-15 (BC)')) AS t(id, note, amount, wild, day)
"""


def fragment(sql: str) -> Fragment:
    request = Request.new(sql, epsilon=1.0, nonce="0" * 32, expires_unix_s=2**40, delta=0.0)
    return PLANNER.plan(request).blocks[0].fragments["east"]


@pytest.mark.parametrize(
    ("key", "where", "listed"),
    [
        ("note", "note = 'a'", ["a"]),
        ("note", "note IN ('b', 'a', 'b')", ["a", "b"]),
        ("note", "'z' = note OR note = 'y'", ["y", "z"]),
        ("note", "(note = 'a' AND amount > 3) OR note IN ('b')", ["a", "b"]),
        ("note", "note IN ('a', 'b', 'c') AND note IN ('b', 'd')", ["b"]),
        ("note", "note IN ('a', NULL)", ["a"]),
        ("UPPER(note)", "note IN ('a', 'b')", ["A", "B"]),
        ("amount", "amount BETWEEN 3 AND 5", [3, 4, 5]),
        ("amount", "amount > 3 AND 5.5 >= amount", [4, 5]),
        ("amount", "amount IN (7, -7)", [-7, 7]),
        ("amount * 2", "amount = 4", [8]),
        (
            "day",
            "day BETWEEN '2024-02-28' AND DATE '2024-03-01'",
            [dt.date(2024, 2, 28), dt.date(2024, 2, 29), dt.date(2024, 3, 1)],
        ),
        ("t.note", "t.note = 'a'", ["a"]),
    ],
)
def test_keys_that_where_lists_are_public(key: str, where: str, listed: list[object]) -> None:
    planned = fragment(f"SELECT {key} AS k, COUNT(*) FROM notes t WHERE {where} GROUP BY k")
    assert planned.cells["k0"].to_pylist() == listed
    assert planned.threshold is None


@pytest.mark.parametrize(
    "where",
    [
        "note <> 'a'",
        "note = 'a' OR amount = 1",
        "NOT note = 'a'",
        "note LIKE 'a%'",
        "note > 'a'",
        "note = UPPER(note)",
        "note = 'a' IS NULL",
    ],
)
def test_others_are_not(where: str) -> None:
    request = Request.new(
        f"SELECT note, COUNT(*) FROM notes WHERE {where} GROUP BY note",
        epsilon=1.0,
        nonce="0" * 32,
        expires_unix_s=2**40,
    )
    assert PLANNER.plan(request).blocks[0].fragments["east"].threshold is not None


@pytest.mark.parametrize(
    ("value", "where", "largest"),
    [
        ("amount", "amount BETWEEN 0 AND 50", 50),
        ("amount", "amount > -8 AND amount < 3", 8),
        ("amount + 1", "amount IN (4, 9)", 10),
        ("wild", "wild BETWEEN 0 AND 2", 2),
        ("wild", "wild >= -3 AND 2.5 > wild", 3),
    ],
)
def test_values_that_where_bounds_are_summed(value: str, where: str, largest: float) -> None:
    planned = fragment(f"SELECT SUM({value}) AS s FROM notes WHERE {where}")
    (measure,) = planned.measures
    assert measure.sensitivity * measure.grid == pytest.approx(largest)
    with duckdb.connect() as rows:
        rows.execute(ROWS)
        exact = rows.sql(bounded_sql(planned, secret="00")).to_arrow_table()
        found = sum(float(value or 0) for value in exact[measure.name].to_pylist()) * measure.grid
        plain = rows.sql(f"SELECT COALESCE(SUM({value}), 0) FROM notes WHERE {where}").fetchall()[0][0]
    assert found == pytest.approx(float(plain), abs=measure.grid)


@pytest.mark.parametrize("where", ["amount > 3", "amount > 3 OR amount < 5", "NOT amount BETWEEN 3 AND 5", "TRUE"])
def test_half_bounds_are_none(where: str) -> None:
    with pytest.raises(BoundsRefused):
        fragment(f"SELECT SUM(amount) FROM notes WHERE {where}")


def test_where_itself_looks_at_all_rows() -> None:
    """Its own expressions are total without what it leaves: `amount * amount` overflows on rows that it leaves out."""
    planned = fragment(
        "SELECT SUM(amount) AS s FROM notes WHERE amount BETWEEN 0 AND 5 AND amount * amount * amount < 200"
    )
    with duckdb.connect() as rows:
        rows.execute(ROWS)
        assert rows.sql(bounded_sql(planned, secret="00")).fetchall()
