"""How many bins hold rows, of noisy counts. Draws have fixed seeds."""

import numpy as np
import pytest
from numpy.typing import NDArray

from privacy.fragment import Mechanism
from privacy.noise import simulated_noise, variance
from privacy.presence import bins_with_rows

DRAWS = 2_000
NODES = 4
SCALE = 40.0

with_each_mechanism = pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])


def _estimates(mechanism: Mechanism, *, bins: int, full: int, rows: int) -> NDArray[np.float64]:
    """Of a histogram in which `full` bins have `rows` each, with the noise of four nodes."""
    counts = np.zeros((DRAWS, bins))
    counts[:, :full] = rows
    for node in range(NODES):
        counts += simulated_noise(mechanism, SCALE, counts.shape, seed=100 * node + bins)
    deviation = (NODES * variance(mechanism, SCALE)) ** 0.5
    return bins_with_rows(np.rint(counts), np.full(DRAWS, deviation))


@pytest.mark.parametrize("deviation", [0.0, 1e-6, 0.05])
def test_without_noise_it_is_the_number_of_bins_with_rows(deviation: float) -> None:
    counts = np.array([[0, 1, 5, 0, 2], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], float)
    assert bins_with_rows(counts, np.full(3, deviation)).tolist() == [3, 0, 5]


@with_each_mechanism
@pytest.mark.parametrize("bins", [2, 5, 20, 100, 1000])
def test_nothing_is_made_of_noise(mechanism: Mechanism, bins: int) -> None:
    found = _estimates(mechanism, bins=bins, full=0, rows=0)
    assert found.min() >= 0
    assert (found > 0).mean() < 0.1
    assert found.mean() < 0.15 * bins**0.5


@with_each_mechanism
@pytest.mark.parametrize("bins", [2, 5, 20, 100])
def test_all_bins_of_many_rows_are_counted(mechanism: Mechanism, bins: int) -> None:
    assert (_estimates(mechanism, bins=bins, full=bins, rows=2_000) == bins).all()


@with_each_mechanism
def test_of_many_empty_bins_few_are_counted_beside_those_that_stand_out(mechanism: Mechanism) -> None:
    found = _estimates(mechanism, bins=1000, full=100, rows=2_000)
    assert abs(found.mean() - 100) < 2
    assert np.median(found) == 100


@with_each_mechanism
@pytest.mark.parametrize("rows", [40, 100, 200])
def test_it_errs_downwards_where_rows_are_few(mechanism: Mechanism, rows: int) -> None:
    """The deviation of a count is some 110 (Laplace) or 80 (Gaussian)."""
    assert _estimates(mechanism, bins=100, full=100, rows=rows).mean() < 100


@with_each_mechanism
def test_many_values_of_a_few_rows_are_not_all_missed(mechanism: Mechanism) -> None:
    """Each by itself is lost in the noise, of whose deviation it has one; together they show."""
    assert 50 < _estimates(mechanism, bins=100, full=100, rows=110).mean() < 100


@with_each_mechanism
def test_more_noise_in_one_cell_does_not_touch_another(mechanism: Mechanism) -> None:
    counts = np.array([[5.0, 0, 0, 0]] * 2)
    assert bins_with_rows(counts, np.array([0.0, 1000.0])).tolist() == [1, 0]
