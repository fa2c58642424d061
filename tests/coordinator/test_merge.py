"""Merging is an exact sum by key, whatever cells the nodes have and whatever the types of the keys."""

import dataclasses
import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.merge import checked_release, merge
from privacy.errors import InternalError
from privacy.fragment import Fragment, Threshold
from tests.coordinator.fakes import fragment, no_keys, release

INT64 = st.integers(-(2**63), 2**63 - 1)
KEY = st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from([True, False, None]))


def cells_of(keys: list[tuple[object, object]]) -> pa.Table:
    return pa.table(
        {"k0": pa.array([key[0] for key in keys], pa.string()), "k1": pa.array([key[1] for key in keys], pa.bool_())}
    )


def merged(releases: dict[str, pa.Table], *, keys: int, measures: int = 1) -> pa.Table:
    fragments = {
        province: fragment(province, table.select(range(keys)), measures=measures)
        for province, table in releases.items()
    }
    return merge(fragments, releases).table


@given(st.lists(st.dictionaries(KEY, INT64, min_size=1), min_size=1, max_size=4))
def test_merge_is_the_exact_sum_and_saturates(nodes: list[dict[tuple[object, object], int]]) -> None:
    releases = {f"p{n}": release(cells_of(list(node)), list(node.values())) for n, node in enumerate(nodes)}
    table = merged(releases, keys=2)
    sums: dict[tuple[object, object], int] = {}
    for node in nodes:
        for key, value in node.items():
            sums[key] = sums.get(key, 0) + value
    bounded = {key: max(-(2**63), min(2**63 - 1, total)) for key, total in sums.items()}
    found = list(zip(table["k0"].to_pylist(), table["k1"].to_pylist(), strict=True))
    assert dict(zip(found, table["m0"].to_pylist(), strict=True)) == bounded
    assert len(found) == len(bounded)
    assert found == sorted(found, key=lambda key: [(part is None, str(part)) for part in key])
    assert table["cell"].to_pylist() == list(range(len(found)))


def test_cells_are_sorted_by_their_keys_null_last() -> None:
    keys = [("b", None), (None, False), ("a", True), ("b", False), ("a", False), (None, None)]
    table = merged({"anhui": release(cells_of(keys), [1, 2, 3, 4, 5, 6])}, keys=2)
    assert table["k0"].to_pylist() == ["a", "a", "b", "b", None, None]
    assert table["k1"].to_pylist() == [False, True, False, None, False, None]
    assert table["m0"].to_pylist() == [5, 3, 4, 1, 2, 6]


def test_without_keys_there_is_one_row() -> None:
    releases = {"anhui": release(no_keys(), [3], [30]), "jiangsu": release(no_keys(), [4], [-50])}
    table = merged(releases, keys=0, measures=2)
    assert table.to_pydict() == {"cell": [0], "m0": [7], "m1": [-20]}


@pytest.mark.parametrize(
    "values",
    [
        pa.array([True, False, None]),
        pa.array([dt.date(2024, 1, 2), dt.date(2023, 5, 6), None]),
        pa.array([dt.datetime(2024, 1, 2), dt.datetime(2023, 5, 6), None], pa.timestamp("us")),
        pa.array(["浙江", "安徽", None]),
        pa.array([2**53 + 1, -(2**62), None], pa.int64()),
        pa.array([3, 1, None], pa.int32()),
        pa.array([None, None], pa.string()).slice(0, 1),
    ],
    ids=str,
)
def test_types_of_keys_survive(values: pa.Array) -> None:
    cells = pa.table({"k0": values})
    numbers = list(range(len(values)))
    table = merged({"anhui": release(cells, numbers), "jiangsu": release(cells, numbers)}, keys=1)
    assert table.schema.field("k0").type == values.type
    expected = {value: 2 * number for value, number in zip(values.to_pylist(), numbers, strict=True)}
    assert dict(zip(table["k0"].to_pylist(), table["m0"].to_pylist(), strict=True)) == expected


