"""The one module where randomness enters: OpenDP for releases, seeded numpy for error bars only."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import opendp.prelude as dp
import pyarrow as pa

from privacy.errors import InternalError
from privacy.trees import counts_of_levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from privacy.fragment import Fragment, Measure, Mechanism

dp.enable_features("contrib")

SATURATION = 2**62  # sums are clamped here before noise, so that the noisy value fits an int64


@lru_cache(maxsize=4096)
def laplace_scale(sensitivity: int, epsilon: float) -> float:
    """The least scale of discrete Laplace noise with which a vector of L1 sensitivity `sensitivity` is ε-DP.

    Source: Ghosh, Roughgarden and Sundararajan 2009 (geometric mechanism); OpenDP's privacy map is the judge.
    """
    if sensitivity == 0:
        return 0.0
    scale = sensitivity / epsilon
    while _loss(_laplace(scale), sensitivity) > epsilon:
        scale = math.nextafter(scale, math.inf)
    return scale


@lru_cache(maxsize=4096)
def gaussian_scale(sensitivity: float, rho: float) -> float:
    """The least scale of discrete Gaussian noise with which a vector of L2 sensitivity `sensitivity` is ρ-zCDP.

    Source: Canonne, Kamath and Steinke 2020, Theorem 4; OpenDP's privacy map is the judge.
    """
    if sensitivity == 0:
        return 0.0
    scale = sensitivity / math.sqrt(2 * rho)
    while _loss(_gaussian(scale), sensitivity) > rho:
        scale = math.nextafter(scale * (1 + 1e-15), math.inf)
    return scale


def variance(mechanism: Mechanism, scale: float) -> float:
    """Variance of the noise, in steps²."""
    return laplace_variance(scale) if mechanism == "laplace" else gaussian_variance(scale)


def gaussian_variance(scale: float) -> float:
    """Variance of discrete Gaussian noise, in steps²: from its mass function, which is below scale² for small scales.

    Canonne, Kamath and Steinke 2020, Definition 1 and Corollary 9.
    """
    if scale > _WIDE:
        return scale**2
    reach = int(_WIDE * 10)
    mass = [math.exp(-((k / scale) ** 2) / 2) if scale else 0.0 for k in range(1, reach)]
    return 2 * math.fsum(k * k * p for k, p in enumerate(mass, start=1)) / (1 + 2 * math.fsum(mass))


_WIDE = 5.0  # from here the discrete Gaussian's variance is scale² to the last digit


def laplace_variance(scale: float) -> float:
    """Variance of discrete Laplace noise, in steps².

    2q/(1−q)² with q = exp(−1/scale): Inusah and Kozubowski 2006, equation 2.11.
    """
    if scale == 0:
        return 0.0
    shrink = math.expm1(-1 / scale)  # −(1 − q)
    return 2 * (1 + shrink) / shrink**2


def noisy(fragment: Fragment, exact: pa.Table) -> pa.Table:
    """The release of a fragment: every cell, empty ones too, with the noise that its measures name.

    Args:
        exact: columns as `bounding.bounded_sql` gives them; groups outside `fragment.cells` are dropped.

    Returns:
        The columns of `fragment.cells`, then one int64 column a measure (of a tree, a list of `width` int64), in the
        order of the cells.
    """
    columns = {key.name: fragment.cells.column(key.name) for key in fragment.keys}
    for measure, sums in zip(fragment.measures, _dense(fragment, exact), strict=True):
        released = pa.array(_noised(measure, sums), pa.int64())
        whole = measure.tree is None
        columns[measure.name] = released if whole else pa.FixedSizeListArray.from_arrays(released, measure.width)
    return pa.table(columns)


def _noised(measure: Measure, sums: list[int]) -> list[int]:
    if measure.scale == 0:
        return sums  # no row can change it: sensitivity 0
    if measure.mechanism == "laplace":
        mechanism, share = _laplace(measure.scale), measure.epsilon
        loss = _loss(mechanism, measure.sensitivity)
    else:
        mechanism, share = _gaussian(measure.scale), measure.rho
        loss = _loss(mechanism, measure.sensitivity_l2)
    if loss > share:
        raise InternalError(f"The noise of {measure.name} is too small for its share of the budget.")
    released: list[int] = mechanism(sums)
    return released


def _laplace(scale: float) -> dp.Measurement:
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l1_distance(T="i64")
    return dp.m.make_laplace(*space, scale=scale)


def _gaussian(scale: float) -> dp.Measurement:
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")
    return dp.m.make_gaussian(*space, scale=scale)


def _loss(mechanism: dp.Measurement, sensitivity: float) -> float:
    loss: float = mechanism.map(sensitivity)  # type: ignore[no-untyped-call]
    return loss


def _dense(fragment: Fragment, exact: pa.Table) -> list[list[int]]:
    """One list a measure, `width` integers a cell, one after the other; 0 where no row fell."""
    keys = [key.name for key in fragment.keys]
    place = {cell: number for number, cell in enumerate(_rows(fragment.cells, keys))}
    sums = [[0] * (fragment.cell_count * measure.width) for measure in fragment.measures]
    values = [exact.column(measure.name).to_pylist() for measure in fragment.measures]
    for row, group in enumerate(_rows(exact, keys)):
        cell = place.get(group)
        if cell is None:
            continue
        for target, column, measure in zip(sums, values, fragment.measures, strict=True):
            start = cell * measure.width
            target[start : start + measure.width] = _numbers(measure, column[row])
    return sums


def _numbers(measure: Measure, value: Any) -> list[int]:
    """What a group's value stands for: one sum, or the counts of a tree's nodes."""
    if measure.tree is None:
        return [max(-SATURATION, min(SATURATION, int(value or 0)))]
    leaves = np.zeros(measure.tree.leaves, dtype=np.int64)
    for entry in value or ():
        leaves[entry["leaf"]] += entry["n"]
    nodes: list[int] = counts_of_levels(measure.tree, leaves).tolist()
    return nodes


def _rows(table: pa.Table, columns: list[str]) -> list[tuple[object, ...]]:
    if not columns:
        return [()] * table.num_rows
    return list(zip(*(table.column(name).to_pylist() for name in columns), strict=True))


def simulated_noise(mechanism: Mechanism, scale: float, shape: tuple[int, ...], *, seed: int) -> NDArray[np.float64]:
    """Draws that look like the noise of a release, for error bars only; never added to data."""
    generator = np.random.default_rng(seed)
    if scale == 0:
        return np.zeros(shape)
    return generator.laplace(scale=scale, size=shape) if mechanism == "laplace" else generator.normal(0, scale, shape)
