"""The one module where randomness enters: OpenDP for releases, seeded numpy for error bars only."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import opendp.prelude as dp
import pyarrow as pa
import pyarrow.compute as pc

from privacy import pairs
from privacy.errors import InternalError
from privacy.thresholds import delta_of
from privacy.trees import counts_of_levels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
def pair_scale(sensitivity: int, width: int, epsilon: float) -> float:
    """The scale, in rows, of each of the two draws of noise with which a pair is ε-DP (privacy/pairs.py).

    Args:
        sensitivity: L1, of the count.
        width: the distance of the sum's bounds, in steps; the noise itself is `width` times as wide.
    """
    scale = laplace_scale(sensitivity * width, epsilon) / width
    while _loss(_laplace(scale * width), sensitivity * width) > epsilon:
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
    return _VARIANCES[mechanism](scale)


def pair_variance(scale: float) -> float:
    """Variance of the sum of two Laplace draws, rounded, in steps².

    P(X ≥ t) = e^(−t/b) (1 + t/2b) / 2 for t ≥ 0 (Kotz, Kozubowski and Podgórski 2001, §2.3, of the sum of two).
    """
    if scale > _WIDE:
        return 4 * scale**2 + 1 / 12
    if scale == 0:
        return 0.0
    ends = [(k, (k - 0.5) / scale) for k in range(1, int(_WIDE * 50))]
    return math.fsum((2 * k - 1) * math.exp(-end) * (1 + end / 2) for k, end in ends)


def gaussian_variance(scale: float) -> float:
    """Variance of discrete Gaussian noise, in steps²: from its mass function, which is below scale² for small scales.

    Canonne, Kamath and Steinke 2020, Definition 1 and Corollary 9.
    """
    if scale > _WIDE:
        return scale**2
    reach = int(_WIDE * 10)
    mass = [math.exp(-((k / scale) ** 2) / 2) if scale else 0.0 for k in range(1, reach)]
    return 2 * math.fsum(k * k * p for k, p in enumerate(mass, start=1)) / (1 + 2 * math.fsum(mass))


_WIDE = 5.0  # from here sums and roundings are integrals to the last digit


def laplace_variance(scale: float) -> float:
    """Variance of discrete Laplace noise, in steps².

    2q/(1−q)² with q = exp(−1/scale): Inusah and Kozubowski 2006, equation 2.11.
    """
    if scale == 0:
        return 0.0
    shrink = math.expm1(-1 / scale)  # −(1 − q)
    return 2 * (1 + shrink) / shrink**2


_VARIANCES = {"laplace": laplace_variance, "laplace_pair": pair_variance, "gaussian": gaussian_variance}


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
    names = (measure.name for measure in fragment.measures)
    columns |= _released(fragment.measures, dict(zip(names, _dense(fragment, exact), strict=True)))
    return pa.table(columns)


def _released(measures: Sequence[Measure], sums: Mapping[str, list[int]]) -> dict[str, pa.Array]:
    """By measure, `width` integers a cell, with noise, as the column of a release."""
    noised = _noised_pairs(measures, sums)
    found: dict[str, pa.Array] = {}
    for measure in measures:
        values = noised[measure.name] if measure.name in noised else _noised(measure, sums[measure.name])
        numbers, whole = pa.array(values, pa.int64()), measure.tree is None
        found[measure.name] = numbers if whole else pa.FixedSizeListArray.from_arrays(numbers, measure.width)
    return found


def _noised_pairs(measures: Sequence[Measure], sums: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """The measures that are released two at a time."""
    found: dict[str, list[int]] = {}
    counts = {measure.name: measure for measure in measures if measure.kind == "count"}
    for total in measures:
        if total.mechanism == "laplace_pair" and total.weight is not None:
            count = counts.get(total.weight)
            if count is None or count.mechanism != "laplace_pair" or count.name in found:
                raise InternalError(f"{total.name} is half of a pair whose other half is missing.")
            found[count.name], found[total.name] = _noised_pair(count, total, sums[count.name], sums[total.name])
    return found


def _noised_pair(count: Measure, total: Measure, counts: list[int], sums: list[int]) -> tuple[list[int], list[int]]:
    low, high = total.low, total.high
    mechanism = _laplace(count.scale * (high - low))
    if _loss(mechanism, count.sensitivity * (high - low)) > count.epsilon + total.epsilon:
        raise InternalError(f"The noise of {total.name} is too small for its share of the budget.")
    parts = [max(-SATURATION, min(SATURATION, part)) for part in pairs.apart(counts, sums, low, high)]
    return pairs.joined(mechanism(parts), low, high)


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
    others = [measure for measure in fragment.measures if measure is not decides]
    sums = {measure.name: _flat(measure, groups.column(measure.name)) for measure in others}
    released = _released(others, sums) | {decides.name: groups.column(decides.name)}
    return pa.table(columns | {measure.name: released[measure.name] for measure in fragment.measures})


def _flat(measure: Measure, column: pa.ChunkedArray) -> list[int]:
    """`width` integers a group, one after the other."""
    return [number for value in column.to_pylist() for number in _numbers(measure, value)]


def _noisy_counts(measure: Measure, exact: pa.ChunkedArray) -> NDArray[np.int64]:
    """In parts, because how many groups there are depends on the data, and lists of Python's integers are large."""
    sums = exact.cast(pa.int64()).to_numpy()
    parts = [_noised(measure, sums[start : start + _PART].tolist()) for start in range(0, len(sums), _PART)]
    return np.concatenate([np.empty(0, np.int64), *(np.array(part, np.int64) for part in parts)])


_PART = 100_000


def _noised(measure: Measure, sums: list[int]) -> list[int]:
    if measure.scale == 0:
        return sums  # no row can change it: sensitivity 0
    if measure.mechanism == "laplace_pair":
        raise InternalError(f"{measure.name} is half of a pair whose other half is missing.")
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


WHOLE = 50.0  # noise of less variance is drawn in whole steps, as it is; more is as good as continuous


def simulated_noise(
    mechanism: Mechanism, scale: float, shape: tuple[int, ...], *, seed: int, opposite: bool = False
) -> NDArray[np.float64]:
    """Draws that look like the noise of a release, for error bars only; never added to data.

    Args:
        opposite: of a pair, the sum: the same two draws as the count's, which has the same seed, with opposite signs.
    """
    generator = np.random.default_rng(seed)
    if scale == 0:
        return np.zeros(shape)
    whole = variance(mechanism, scale) < WHOLE
    if mechanism == "gaussian":
        return _whole_gaussian(generator, scale, shape) if whole else generator.normal(0, scale, shape)
    if mechanism == "laplace" and whole:
        # The difference of two geometric draws, each an exponential one rounded down.
        up, down = (np.floor(scale * generator.standard_exponential(shape)) for _ in range(2))
        return up - down
    drawn = generator.laplace(scale=scale, size=shape)
    if mechanism == "laplace":
        return drawn
    other = generator.laplace(scale=scale, size=shape)
    pair = drawn - other if opposite else drawn + other
    return np.rint(pair) if whole else pair


def _whole_gaussian(generator: np.random.Generator, scale: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
    steps = np.arange(-_REACH, _REACH + 1)
    mass = np.exp(-((steps / scale) ** 2) / 2)
    return generator.choice(steps, shape, p=mass / mass.sum()).astype(np.float64)


_REACH = 80  # steps: more than eleven standard deviations
