"""Noise: its exact distribution, its scale, and the shape of a release."""

import dataclasses
import math
import threading

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from privacy.dense import SATURATION
from privacy.errors import InternalError
from privacy.fragment import Fragment, Mechanism
from privacy.noise import (
    gaussian_scale,
    gaussian_variance,
    laplace_scale,
    laplace_variance,
    noisy,
    simulated_noise,
)
from tests.privacy.corpus_planner import plan


def _fragment(
    sql: str = "SELECT visit_date, COUNT(*) FROM visits GROUP BY visit_date", epsilon: float = 1.0
) -> Fragment:
    return plan(sql, epsilon=epsilon, delta=0.0).blocks[0].fragments["shanghai"]


def _draws(fragment: Fragment, *, count: int) -> np.ndarray:
    nothing = pa.table(
        {
            **{key.name: pa.array([], fragment.cells.schema.field(key.name).type) for key in fragment.keys},
            "m0": pa.array([], pa.int64()),
        }
    )
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < count:
        parts.append(noisy(fragment, nothing).column("m0").to_numpy())
    return np.concatenate(parts)[:count]


@pytest.mark.parametrize("epsilon", [0.5, 60.0, 400.0])
def test_the_noise_has_the_discrete_laplace_distribution(epsilon: float) -> None:
    """χ² against P(k) = (1−q)/(1+q) q^|k|, q = exp(−1/scale); false alarm 1e-7 each."""
    fragment = _fragment(epsilon=epsilon)
    scale = fragment.measures[0].scale
    draws = _draws(fragment, count=20_000)
    q = math.exp(-1 / scale)
    reach = max(1, round(3 * scale))
    step = max(1, reach // 10)
    edges = np.arange(-reach, reach + 1, step)
    observed = np.histogram(draws, bins=[-np.inf, *(edges - 0.5), np.inf])[0]

    def below(k: float) -> float:  # P(X < k) for integer k
        return q ** (1 - k) / (1 + q) if k <= 0 else 1 - q**k / (1 + q)

    cumulative = np.array([0.0, *(below(int(edge)) for edge in edges), 1.0])
    expected = np.diff(cumulative) * len(draws)
    enough = expected > 5
    observed, expected = observed[enough], expected[enough]
    statistic = float(((observed - expected) ** 2 / expected).sum())
    assert stats.chi2.sf(statistic, len(expected) - 1) > 1e-7


@pytest.mark.parametrize(("sensitivity", "epsilon"), [(1, 1.0), (55, 0.1), (5_500_000, 0.3), (7, 1e6), (3, 1 / 3)])
def test_the_scale_is_the_least_that_the_guarantee_allows(sensitivity: int, epsilon: float) -> None:
    scale = laplace_scale(sensitivity, epsilon)
    assert sensitivity / epsilon <= scale <= sensitivity / epsilon * (1 + 1e-9)


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.7, 40.0])
def test_the_noise_has_the_discrete_gaussian_distribution(scale: float) -> None:
    """χ² against P(k) ∝ exp(−k²/2σ²); false alarm 1e-7 each."""
    draws = _draws(_gaussian_fragment(scale), count=20_000)
    reach = max(2, round(4 * scale))
    ks = np.arange(-int(12 * scale) - 12, int(12 * scale) + 13)
    mass = np.exp(-((ks / scale) ** 2) / 2)
    mass /= mass.sum()
    edges = np.unique(np.linspace(-reach, reach + 1, 20).round())
    observed = np.histogram(draws, bins=[-np.inf, *(edges - 0.5), np.inf])[0]
    bins = np.digitize(ks, edges - 0.5)
    expected = np.array([mass[bins == number].sum() for number in range(len(edges) + 1)]) * len(draws)
    enough = expected > 5
    statistic = float(((observed[enough] - expected[enough]) ** 2 / expected[enough]).sum())
    assert stats.chi2.sf(statistic, int(enough.sum()) - 1) > 1e-7


def _gaussian_fragment(scale: float) -> Fragment:
    fragment = _fragment()
    rho = 1 / (2 * scale**2) * (1 + 1e-9)
    measure = dataclasses.replace(
        fragment.measures[0], mechanism="gaussian", sensitivity=1, sensitivity_l2=1.0, epsilon=0.0, rho=rho, scale=scale
    )
    return dataclasses.replace(fragment, measures=(measure,))


