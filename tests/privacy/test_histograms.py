"""What is read off the counts of single bins: how many stand out, which is the largest, and the MAP of them."""

import math

import numpy as np
import pyarrow as pa
import pytest

from privacy.fragment import Asked, Mechanism, ReadOff
from privacy.histograms import TOO_MANY, Histogram, bins_seen, stands_out
from privacy.noise import simulated_noise, variance
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


@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
@pytest.mark.parametrize("leaves", [5, 20, 1000])
@pytest.mark.parametrize("nodes", [1, 4])
def test_of_empty_bins_hardly_any_is_seen(mechanism: Mechanism, leaves: int, nodes: int) -> None:
    """Of 2,000,000 empty bins; a sum of Laplace noises passes less often than one.

    The number that passes is about Poisson with mean 2,000,000 × TOO_MANY / leaves at most: 200 at least. More than
    six standard deviations above that has probability below 1e-8.
    """
    draws = 2_000_000 // leaves
    noise = sum(
        simulated_noise(mechanism, 40.0, (draws, leaves), seed=1000 * node + leaves) for node in range(1, nodes + 1)
    )
    assert isinstance(noise, np.ndarray)
    deviation = np.full(draws, math.sqrt(nodes * variance(mechanism, 40.0)))
    most = draws * TOO_MANY
    assert bins_seen(flat_tree(leaves), noise, deviation).sum() < most + 6 * math.sqrt(most)


def test_noise_hides_no_value_that_many_have() -> None:
    """Of 1,000 values 100 are had 2,000 times; 50 draws of noise of scale 20, with a fixed seed."""
    tree, counts = flat_tree(1000), np.zeros((50, 1000))
    counts[:, ::10] = 2_000
    found = bins_seen(tree, counts + simulated_noise("laplace", 20.0, counts.shape, seed=1), np.full(50, 20 * 2**0.5))
    assert found.min() >= 100
    assert found.mean() < 100.5


def test_the_line_is_higher_where_there_are_more_bins_and_more_noise() -> None:
    few, many = (stands_out(flat_tree(leaves), np.array([0.0, 10.0, 20.0])) for leaves in (5, 1000))
    assert few[0] == many[0] == 0.5
    assert few[1] < few[2]
    assert few[1] < many[1]
