"""Histogram trees: layout, least squares, quantiles."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.noise import simulated_noise
from privacy.trees import FAN_OUT, Tree, consistent, counts_of_levels, flat_tree, quantiles, tree_over

EXACT = np.zeros(1)


@given(st.integers(-1000, 1000), st.integers(0, 50_000), st.integers(12, 1000))
@settings(max_examples=60, deadline=None)
def test_bins_cover_the_range_and_no_more_than_asked(low: int, span: int, most: int) -> None:
    tree = tree_over(low, low + span, whole=True, most_leaves=most)
    assert tree.leaves <= most
    assert tree.low + tree.leaves * tree.width >= low + span + 1
    assert tree.low + (tree.leaves - 1) * tree.width <= low + span
    assert tree.whole == (span < most)
    assert all(upper == -(-lower // FAN_OUT) for lower, upper in pairwise(tree.levels))


def _histogram(tree: Tree, values: np.ndarray) -> np.ndarray:
    leaves = np.clip(np.floor((values - tree.low) / tree.width), 0, tree.leaves - 1).astype(np.int64)
    return counts_of_levels(tree, np.bincount(leaves, minlength=tree.leaves))[np.newaxis, :]


@given(st.lists(st.integers(0, 100), min_size=1, max_size=300), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_without_noise_quantiles_are_those_of_the_values(values: list[int], fraction: float) -> None:
    tree = tree_over(0, 100, whole=True, most_leaves=1000)
    counts = _histogram(tree, np.array(values)).astype(float)
    found = quantiles(tree, counts, [fraction, "least", "greatest"], deviation=EXACT)[0]
    lower, upper = (np.quantile(values, fraction, method=method) for method in ("lower", "higher"))
    assert lower - 1e-9 <= found[0] <= upper + 1e-9
    assert (found[1], found[2]) == (min(values), max(values))


def test_a_flat_tree_has_no_levels_above_its_leaves() -> None:
    tree = flat_tree(1000)
    assert (tree.levels, tree.size) == ((1000,), 1000)
    counts = np.arange(2000).reshape(2, 1000)
    assert (counts_of_levels(tree, counts) == counts).all()


def test_no_rows_have_no_quantiles() -> None:
    tree = tree_over(0, 9, whole=True, most_leaves=1000)
    assert np.isnan(quantiles(tree, np.zeros((1, tree.size)), [0.5, "least"], deviation=EXACT)).all()


def test_least_squares_are_those_of_linear_algebra() -> None:
    tree = tree_over(0, 136, whole=True, most_leaves=1000)
    noisy = simulated_noise("laplace", 7.0, (1, tree.size), seed=4) + 50
    levels = consistent(tree, noisy)
    rows = [np.eye(tree.leaves)]
    for nodes in tree.levels[1:]:
        rows.append(np.add.reduceat(rows[-1], np.arange(nodes) * FAN_OUT, axis=0))
    best, *_ = np.linalg.lstsq(np.concatenate(rows), noisy[0], rcond=None)
    assert levels[0][0] == pytest.approx(best, abs=1e-8)
    for lower, upper in pairwise(levels):
        assert np.add.reduceat(lower, np.arange(upper.shape[-1]) * FAN_OUT, axis=-1) == pytest.approx(upper)


@pytest.mark.parametrize("rank", [0.1, 0.5, 0.95])
def test_noise_moves_a_quantile_by_about_its_own_size(rank: float) -> None:
    """A tree's rank error is a few node deviations; the flat histogram's is √leaves of them."""
    tree = tree_over(0, 1000, whole=False, most_leaves=1000)
    values = np.linspace(0, 1000, 20_000)
    counts = _histogram(tree, values) + simulated_noise("laplace", 30.0, (300, tree.size), seed=9)
    found = quantiles(tree, counts, [rank], deviation=np.full(300, 42.0))[:, 0]
    rows_off = (found - 1000 * rank) * 20
    assert abs(rows_off.mean()) < 60
    assert rows_off.std() < 42 * 6