@pytest.mark.parametrize(("sensitivity", "rho"), [(1.0, 0.5), (math.sqrt(11) * 11, 0.0074), (5.5e6, 1e-4), (7.0, 1e5)])
def test_the_gaussian_scale_is_the_least_that_the_guarantee_allows(sensitivity: float, rho: float) -> None:
    scale = gaussian_scale(sensitivity, rho)
    assert scale == pytest.approx(sensitivity / math.sqrt(2 * rho), rel=1e-9)
    assert scale >= sensitivity / math.sqrt(2 * rho) * (1 - 1e-15)


@pytest.mark.parametrize("scale", [0.2, 0.5, 1.0, 3.0, 8.0])
def test_the_gaussian_variance_is_that_of_the_mass_function(scale: float) -> None:
    ks = np.arange(-200, 201)
    mass = np.exp(-((ks / scale) ** 2) / 2)
    assert gaussian_variance(scale) == pytest.approx(float((mass * ks**2).sum() / mass.sum()), rel=1e-9)


@pytest.mark.parametrize("scale", [0.1, 0.7, 3.0, 1e4])
def test_the_variance_is_that_of_the_mass_function(scale: float) -> None:
    q = math.exp(-1 / scale)
    reach = int(60 * scale) + 60
    mass = np.array([(1 - q) / (1 + q) * q ** abs(k) for k in range(-reach, reach + 1)])
    assert laplace_variance(scale) == pytest.approx(float((mass * np.arange(-reach, reach + 1) ** 2).sum()), rel=1e-6)


def test_noise_that_is_too_small_is_never_released() -> None:
    fragment = _fragment()
    weak = dataclasses.replace(fragment.measures[0], scale=fragment.measures[0].scale / 2)
    with pytest.raises(InternalError):
        _draws(dataclasses.replace(fragment, measures=(weak,)), count=1)


def test_every_cell_is_released_and_nothing_else() -> None:
    fragment = _fragment("SELECT kind, COUNT(*) FROM visits GROUP BY kind", epsilon=1e6)
    exact = pa.table({"k0": ["test", "no such kind", None], "m0": pa.array([5, 7, 9], pa.int64())})
    release = noisy(fragment, exact)
    assert release.column_names == ["k0", "m0"]
    assert dict(zip(*(column.to_pylist() for column in release.columns), strict=True)) == {
        "checkup": 0,
        "emergency": 0,
        "inpatient": 0,
        "outpatient": 0,
        "test": 5,
    }


def test_sums_saturate() -> None:
    fragment = _fragment("SELECT SUM(cost) FROM visits", epsilon=1e6)
    huge = pa.table({"m0": pa.array([2**100], pa.decimal128(38, 0))})
    assert noisy(fragment, huge).column("m0").to_pylist() == [pytest.approx(SATURATION)]


def test_simulated_noise_is_repeatable_and_of_the_same_variance() -> None:
    draws = simulated_noise("laplace", 50.0, (200_000,), seed=3)
    assert np.array_equal(draws, simulated_noise("laplace", 50.0, (200_000,), seed=3))
    assert draws.var() == pytest.approx(laplace_variance(50.0), rel=0.05)


@pytest.mark.parametrize("scale", [0.7, 50.0])
@pytest.mark.parametrize("mechanism", ["laplace", "laplace_pair", "gaussian"])
@pytest.mark.parametrize("nodes", [1, 4])
def test_the_noise_of_several_nodes_is_drawn_as_their_sum(mechanism: Mechanism, scale: float, nodes: int) -> None:
    """Against as many sums of single draws: two-sample Kolmogorov-Smirnov, 50,000 each, false alarm 1e-7."""
    at_once = simulated_noise(mechanism, scale, (50_000,), seed=3, nodes=nodes)
    apart = sum(simulated_noise(mechanism, scale, (50_000,), seed=100 + node) for node in range(nodes))
    values = np.sort(np.concatenate([at_once, apart]))
    shares = [np.searchsorted(np.sort(draws), values, side="right") / len(draws) for draws in (at_once, apart)]
    assert np.abs(shares[0] - shares[1]).max() < math.sqrt(-math.log(1e-7 / 2) / 2 * 2 / 50_000)


