"""Bounds of values and slopes: no point within the bounds may be steeper, and what has no bound is said to have none."""

from __future__ import annotations

import math
from itertools import product
from statistics import NormalDist

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from sqlglot import exp, parse_one

from privacy.measures import RawMeasure
from privacy.slopes import Column, NoisyTable, columns_of, columns_of_block
from tests.privacy.corpus_planner import plan

ROWS = 400.0
COUNT = RawMeasure("m0", "n", "count", None, 0, 1, None, 1.0, 0)
OTHER = RawMeasure("m1", "o", "count", None, 0, 1, None, 1.0, 0)
TOTAL = RawMeasure("m2", "s", "sum", "x0", -50, 50, "m0", 1.0, 0)
ABOVE_0 = RawMeasure("m3", "p", "sum", "x1", 2, 9, None, 1.0, 0)
MEASURES = (COUNT, OTHER, TOTAL, ABOVE_0)
NOISE = {"m0": 2.0, "m1": 3.0, "m2": 70.0, "m3": 20.0}


def table(sql: str, *, rows: float | None, deviations: dict[str, float] | None = None) -> NoisyTable:
    inner = parse_one("SELECT cell, k0, m0 AS a0, m1 AS a1, m2 AS a2, m3 AS a3 FROM merged", dialect="duckdb")
    source = exp.From(this=exp.Subquery(this=inner, alias=exp.to_identifier("answered")))
    above = exp.Select(expressions=[exp.alias_(parse_one(sql, dialect="duckdb"), "c")], from_=source)
    return NoisyTable(above, MEASURES, NOISE if deviations is None else deviations, rows)


def error(sql: str, *, rows: float | None = ROWS, deviations: dict[str, float] | None = None) -> float:
    return columns_of_block(table(sql, rows=rows, deviations=deviations))[0].error


BOUNDED = [
    "a0",
    "3 * a0 - a1 / 2 + 7",
    "a2 / a0",
    "(a2 + 50 * a0) / 8",
    "a2 / a0 - a3 / a1",
    "a0 / a1",
    "a0 * 100.0 / (a0 + a1)",
    "a3 / a0 - (a2 / a0) * (a2 / a0)",
    "a2 / a3",
    "a0 / (a0 - 1)",
    "LN(a0)",
    "SQRT(a3)",
    "GREATEST(a2 / a0, 0)",
    "LEAST(GREATEST(a2 / a0, -50), 50)",
    "ABS(a0 - a1)",
    "-(a0 * a1)",
    "CASE WHEN a0 > 0 THEN a2 / a0 END",
    "CASE WHEN a2 < 10 THEN 10 ELSE a2 END",
    "CASE WHEN k0 = 'x' THEN a0 ELSE a1 END",
    "COALESCE(a2 / NULLIF(a0, 0), 0)",
]


@pytest.mark.parametrize("sql", BOUNDED)
def test_no_noise_of_a_standard_deviation_moves_it_further(sql: str) -> None:
    """One measure at a time, from many points within the bounds, by as much as its noise."""
    grid = product(np.linspace(-50, 50, 21), np.linspace(2, 9, 15), (-1, 1))
    points = np.array([[ROWS, ROWS, ROWS * first, ROWS * second, sign] for first, second, sign in grid])
    points, signs = points[:, :4], points[:, 4]
    for name, sigma in NOISE.items():
        most = error(sql, deviations={name: sigma})
        assert math.isfinite(most)
        moved = points.copy()
        moved[:, int(name[1])] += sigma * signs
        change = computed(sql, moved) - computed(sql, points)
        assert np.nanmax(np.abs(change)) <= most * (1 + 1e-9)


def computed(sql: str, points: NDArray[np.float64]) -> NDArray[np.float64]:
    with duckdb.connect() as connection:
        connection.register("t", pa.table({f"a{place}": column for place, column in enumerate(points.T)}))
        rows = connection.sql(f"SELECT CAST({sql} AS DOUBLE) AS v FROM (SELECT 'x' AS k0, * FROM t)").fetchall()
    return np.array([math.nan if value is None else value for (value,) in rows])


def test_of_sums_it_is_their_noise() -> None:
    assert error("3 * a0 - a1 / 2 + 7", rows=None) == pytest.approx(math.hypot(6, 1.5))
    assert error("a0 + a0", rows=None) == pytest.approx(4)
    assert error("a0 - a0", rows=None) == 0
    assert error("CAST(a2 AS DOUBLE) / 100", rows=None) == pytest.approx(0.7)
    assert error("k0", rows=None) == 0


def test_an_average_errs_as_explain_says_where_the_noise_is_small() -> None:
    small = {"m0": 1e-6, "m2": 7e-5}
    assert error("a2 / a0", deviations=small) == pytest.approx(math.hypot(7e-5, 50 * 1e-6) / ROWS, rel=1e-6)


def test_rounding_is_added() -> None:
    assert error("ROUND(a0 / 3)", rows=None) == pytest.approx(2 / 3 + 0.5)
    assert error("ROUND(a0 / 3, 2)", rows=None) == pytest.approx(2 / 3 + 0.005)
    assert error("10 * CAST(a0 / 3 AS BIGINT)", rows=None) == pytest.approx(10 * (2 / 3 + 0.5))


