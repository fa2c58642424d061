"""The one module where randomness enters: OpenDP for releases, seeded numpy for error bars only."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import opendp.prelude as dp
import pyarrow as pa
import pyarrow.compute as pc

from privacy.errors import InternalError
from privacy.thresholds import delta_of
from privacy.trees import counts_of_levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from privacy.fragment import Fragment, Measure, Mechanism, Threshold

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

    Where a threshold decides, every group that passes it instead.

    Args:
        exact: columns as `bounding.bounded_sql` gives them; groups outside `fragment.cells` are dropped.

    Returns:
        The columns of `fragment.cells`, then one int64 column a measure (of a tree, a list of `width` int64), in the
        order of the cells; with a threshold in the order of the keys, NULL last.
    """
    if fragment.threshold is not None:
        return _passing(fragment, fragment.threshold, exact)
    columns = {key.name: fragment.cells.column(key.name) for key in fragment.keys}
    for measure, sums in zip(fragment.measures, _dense(fragment, exact), strict=True):
        columns[measure.name] = _released(measure, sums)
    return pa.table(columns)


def _released(measure: Measure, sums: list[int]) -> pa.Array:
    """`width` integers a cell, with noise, as the column of a release."""
    numbers = pa.array(_noised(measure, sums), pa.int64())
    return numbers if measure.tree is None else pa.FixedSizeListArray.from_arrays(numbers, measure.width)


def _passing(fragment: Fragment, threshold: Threshold, exact: pa.Table) -> pa.Table:
    """The groups of `exact` whose noisy count is above the threshold (privacy/thresholds.py).

    Which of them are left out where there are too many, and their order, follows from the keys and noisy counts that
    passed: post-processing. Nothing may be left out before the noise, because one unit's groups could take the place of
    others'.
    """
    decides = next(measure for measure in fragment.measures if measure.name == threshold.measure)
    if delta_of(threshold, decides, fragment.bounding) > threshold.delta:
        raise InternalError("The threshold is too low for its δ.")
    exact = exact.filter(pc.greater_equal(exact.column(decides.name).cast(pa.int64()), threshold.least))
    counts = _noisy_counts(decides, exact.column(decides.name))
    exact = exact.set_column(exact.column_names.index(decides.name), decides.name, pa.array(counts))
    groups = exact.filter(pa.array(counts > threshold.above))
    by_keys = [(key.name, "ascending") for key in fragment.keys]
    if groups.num_rows > threshold.most_groups:
        groups = groups.sort_by([(decides.name, "descending"), *by_keys]).slice(0, threshold.most_groups)
    groups = groups.sort_by(by_keys)
    columns = {field.name: groups.column(field.name).cast(field.type) for field in fragment.cells.schema}
    for measure in fragment.measures:
        column = groups.column(measure.name)
        if measure is not decides:
            column = _released(measure, [one for value in column.to_pylist() for one in _numbers(measure, value)])
        columns[measure.name] = column
    return pa.table(columns)


def _noisy_counts(measure: Measure, exact: pa.ChunkedArray) -> NDArray[np.int64]:
    """In parts, because how many groups there are depends on the data, and lists of Python's integers are large."""
    sums = exact.cast(pa.int64()).to_numpy()
    parts = [_noised(measure, sums[start : start + _PART].tolist()) for start in range(0, len(sums), _PART)]
    return np.concatenate([np.empty(0, np.int64), *(np.array(part, np.int64) for part in parts)])


_PART = 100_000


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
