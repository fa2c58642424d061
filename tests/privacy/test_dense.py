"""Exact results as vectors: each group on its own cell, whatever its keys are, and nothing from outside of the cells."""

from __future__ import annotations

import dataclasses
from datetime import date
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.dense import SATURATION, dense, numbers
from privacy.fragment import Fragment, Key, Level
from privacy.trees import counts_of_levels
from tests.privacy.corpus_planner import plan

COUNT = plan("SELECT COUNT(*) FROM visits", delta=0.0).blocks[0].fragments["anhui"]
MEDIAN = plan("SELECT MEDIAN(age) FROM visits", delta=0.0).blocks[0].fragments["anhui"]


def over(fragment: Fragment, cells: pa.Table) -> Fragment:
    """`fragment` with other cells."""
    keys = tuple(Key(name, "", name) for name in cells.column_names)
    return dataclasses.replace(fragment, keys=keys, cells=cells, cell_count=cells.num_rows)


def _counts(cells: dict[str, object], groups: dict[str, object], counts: list[int | None]) -> list[int]:
    """The counts of the cells, in both ways to find them."""
    exact = pa.table(groups | {"m0": pa.array(counts, pa.decimal128(38, 0))})
    found: list[list[int]] = []
    for few in (0, 10**6):
        with patch("privacy.dense._FEW", few):
            found.append(dense(over(COUNT, pa.table(cells)), exact)["m0"].tolist())
    assert found[0] == found[1]
    return found[0]


_rows = st.lists(st.tuples(st.sampled_from([None, "a", "b", "c"]), st.integers(0, 5), st.booleans()), unique=True)


@given(_rows.filter(bool), _rows)
def test_every_group_is_on_its_cell_and_others_are_dropped(
    cells: list[tuple[object, ...]], groups: list[tuple[object, ...]]
) -> None:
    def columns(rows: list[tuple[object, ...]]) -> dict[str, object]:
        return {f"k{number}": pa.array([row[number] for row in rows]) for number in range(3)}

    place = dict(zip(groups, range(1, len(groups) + 1), strict=True))
    found = _counts(columns(cells), columns(groups), list(range(1, len(groups) + 1)))
    assert found == [place.get(cell, 0) for cell in cells]


@pytest.mark.parametrize(
    ("cells", "groups"),
    [
        (pa.array([0.0, 1.5]), pa.array([-0.0, 1.5])),  # DISTINCT and GROUP BY may keep either zero
        (pa.array([1, 2], pa.int32()), pa.array([1, 2])),
        (pa.array([1, 2], pa.int32()), pa.array([1, 2**40 + 2])),  # which ends in the bits of 2
        (pa.array([None, date(2024, 1, 1)]), pa.array([None, date(2024, 1, 1)])),
        (pa.array([None, "a"]), pa.nulls(1)),
        (pa.array(["a", "b"]), pa.nulls(0)),  # what the engine says of no rows
    ],
)
def test_equal_keys_meet_whatever_column_they_come_in(cells: pa.Array, groups: pa.Array) -> None:
    own = groups.to_pylist()
    expected = [own.index(cell) + 1 if cell in own else 0 for cell in cells.to_pylist()]
    assert _counts({"k0": cells}, {"k0": groups}, list(range(1, len(groups) + 1))) == expected


def test_without_keys_there_is_one_cell() -> None:
    for few in (0, 10**6):
        with patch("privacy.dense._FEW", few):
            assert dense(COUNT, pa.table({"m0": [5]}))["m0"].tolist() == [5]
            assert dense(COUNT, pa.table({"m0": pa.array([], pa.null())}))["m0"].tolist() == [0]


@pytest.mark.parametrize("few", [0, 10**6])
def test_sums_saturate_on_both_sides_and_stay_exact_below(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privacy.dense._FEW", few)
    sums = [2**100, -(2**100), SATURATION, SATURATION - 1, 1 - SATURATION, -SATURATION, 2**53 + 1, None, 0]
    expected = [max(-SATURATION, min(SATURATION, number or 0)) for number in sums]
    column = pa.chunked_array([pa.array(sums, pa.decimal128(38, 0))])
    assert numbers(COUNT.measures[0], column).tolist() == expected
    narrow = pa.chunked_array([pa.array([2**63 - 1, -(2**63), None])])
    assert numbers(COUNT.measures[0], narrow).tolist() == [SATURATION, -SATURATION, 0]


def test_lists_of_bins_become_trees_in_the_order_of_the_groups() -> None:
    measure = MEDIAN.measures[0]
    assert measure.tree is not None
    lists = [[{"leaf": 3, "n": 2}, {"leaf": 100, "n": 1}], None, [], [{"leaf": 0, "n": 7}]]
    leaves = np.zeros((4, measure.tree.leaves), np.int64)
    for group, bins in enumerate(lists):
        for entry in bins or ():
            leaves[group, entry["leaf"]] += entry["n"]
    found = numbers(measure, pa.chunked_array([pa.array(lists[:1]), pa.array(lists[1:])]))
    assert np.array_equal(found, counts_of_levels(measure.tree, leaves).ravel())
    assert not numbers(measure, pa.chunked_array([pa.nulls(3)])).any()


def test_a_level_is_the_sum_of_its_cells_and_stays_in_range() -> None:
    held = {"k0": pa.array(["a", "b", "a", None]), "k1": pa.array([1, 1, 2, 3])}
    fragment = over(COUNT, pa.table(held))
    coarser = dataclasses.replace(fragment.measures[0], name="m0l1", level=Level("m0", ("k0",), 2))
    fragment = dataclasses.replace(fragment, measures=(*fragment.measures, coarser))
    for counts, sums in (([1, 2, 3, None], [4, 2, 0]), ([SATURATION, 2, 5, 7], [SATURATION, 2, 7])):
        found = dense(fragment, pa.table({**held, "m0": pa.array(counts, pa.decimal128(38, 0))}))
        assert found["m0l1"].tolist() == sums
        assert found["m0l1"].dtype == np.int64
