"""Grouping sets above the line: exact sums of the merged cells, in order, and with the standard errors of sums."""

import math
from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.above import computed, rehearse
from coordinator.merge import merge
from coordinator.rest import RestEngine
from coordinator.roll_up import by_grouping_sets
from privacy.error_bars import cell_deviations
from privacy.fragment import MERGED, OutputColumn, Rest
from privacy.noise import laplace_variance, noisy
from tests.coordinator.fakes import fragment, no_keys, plan_of, release
from tests.privacy.corpus_planner import plan

SETS = ((0, 1), (0,), (1,), ())
CELLS = [*product(["a", "b", "c", None], ["x", "y", None])]
Row = tuple[object, ...]


def cells_of(keys: list[tuple[str | None, str | None]]) -> pa.Table:
    return pa.table({f"k{n}": pa.array([key[n] for key in keys], pa.string()) for n in range(2)})


def rolled(values: dict[tuple[str | None, str | None], int], sets: tuple[tuple[int, ...], ...]) -> pa.Table:
    answered = release(cells_of(list(values)), list(values.values()))
    fragments = {"anhui": fragment("anhui", answered.select(["k0", "k1"]))}
    return by_grouping_sets(merge(fragments, {"anhui": answered}), sets, 2).table


def rows(table: pa.Table) -> list[Row]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


@given(
    st.dictionaries(st.sampled_from(CELLS), st.integers(-(2**63), 2**63 - 1), min_size=1),
    st.lists(st.sampled_from(SETS), min_size=1, max_size=6),
)
def test_groups_are_exact_sums_and_saturate(
    values: dict[tuple[str | None, str | None], int], sets: list[tuple[int, ...]]
) -> None:
    table = rolled(values, tuple(sets))
    assert table.column_names == ["cell", "k0", "k1", "r0", "r1", "m0"]
    wanted: dict[Row, int] = {}
    for number, kept in enumerate(sets):
        for key, value in values.items():
            shown = tuple(key[n] if n in kept else None for n in range(2))
            group = (*shown, *(int(n not in kept) for n in range(2)), number)
            wanted[group] = wanted.get(group, 0) + value
    bounded = [(*group[:4], max(-(2**63), min(2**63 - 1, total))) for group, total in wanted.items()]
    found = [row[1:] for row in rows(table)]
    assert sorted(found, key=str) == sorted(bounded, key=str)
    assert table["cell"].to_pylist() == list(range(len(found)))


def test_what_is_rolled_up_comes_after_its_parts() -> None:
    values = dict.fromkeys([("b", "x"), ("a", "y"), ("a", None), (None, "x")], 1)
    assert [row[1:] for row in rows(rolled(values, ((0, 1), (0,), ())))] == [
        ("a", "y", 0, 0, 1),
        ("a", None, 0, 0, 1),
        ("a", None, 0, 1, 2),
        ("b", "x", 0, 0, 1),
        ("b", None, 0, 1, 1),
        (None, "x", 0, 0, 1),
        (None, None, 0, 1, 1),
        (None, None, 1, 1, 4),
    ]


def test_types_of_keys_survive() -> None:
    cells = pa.table({"k0": pa.array([2, 1], pa.int32()), "k1": pa.array([True, False])})
    fragments = {"anhui": fragment("anhui", cells)}
    table = by_grouping_sets(merge(fragments, {"anhui": release(cells, [1, 2])}), ((0, 1), ()), 2).table
    assert table.schema.types == [pa.int64(), pa.int32(), pa.bool_(), pa.int64(), pa.int64(), pa.int64()]
    assert table["k1"].to_pylist() == [False, True, None]


def test_sets_without_keys() -> None:
    merged = merge({"anhui": fragment("anhui", no_keys())}, {"anhui": release(no_keys(), [7])})
    assert by_grouping_sets(merged, ((), ()), 0).table.to_pydict() == {"cell": [0, 1], "m0": [7, 7]}


def test_without_sets_nothing_changes() -> None:
    merged = merge({"anhui": fragment("anhui", no_keys())}, {"anhui": release(no_keys(), [7])})
    assert by_grouping_sets(merged, (), 0) is merged


