"""Least squares over levels: the estimate, its variances, and its rounding, against dense linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from privacy.chains import Chain, _rounded
from privacy.fragment import Mechanism
from privacy.noise import _made, simulated_noise, variance

TREE = (np.arange(20) % 4, np.array([0, 0, 1, 0]))  # 20 groups in 4 of unequal size, those in 2
NOISES: tuple[tuple[Mechanism, float], ...] = (("laplace", 30.0), ("gaussian", 50.0), ("laplace_pair", 20.0))
CHAIN = Chain(("m0", "m0l1", "m0l2"), TREE, NOISES)


def design(chain: Chain) -> NDArray[np.float64]:
    """One row a released number, one column a finest group."""
    parts = [np.eye(chain.sizes[0])]
    for place, size in zip(chain.places, chain.sizes[1:], strict=True):
        parts.append((place == np.arange(size)[:, np.newaxis]).astype(float))
    return np.vstack(parts)


def least_squares(chain: Chain, released: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimates and their covariance, by the normal equations."""
    weights = np.repeat([1 / variance(*noise) for noise in chain.noises], chain.sizes)
    matrix = design(chain)
    covariance = np.linalg.inv(matrix.T * weights @ matrix)
    return covariance @ matrix.T @ (weights * released), covariance


def repeated(chain: Chain, levels: list[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """As in a release: a coarser level's numbers in each of its cells."""
    return [levels[0], *(level[place] for level, place in zip(levels[1:], chain.places, strict=True))]


@given(st.lists(st.integers(-(10**6), 10**6), min_size=26, max_size=26))
def test_estimates_are_least_squares_to_a_step_at_every_level(numbers: list[int]) -> None:
    released = np.array(numbers)
    exact, _ = least_squares(CHAIN, released.astype(float))
    levels = np.split(released, [20, 24])
    found = CHAIN.combined(repeated(CHAIN, levels))
    assert np.abs(design(CHAIN) @ found - design(CHAIN) @ exact).max() < 2
    offsets = CHAIN.offsets([level.astype(float)[:, np.newaxis] for level in levels])
    assert levels[0] + CHAIN.corrections(offsets)[0][:, 0] == pytest.approx(exact, rel=1e-9, abs=1e-3)


@given(st.lists(st.integers(-(2**55), 2**55), min_size=20, max_size=20))
def test_levels_that_agree_stay_as_they_are(numbers: list[int]) -> None:
    finest = np.array(numbers) // 2**10 * 2**10  # multiples, whose sums a float holds
    levels = [finest, *(np.zeros(size, np.int64) for size in CHAIN.sizes[1:])]
    for level, place in zip(levels[1:], CHAIN.places, strict=True):
        np.add.at(level, place, finest)
    assert CHAIN.combined(repeated(CHAIN, levels)).tolist() == finest.tolist()


@pytest.mark.parametrize(
    "rows", [np.arange(20), np.arange(20) % 4, np.zeros(20, np.int64), np.arange(20) // 5, np.arange(20) % 3], ids=str
)
def test_variances_of_sums_are_those_of_the_covariance(rows: NDArray[np.int64]) -> None:
    size = int(rows.max()) + 1
    _, covariance = least_squares(CHAIN, np.zeros(26))
    sums = (rows == np.arange(size)[:, np.newaxis]).astype(float)
    found = CHAIN.variances_of_sums(rows, size)
    exact = np.diag(sums @ covariance @ sums.T)
    rounding = found - exact
    assert (rounding >= 1 / 12 - 1e-9 * exact).all()
    assert (rounding <= sums.sum(axis=1) / 6 + 1e-9 * exact).all()
    drawn = (sums @ CHAIN.simulated(20_000, seed=1)).var(axis=1)
    assert drawn == pytest.approx(found, rel=0.08)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_what_is_stated_covers_rounding(scale: float) -> None:
    """Of fresh releases of nothing; their mean squared errors are known to about 3 %."""
    chain = Chain(CHAIN.names, TREE, tuple(("laplace", scale * more) for more in (1.0, 1.5, 1.5)))
    rows = np.array([np.arange(20), TREE[0], np.zeros(20, np.int64), np.arange(20) // 5])
    seen = np.zeros((4, 1000))
    for number in range(seen.shape[1]):
        levels = [
            np.array(_made("laplace", of_level)([0] * size))
            for size, (_, of_level) in zip(chain.sizes, chain.noises, strict=True)
        ]
        found = chain.combined(repeated(chain, levels))
        seen[:, number] = [np.bincount(row, found).astype(int) @ np.bincount(row, found).astype(int) for row in rows]
    for row, squares in zip(rows, seen, strict=True):
        stated = chain.variances_of_sums(row, int(row.max()) + 1).sum()
        deviation = squares.std() / len(squares) ** 0.5
        assert squares.mean() < stated + 5 * deviation
        assert stated < 1.1 * squares.mean() + 5 * deviation or scale < 1  # where hardly any noise is, it states more


def test_rounding_favours_no_group() -> None:
    exact = simulated_noise("gaussian", 50.0, (2000, 5), seed=1)
    exact[:, 1:] = exact[:, :1]  # as of a family of finest groups: all get the same share
    totals = np.rint(exact.sum(axis=1))
    exact += ((totals - exact.sum(axis=1)) / 5)[:, np.newaxis]
    found = _rounded(exact.ravel(), np.repeat(np.arange(2000), 5)).reshape(exact.shape)
    assert (found.sum(axis=1) == totals).all()
    assert np.abs(found - exact).max() < 1
    assert np.abs((found - exact).mean(axis=0)).max() < 5 * 0.41 / 2000**0.5


def test_noise_that_vanishes_changes_nothing() -> None:
    chain = Chain(CHAIN.names, TREE, tuple(("laplace", 1e-6) for _ in NOISES))
    finest = np.arange(20)
    levels = [
        finest,
        np.bincount(CHAIN.places[0], finest).astype(int),
        np.bincount(CHAIN.places[1], finest).astype(int),
    ]
    assert chain.combined(repeated(chain, levels)).tolist() == finest.tolist()
    assert chain.variances_of_sums(np.zeros(20, np.int64), 1) == pytest.approx([0.0], abs=1e-20)


def test_what_a_hostile_node_sends_stays_in_range() -> None:
    levels = [np.full(20, 2**63 - 1), np.full(4, -(2**63)), np.full(2, 2**63 - 1)]
    found = CHAIN.combined(repeated(CHAIN, levels))
    assert found.dtype == np.int64
    assert len(found) == 20