@pytest.mark.parametrize("sql", ["a2 / a0", "a0 * a1", "LN(a0)", "a0 / (a0 - 1)", "SQRT(a3)", "1 / a0"])
def test_what_hangs_on_the_rows_has_no_bound_without_them(sql: str) -> None:
    assert math.isinf(error(sql, rows=None, deviations={}))
    assert math.isfinite(error(sql))


@pytest.mark.parametrize(
    "sql",
    [
        "a0 / a2",  # a sum that may be 0
        "SQRT(a2)",
        "LN(a2)",
        "SQRT(a3 / a0 - a3 / a1)",
        "a0 // 2",
        "a0 % 2",
        "EXP(a0)",
        "CASE WHEN a0 > 5 THEN a0 ELSE 0 END",
        "CASE WHEN a0 < 5 THEN 4 ELSE a0 END",
        "IF(a0 > a1, a0, a1)",
        "CASE WHEN k0 = 'x' THEN a0 ELSE a1 // 2 END",
        "CAST(a0 AS DECIMAL(9, 2))",
        "SUM(a0) OVER ()",
        "CAST(a0 AS VARCHAR)",
        "ROUND(a0, -1)",
        "a9",
        "a0 / TRY_CAST(k0 AS DOUBLE)",
    ],
)
def test_what_has_no_bound_is_not_guessed(sql: str) -> None:
    assert math.isinf(error(sql))
    assert math.isinf(error(sql, deviations={}))


@pytest.mark.parametrize(("noise", "known"), [(39.9, True), (40.1, False)])
def test_a_divisor_stands_out_of_its_own_noise(noise: float, known: bool) -> None:
    assert math.isfinite(error("a2 / a0", deviations={"m0": noise})) == known


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("distribution", ["normal", "laplace"])
def test_that_fewer_rows_may_be_behind_it_is_covered(share: float, distribution: str) -> None:
    """The spread of (Σ + noise) / (n + noise), whose square is not finite: without the tail beyond n = 0."""
    ends = (np.arange(700) + 0.5) / 700  # each pair of quantiles once
    normal = np.array([NormalDist().inv_cdf(end) for end in ends])
    laplace = np.sign(ends - 0.5) * -np.log(1 - 2 * np.abs(ends - 0.5)) / math.sqrt(2)
    noise_n, noise_s = np.meshgrid(*[normal if distribution == "normal" else laplace] * 2)
    rows = ROWS + share * ROWS * noise_n
    spread = (50 * ROWS + 50 * share * ROWS * noise_s) / rows
    kept = rows > 0.3 * ROWS
    assert kept.mean() > 0.9999
    predicted = error("a2 / a0", deviations={"m0": share * ROWS, "m2": 50 * share * ROWS})
    assert predicted * 0.7 < spread[kept].std() <= predicted


def test_rows_of_one_block_may_be_the_same_and_blocks_are_independent() -> None:
    tables = {"b": table("a0", rows=None), "d": table("a1", rows=None)}
    query = "SELECT x.c + y.c AS twice, x.c + z.c AS both, x.c - x.c AS none, w.v FROM b AS x, b AS y, d AS z, (VALUES (1)) AS w(v)"
    parsed = parse_one(query, dialect="duckdb")
    found = columns_of(parsed, tables)
    assert [column.error for column in found] == pytest.approx([4, math.hypot(2, 3), 0, 0])
    assert found[3] == Column(0.0, frozenset())


def test_of_a_union_the_worse_side_counts() -> None:
    tables = {"b": table("a0", rows=None), "d": table("a1", rows=None)}
    both = parse_one("SELECT c FROM b UNION ALL SELECT 5 * c FROM d", dialect="duckdb")
    assert columns_of(both, tables) == [Column(15.0, frozenset({"count"}))]
    inside = parse_one("SELECT t.c FROM (SELECT c FROM b UNION ALL SELECT 5 * c FROM d) AS t", dialect="duckdb")
    assert 15 <= columns_of(inside, tables)[0].error < 16


def test_scalar_queries_and_what_they_see_from_outside() -> None:
    tables = {"b": table("a0", rows=ROWS), "d": table("a1", rows=ROWS)}
    beside = parse_one("SELECT (SELECT c FROM b) * 1.0 / (SELECT c FROM d) AS r", dialect="duckdb")
    at_rows = columns_of(beside, tables)[0].error
    assert math.hypot(2, 3) / ROWS < at_rows < 1.05 * math.hypot(2, 3) / ROWS
    several = parse_one("SELECT (SELECT SUM(c) FROM b) AS r, (SELECT c, c FROM b) AS q", dialect="duckdb")
    assert [math.isinf(column.error) for column in columns_of(several, tables)] == [True, True]


def test_quantiles_have_no_bound() -> None:
    found = plan("SELECT MEDIAN(cost) AS m, COUNT(*) AS n FROM visits", epsilon=1e3, max_standard_error=50.0)
    assert "It says nothing of `m`" in found.notes[0]