def test_a_pair_of_several_nodes_shares_its_draws() -> None:
    count, total = (
        simulated_noise("laplace_pair", scale, (50_000,), seed=3, opposite=opposite, nodes=4)
        for scale, opposite in ((10.0, False), (500.0, True))
    )
    halves = [count + total / 50, count - total / 50]  # twice either of the two draws, each a sum of four
    assert all(half.var() == pytest.approx(4 * 4 * 2 * 10.0**2, rel=0.06) for half in halves)
    assert abs(np.corrcoef(*halves)[0, 1]) < 0.025  # 5.5 standard deviations


# Large releases


def _large(sql: str, cells: int) -> Fragment:
    """A release over as many cells, with noise that is 0."""
    fragment = _fragment(sql, epsilon=1e9)
    numbered = pa.table({"k0": np.arange(cells)})
    return dataclasses.replace(fragment, cells=numbered, cell_count=cells)


def test_with_threads_each_cell_keeps_its_own_sums() -> None:
    fragment = _large("SELECT kind, COUNT(*), SUM(age - 50), MAX(sex = 'F') FROM visits GROUP BY kind", 70_000)
    order = np.arange(80_000) * 7_919 % 80_000  # every group once, 10,000 of them outside of the cells, in no order
    sums = {
        measure.name: order * 7 + place if measure.tree is None else [[{"leaf": 1, "n": n}] for n in order.tolist()]
        for place, measure in enumerate(fragment.measures)
    }
    release = noisy(fragment, pa.table({"k0": order} | sums), threads=3)
    assert release.column("k0").to_pylist() == list(range(70_000))
    for place, measure in enumerate(fragment.measures):
        values = release.column(measure.name)
        if measure.tree is None:
            assert np.array_equal(values.to_numpy(), np.arange(70_000) * 7 + place)
        else:
            counts = np.array(values.combine_chunks().flatten()).reshape(70_000, -1)
            assert np.array_equal(counts[:, 1], np.arange(70_000))
            assert not counts[:, 0].any()


def test_with_threads_the_noise_has_the_same_distribution_and_is_nowhere_the_same() -> None:
    """Two samples of 100,000 by Kolmogorov and Smirnov, whose false alarm is below 1e-7 for noise this coarse."""
    fragment = _large("SELECT kind, COUNT(*) FROM visits GROUP BY kind", 100_000)
    measure = fragment.measures[0]
    wide = dataclasses.replace(measure, scale=50.0, epsilon=1.01 * measure.sensitivity / 50)
    fragment = dataclasses.replace(fragment, measures=(wide,))
    nothing = pa.table({"k0": pa.array([], pa.int64()), "m0": pa.array([], pa.int64())})
    one, many = (noisy(fragment, nothing, threads=threads).column("m0").to_numpy() for threads in (1, 4))
    assert stats.ks_2samp(one, many, method="asymp").pvalue > 1e-7
    assert many.var() == pytest.approx(laplace_variance(50.0), rel=0.05)
    pieces = many[:99_000].reshape(-1, 1_000)
    assert len(np.unique(pieces, axis=0)) == len(pieces)
    neighbours = np.corrcoef(pieces[:-1].ravel(), pieces[1:].ravel())[0, 1]
    assert abs(neighbours) < 5.4 / math.sqrt(pieces.size)


@pytest.mark.parametrize(("cells", "started"), [(1_999, False), (2_000, True)])
def test_small_releases_start_no_thread(cells: int, started: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[str] = []
    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda own: (starts.append(own.name), start(own))[-1])
    fragment = _large("SELECT kind, COUNT(*) FROM visits GROUP BY kind", cells)
    noisy(fragment, pa.table({"k0": pa.array([], pa.int64()), "m0": pa.array([], pa.int64())}), threads=2)
    assert bool(starts) == started


def test_noise_0_is_for_what_no_row_can_change() -> None:
    fragment = _fragment()
    measure = fragment.measures[0]
    bare = dataclasses.replace(measure, scale=0.0)
    with pytest.raises(InternalError, match="too small"):
        _draws(dataclasses.replace(fragment, measures=(bare,)), count=1)
    fixed = dataclasses.replace(bare, sensitivity=0, sensitivity_l2=0.0, epsilon=0.0)
    assert not _draws(dataclasses.replace(fragment, measures=(fixed,)), count=1_000).any()
