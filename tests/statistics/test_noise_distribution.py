"""The noise of a release against the mass functions that the guarantees are proved for, over scales from far below one
step to far above any count, and the independence of its cells.

χ² tests; each raises a false alarm with probability 1e-7. Sources: Canonne, Kamath and Steinke 2020, "The Discrete Gaussian
for Differential Privacy", Definition 1; Ghosh, Roughgarden and Sundararajan 2009 for the discrete Laplace.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy import stats

from privacy.errors import InternalError
from privacy.fragment import Fragment, Mechanism
from privacy.noise import gaussian_variance, laplace_variance, noisy
from tests.privacy.corpus_planner import plan

ALARM = 1e-7
DRAWS = 20_000
SCALES = (0.15, 0.6, 1.0, 7.3, 1e3, 1e6, 1e9, 1e12)
DAYS = "SELECT visit_date, COUNT(*) FROM visits GROUP BY visit_date"  # 731 cells


def with_noise(mechanism: Mechanism, scale: float, sql: str = DAYS) -> Fragment:
    """A fragment whose measures have noise of exactly `scale`, and a share of the budget that covers it."""
    fragment = plan(sql).blocks[0].fragments["shanghai"]
    measures = tuple(
        replace(
            measure,
            mechanism=mechanism,
            scale=scale,
            epsilon=1.01 * measure.sensitivity / scale,
            rho=1.01 * (measure.sensitivity_l2 / scale) ** 2 / 2,
        )
        for measure in fragment.measures
    )
    return replace(fragment, measures=measures)


def draws(fragment: Fragment, count: int, measure: str = "m0") -> NDArray[np.int64]:
    nothing = pa.table(
        {
            **{key.name: pa.array([], fragment.cells.schema.field(key.name).type) for key in fragment.keys},
            **{part.name: pa.array([], pa.int64()) for part in fragment.measures},
        }
    )
    calls = range(math.ceil(count / fragment.cell_count))
    return np.concatenate([noisy(fragment, nothing).column(measure).to_numpy() for _ in calls])[:count]


def laplace_below(scale: float) -> Callable[[int], float]:
    """P(X < k) of the discrete Laplace distribution, P(X = k) = (1 − q) / (1 + q) × q^|k| with q = exp(−1/scale)."""

    q = math.exp(-1 / scale)
    return lambda k: math.exp((k - 1) / scale) / (1 + q) if k <= 0 else 1 - math.exp(-k / scale) / (1 + q)


def gaussian_below(scale: float) -> Callable[[int], float]:
    """P(X < k) of the discrete Gaussian distribution, P(X = k) ∝ exp(−k² / 2 scale²).

    Far above one step the sum is the integral (Poisson summation: the error is below exp(−2π² scale²)).
    """
    if scale > 10:
        return lambda k: float(stats.norm.cdf((k - 0.5) / scale))
    reach = math.ceil(40 * scale) + 2
    places = np.arange(-reach, reach + 1)
    mass = np.exp(-((places / scale) ** 2) / 2)
    return lambda k: float(mass[places < k].sum() / mass.sum())


BELOW = {"laplace": laplace_below, "gaussian": gaussian_below}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
def test_the_noise_has_its_mass_function(mechanism: Mechanism, scale: float) -> None:
    seen = draws(with_noise(mechanism, scale), DRAWS)
    reach = max(2, round(4 * scale))
    edges = np.unique(np.linspace(-reach, reach + 1, 60).round().astype(np.int64))
    below = BELOW[mechanism](scale)
    cumulative = np.array([0.0, *(below(int(edge)) for edge in edges), 1.0])
    place = np.searchsorted(edges, seen, side="right")  # of the bin [edge, next edge)
    observed = np.bincount(place, minlength=len(edges) + 1)
    assert _alarm(observed, np.diff(cumulative) * DRAWS) > ALARM


def _alarm(observed: NDArray[np.int64], expected: NDArray[np.float64]) -> float:
    """The probability of a χ² as large; bins in which less than 8 are expected are taken together."""
    rare = expected < 8
    wanted = np.append(expected[~rare], expected[rare].sum())
    found = np.append(observed[~rare], observed[rare].sum())
    if wanted[-1] < 8:  # too few in all to be tested by χ²; they are tested to be few
        assert stats.poisson.sf(found[-1] - 1, max(wanted[-1], 1e-12)) > ALARM or found[-1] == 0
        wanted, found = wanted[:-1], found[:-1]
    statistic = float(((found - wanted) ** 2 / wanted).sum())
    return float(stats.chi2.sf(statistic, max(1, len(wanted) - 1)))


@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
def test_a_scale_that_is_a_tenth_off_is_noticed(mechanism: Mechanism) -> None:
    """The test above has teeth."""
    seen = draws(with_noise(mechanism, 6.6), DRAWS)
    edges = np.arange(-30, 31)
    cumulative = np.array([0.0, *(BELOW[mechanism](7.3)(int(edge)) for edge in edges), 1.0])
    observed = np.bincount(np.searchsorted(edges, seen, side="right"), minlength=len(edges) + 1)
    assert _alarm(observed, np.diff(cumulative) * DRAWS) < ALARM


@pytest.mark.parametrize("scale", [1e3, 1e9, 1e12])
@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
def test_the_last_bits_of_wide_noise_are_as_even_as_coins(mechanism: Mechanism, scale: float) -> None:
    """Noise made of floating-point numbers betrays its sums there (Mironov 2012)."""
    residues = draws(with_noise(mechanism, scale), DRAWS) % 16
    assert stats.chisquare(np.bincount(residues, minlength=16)).pvalue > ALARM


@pytest.mark.parametrize("scale", [0.15, 0.6, 1.0, 7.3, 1e3])
@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
def test_the_variance_that_error_bars_use_is_that_of_the_mass_function(mechanism: Mechanism, scale: float) -> None:
    below, reach = BELOW[mechanism](scale), math.ceil(60 * min(scale, 10)) + 10
    if scale > 10:
        expected = scale**2 * (2 if mechanism == "laplace" else 1)
    else:
        expected = sum(k * k * (below(k + 1) - below(k)) for k in range(-reach, reach + 1))
    found = laplace_variance(scale) if mechanism == "laplace" else gaussian_variance(scale)
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
def test_cells_and_measures_have_noise_of_their_own(mechanism: Mechanism) -> None:
    """The signs of neighbouring cells, of the two measures of a cell, and of the same cell in two releases agree as often
    as coins do: each count is within 5.4 standard deviations, which coins leave once in 1e7."""
    fragment = with_noise(mechanism, 50.5, "SELECT visit_date, COUNT(*), SUM(cost) FROM visits GROUP BY visit_date")
    nothing = pa.table(
        {"k0": pa.array([], pa.date32()), "m0": pa.array([], pa.int64()), "m1": pa.array([], pa.int64())}
    )
    releases = [noisy(fragment, nothing) for _ in range(30)]
    counts, sums = (np.stack([part.column(name).to_numpy() for part in releases]) for name in ("m0", "m1"))
    pairs = {
        "cells": (counts[:, 1:], counts[:, :-1]),
        "measures": (counts, sums),
        "releases": (counts[1:], counts[:-1]),
    }
    for one, other in pairs.values():
        agree = np.sign(one) * np.sign(other)
        agree = agree[agree != 0]
        assert abs(int(agree.sum())) < 5.4 * math.sqrt(agree.size)


@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
@pytest.mark.parametrize("part", ["scale", "share"])
def test_noise_that_is_a_hair_too_small_is_never_drawn(mechanism: Mechanism, part: str) -> None:
    fragment = with_noise(mechanism, 50.0)
    measure = fragment.measures[0]
    weak = (
        replace(measure, scale=measure.scale / 1.02)
        if part == "scale"
        else replace(measure, epsilon=measure.epsilon / 1.03, rho=measure.rho / 1.03)
    )
    with pytest.raises(InternalError, match="too small"):
        draws(replace(fragment, measures=(weak,)), 1)