def test_contributions_say_which_node_added_to_which_cell() -> None:
    one, other = pa.table({"k0": ["shanghai"]}), pa.table({"k0": ["anhui"]})
    fragments = {"shanghai": fragment("shanghai", one, scale=3.0), "anhui": fragment("anhui", other, scale=5.0)}
    result = merge(fragments, {"shanghai": release(one, [1]), "anhui": release(other, [2])})
    assert result.table["k0"].to_pylist() == ["anhui", "shanghai"]
    assert [(part.cells.tolist(), part.noises) for part in result.contributions] == [
        ([0], {"m0": ("laplace", 5.0)}),
        ([1], {"m0": ("laplace", 3.0)}),
    ]


def thresholded(province: str, *, measures: int = 2, most: int = 9) -> Fragment:
    """A text key that nobody can list; m1 counts units and decides."""
    plain = fragment(province, pa.table({"k0": pa.array([], pa.string())}), measures=measures)
    return dataclasses.replace(plain, threshold=Threshold("m1", 10, 1, 1e-9, most))


def test_a_cell_that_only_some_nodes_let_pass_is_the_sum_over_those() -> None:
    fragments = {province: thresholded(province) for province in ("shanghai", "anhui", "jiangsu")}
    releases = {
        "shanghai": release(pa.table({"k0": ["b", "d", None]}), [1, 2, 3], [11, 12, 13]),
        "anhui": release(pa.table({"k0": ["a", "d"]}), [10, 20], [21, 22]),
        "jiangsu": release(pa.table({"k0": pa.array([], pa.string())}), [], []),
    }
    for province, answered in releases.items():
        assert checked_release(fragments[province], answered) is answered
    result = merge(fragments, releases)
    assert result.table.to_pydict() == {
        "cell": [0, 1, 2, 3],
        "k0": ["a", "b", "d", None],
        "m0": [10, 1, 22, 3],
        "m1": [21, 11, 34, 13],
    }
    # In the order of the provinces' names; the error bars count no noise where a node released nothing.
    assert [part.cells.tolist() for part in result.contributions] == [[0, 2], [], [1, 2, 3]]


def test_nothing_may_pass_anywhere() -> None:
    empty = release(pa.table({"k0": pa.array([], pa.string())}), [], [])
    fragments = {province: thresholded(province) for province in ("shanghai", "anhui")}
    result = merge(fragments, dict.fromkeys(fragments, empty))
    assert result.table.num_rows == 0
    assert result.table.schema.types == [pa.int64(), pa.string(), pa.int64(), pa.int64()]


@pytest.mark.parametrize(
    "answered",
    [
        release(pa.table({"k0": ["a", "b"]}), [1, 2], [11, 10]),
        release(pa.table({"k0": ["a", "a"]}), [1, 2], [11, 12]),
        release(pa.table({"k0": pa.array([None, None], pa.string())}), [1, 2], [11, 12]),
        release(pa.table({"k0": ["a", "b", "c", "d"]}), [1, 2, 3, 4], [11, 12, 13, 14]),
        release(pa.table({"k0": [1, 2]}), [1, 2], [11, 12]),
        release(pa.table({"k0": ["a", "b"]}), [11, 12]),
    ],
    ids=["not above", "twice", "NULL twice", "too many", "another type", "no count"],
)
def test_what_the_threshold_cannot_have_let_pass_is_a_fault(answered: pa.Table) -> None:
    with pytest.raises(InternalError, match="other cells"):
        checked_release(thresholded("anhui", most=3), answered)


@pytest.mark.parametrize(
    "answered",
    [
        release(pa.table({"k0": ["a"]}), [1]),
        release(pa.table({"k0": ["b", "a"]}), [1, 2]),
        pa.table({"k0": ["a", "b"], "m0": [1.0, 2.0]}),
        pa.table({"k0": ["a", "b"], "m0": pa.array([1, None], pa.int64())}),
        pa.table({"k0": ["a", "b"]}),
        release(pa.table({"k0": ["a", "b"]}), [1, 2], [1, 2]),
    ],
    ids=["too few", "another order", "floats", "null", "no measure", "one more measure"],
)
def test_other_cells_than_asked_are_a_fault(answered: pa.Table) -> None:
    with pytest.raises(InternalError, match="other cells"):
        checked_release(fragment("anhui", pa.table({"k0": ["a", "b"]})), answered)