def answer(
    provinces: dict[str, float], cells: pa.Table, *, values: int, sets: tuple[tuple[int, ...], ...]
) -> list[dict[str, float | None]]:
    """Rows of `r0`, `r1`, `n` = m0, `mean` = m1 / m0 and their standard errors; noise scales by province."""
    question = plan_of(
        {name: fragment(name, cells, measures=2, scale=scale) for name, scale in provinces.items()},
        Rest(
            "SELECT r0, r1, m0 AS n, m1 / m0 AS mean, cell FROM merged ORDER BY cell",
            "SELECT m1 / m0 FROM simulated",
            (
                OutputColumn("r0", False),
                OutputColumn("r1", False),
                OutputColumn("n", True, (("m0", 1.0),)),
                OutputColumn("mean", True),
            ),
        ),
        sets=sets,
    )
    numbers = [values] * cells.num_rows
    engine = RestEngine()
    rehearse(engine, question, timeout_s=10)
    releases = {name: {MERGED: release(cells, numbers, numbers)} for name in provinces}
    result = computed(engine, question, releases, seed=3, timeout_s=30)
    errors = result.bars.standard_errors.rename_columns(["r0", "r1", "se_n", "se_mean"]).select(["se_n", "se_mean"])
    found: list[dict[str, float | None]] = [
        {**row, **error} for row, error in zip(result.rows.to_pylist(), errors.to_pylist(), strict=True)
    ]
    return found


@pytest.mark.parametrize("size", [3, 60])
def test_standard_errors_are_those_of_sums(size: int) -> None:
    """Analytically √(Σ variances of the cells and nodes); of a mean near 1 to first order √2 of that over the count."""
    cells = cells_of([(f"{n}", f"{m}") for n in range(size) for m in range(size)])
    found = answer({"anhui": 3.0, "jiangsu": 8.0}, cells, values=5_000, sets=SETS)
    of_cell = laplace_variance(3.0) + laplace_variance(8.0)
    for row in found:
        parts = size ** ((row["r0"] or 0) + (row["r1"] or 0))
        assert row["n"] == 10_000 * parts
        assert row["se_n"] == pytest.approx(math.sqrt(of_cell * parts), rel=1e-9)
    ratios = [
        (row["se_mean"] or 0.0) * (row["n"] or 0.0) / (math.sqrt(2) * (row["se_n"] or 0.0)) for row in found[:1000]
    ]
    assert np.mean(ratios) == pytest.approx(1.0, rel=0.05)


def test_a_cell_that_one_node_has_carries_that_nodes_noise_up() -> None:
    one, other = cells_of([("a", "x"), ("a", "y")]), cells_of([("a", "y")])
    fragments = {"anhui": fragment("anhui", one, scale=3.0), "jiangsu": fragment("jiangsu", other, scale=8.0)}
    merged = merge(fragments, {"anhui": release(one, [1, 2]), "jiangsu": release(other, [30])})
    table = by_grouping_sets(merged, ((0, 1), (0,)), 2).table
    assert [row[1:] for row in rows(table)] == [("a", "x", 0, 0, 1), ("a", "y", 0, 0, 32), ("a", None, 0, 1, 33)]


LARGE = "SELECT home_province, birth_year, COUNT(*) FROM residents GROUP BY ROLLUP (home_province, birth_year)"
REPEATS = 400


def squared_errors(sql: str, sets: tuple[tuple[int, ...], ...]) -> tuple[dict[int, float], dict[int, float]]:
    """By how many keys are rolled up, the mean squared error of an empty region's rows, and the one that is stated."""
    part = plan(sql).blocks[0].fragments["anhui"]
    nothing = part.cells.slice(0, 0).append_column("m0", pa.array([], pa.int64()))
    seen: dict[int, list[float]] = {}
    for _ in range(REPEATS):
        merged = by_grouping_sets(merge({"anhui": part}, {"anhui": noisy(part, nothing)}), sets, 2)
        for key, other, value in zip(*(merged.table[name].to_pylist() for name in ("r0", "r1", "m0")), strict=True):
            seen.setdefault(key + other, []).append(value**2)
    deviations = cell_deviations("m0", merged.contributions, merged.table.num_rows, roll_up=merged.roll_up)
    rolled_up = np.array(merged.table["r0"].to_pylist()) + np.array(merged.table["r1"].to_pylist())
    stated = {level: float((deviations[rolled_up == level] ** 2).mean()) for level in seen}
    return {level: float(np.mean(values)) for level, values in seen.items()}, stated


def test_levels_that_are_released_err_less_and_as_stated() -> None:
    sets = ((0, 1), (0,), ())
    levels, stated = squared_errors(LARGE, sets)
    alone, sums = squared_errors(LARGE.replace("ROLLUP ", ""), sets)
    for level in levels:
        tolerance = (0.05, 0.3, 0.6)[level]  # more than five standard deviations
        assert levels[level] == pytest.approx(stated[level], rel=tolerance)
        assert alone[level] == pytest.approx(sums[level], rel=tolerance)
    # Analytically, which is without chance: a total errs far less, one of 360 groups more, all rows together less.
    assert stated[1] < 0.5 * sums[1]
    assert stated[2] < 0.5 * sums[2]
    assert sums[0] < stated[0] < 1.8 * sums[0]
    rows = {0: 360, 1: 4, 2: 1}
    assert sum(rows[n] * stated[n] for n in rows) < 0.9 * sum(rows[n] * sums[n] for n in rows)
