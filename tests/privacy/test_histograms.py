"""What is read off the counts of single bins: how many hold rows, which is the largest, and the MAP of them."""

import numpy as np
import pyarrow as pa

from privacy.fragment import Asked, ReadOff
from privacy.histograms import Histogram
from privacy.trees import flat_tree

VALUES = pa.array(["a", "b", "c"])


def _read(asked: Asked, counts: list[list[int]], *, boundaries: int = 0) -> list[object]:
    column = ReadOff("q0", "m0", asked, VALUES, boundaries)
    found = np.array(counts, np.int64)
    [only] = Histogram("m0", flat_tree(3), found, np.zeros(len(found)), (column,)).columns().values()
    assert only.type == column.type
    values: list[object] = only.to_pylist()
    return values


def test_without_noise_every_bin_with_a_row_is_seen() -> None:
    assert _read("distinct", [[1, 0, 7], [0, 0, 0], [1, 1, 1]]) == [2, 0, 3]


def test_the_mode_is_the_first_of_the_largest() -> None:
    assert _read("mode", [[1, 0, 7], [0, 0, 0], [2, 2, 1], [-5, 0, -1]]) == ["c", None, "a", None]


def test_a_map_leaves_out_what_has_no_rows() -> None:
    whole = [("a", 1), ("c", 7)]
    assert _read("counts", [[1, 0, 7], [0, 0, 0], [-2, 0, 0]]) == [whole, None, [("a", -2)]]


def test_a_map_has_every_boundary_and_the_rest_only_where_it_has_rows() -> None:
    found = _read("counts", [[1, 0, 7], [0, 0, 0], [0, 3, 0]], boundaries=2)
    assert found == [[("a", 1), ("b", 0), ("c", 7)], None, [("a", 0), ("b", 3)]]


def test_counts_at_the_end_of_their_range_stay_there() -> None:
    assert _read("counts", [[2**63 - 1, -(2**63), 0]]) == [[("a", 2**62), ("b", -(2**62))]]


def test_draws_are_read_off_as_what_was_released() -> None:
    column = ReadOff("q0", "m0", "mode", VALUES)
    merged = Histogram("m0", flat_tree(3), np.array([[5, 0, 0], [0, 0, 9]]), np.zeros(2), (column,))
    noise = np.array([[[0, 0, 0], [0, 9, 0]], [[0, 0, 0], [0, 0, -9]]], float)
    assert merged.simulated_columns(noise, slice(0, 2))["q0"].to_pylist() == ["a", "b", "c", None]
    assert merged.asked({"q1"}).simulated_columns(noise, slice(0, 2)) == {}
