"""The one module where randomness enters: OpenDP for releases, seeded numpy for error bars only."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import opendp.prelude as dp
import pyarrow as pa
import pyarrow.compute as pc

from privacy import pairs
from privacy.codes import group_of_cells
from privacy.dense import SATURATION, dense, numbers
from privacy.errors import InternalError
from privacy.thresholds import delta_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from privacy.fragment import Fragment, Measure, Mechanism, Threshold

    Vector = NDArray[np.int64]

dp.enable_features("contrib")

_INTEGERS = dp.vector_domain(dp.atom_domain(T="i64"))
_L1 = _INTEGERS, dp.l1_distance(T="i64")
_L2 = _INTEGERS, dp.l2_distance(T="f64")


@lru_cache(maxsize=1024)
def _made(mechanism: Mechanism, scale: float) -> dp.Measurement:
    """OpenDP's mechanism over vectors of integers; kept, since the planner has it made to find the scale."""
    if mechanism == "gaussian":
        return dp.m.make_gaussian(*_L2, scale=scale)
    return dp.m.make_laplace(*_L1, scale=scale)


@lru_cache(maxsize=4096)
def _loss(mechanism: Mechanism, scale: float, sensitivity: float) -> float:
    """The ε of Laplace noise, or the ρ of Gaussian, on a vector that one unit changes by no more than `sensitivity`."""
    loss: float = _made(mechanism, scale).map(sensitivity)  # type: ignore[no-untyped-call]
    return loss


@lru_cache(maxsize=4096)
def laplace_scale(sensitivity: int, epsilon: float) -> float:
    """The least scale of discrete Laplace noise with which a vector of L1 sensitivity `sensitivity` is ε-DP.

    Source: Ghosh, Roughgarden and Sundararajan 2009 (geometric mechanism); OpenDP's privacy map is the judge.
    """
    if sensitivity == 0:
        return 0.0
    scale = sensitivity / epsilon
    while _loss("laplace", scale, sensitivity) > epsilon:
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
    while _loss("laplace", scale * width, sensitivity * width) > epsilon:
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
    while _loss("gaussian", scale, sensitivity) > rho:
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


def noisy(fragment: Fragment, exact: pa.Table, *, threads: int = 1) -> pa.Table:
    """The release of a fragment: every cell, empty ones too, with the noise that its measures name.

    Where a threshold decides, every group that passes it instead.

    Args:
        exact: columns as `bounding.bounded_sql` gives them; groups outside `fragment.cells` are dropped.
        threads: that may draw the noise of one large release.

    Returns:
        The columns of `fragment.cells`, then one int64 column a measure (of a tree, a list of `width` int64), in the
        order of the cells; with a threshold in the order of the keys, NULL last.
    """
    if fragment.threshold is not None:
        return _passing(fragment, fragment.threshold, exact, threads)
    columns = {key.name: fragment.cells.column(key.name) for key in fragment.keys}
    released = _released(fragment.measures, dense(fragment, exact), threads)
    for measure in fragment.measures:
        column = released[measure.name]
        if measure.level is not None:
            column = column.take(pa.array(group_of_cells(fragment, measure.level)))
        columns[measure.name] = column
    return pa.table(columns)


def _passing(fragment: Fragment, threshold: Threshold, exact: pa.Table, threads: int) -> pa.Table:
    """The groups of `exact` whose noisy count is above the threshold (privacy/thresholds.py).

    Which of them are left out where there are too many, and their order, follows from the keys and noisy counts that
    passed: post-processing. Nothing may be left out before the noise, because one unit's groups could take the place of
    others'.
    """
    decides = next(measure for measure in fragment.measures if measure.name == threshold.measure)
    if delta_of(threshold, decides, fragment.bounding) > threshold.delta:
        raise InternalError("The threshold is too low for its δ.")
    exact = exact.filter(pc.greater_equal(exact.column(decides.name).cast(pa.int64()), threshold.least))
    [counts] = _drawn([_alone(decides, numbers(decides, exact.column(decides.name)))], threads)
    exact = exact.set_column(exact.column_names.index(decides.name), decides.name, pa.array(counts))
    groups = exact.filter(pa.array(counts > threshold.above))
    by_keys = [(key.name, "ascending") for key in fragment.keys]
    if groups.num_rows > threshold.most_groups:
        groups = groups.sort_by([(decides.name, "descending"), *by_keys]).slice(0, threshold.most_groups)
    groups = groups.sort_by(by_keys)
    columns = {field.name: groups.column(field.name).cast(field.type) for field in fragment.cells.schema}
    others = [measure for measure in fragment.measures if measure is not decides]
    sums = {measure.name: numbers(measure, groups.column(measure.name)) for measure in others}
    released = _released(others, sums, threads) | {decides.name: groups.column(decides.name)}
    return pa.table(columns | {measure.name: released[measure.name] for measure in fragment.measures})


def _released(measures: Sequence[Measure], sums: Mapping[str, Vector], threads: int) -> dict[str, pa.Array]:
    """By measure, `width` integers a cell, with noise, as the column of a release."""
    paired = list(_pairs(measures))
    halves = {measure.name for pair in paired for measure in pair}
    draws = {measure.name: _alone(measure, sums[measure.name]) for measure in measures if measure.name not in halves}
    draws |= {total.name: _together(count, total, sums[count.name], sums[total.name]) for count, total in paired}
    noised = dict(zip(draws, _drawn(list(draws.values()), threads), strict=True))
    for count, total in paired:
        noised[count.name], noised[total.name] = pairs.joined(noised[total.name], total.low, total.high)
    return {measure.name: _column(measure, noised[measure.name]) for measure in measures}


def _pairs(measures: Sequence[Measure]) -> Iterator[tuple[Measure, Measure]]:
    """The counts and sums that are released two at a time."""
    counts = {measure.name: measure for measure in measures if measure.kind == "count"}
    for total in measures:
        if total.mechanism == "laplace_pair" and total.weight is not None:
            count = counts.pop(total.weight, None)
            if count is None or count.mechanism != "laplace_pair":
                raise InternalError(f"{total.name} is half of a pair whose other half is missing.")
            yield count, total


def _column(measure: Measure, values: Vector) -> pa.Array:
    column = pa.array(values)
    return column if measure.tree is None else pa.FixedSizeListArray.from_arrays(column, measure.width)


@dataclass(frozen=True)
class _Draw:
    """Noise to be drawn: `mechanism`, which was found to lose no more than its share of the budget, over `sums`."""

    mechanism: dp.Measurement
    sums: Vector


def _alone(measure: Measure, sums: Vector) -> _Draw:
    if measure.mechanism == "laplace_pair":
        raise InternalError(f"{measure.name} is half of a pair whose other half is missing.")
    gaussian = measure.mechanism == "gaussian"
    sensitivity, share = (measure.sensitivity_l2, measure.rho) if gaussian else (measure.sensitivity, measure.epsilon)
    return _checked(measure, measure.mechanism, measure.scale, sensitivity, share, sums)


def _together(count: Measure, total: Measure, counts: Vector, sums: Vector) -> _Draw:
    """The draw of a pair: its u, then its v (privacy/pairs.py)."""
    width = total.high - total.low
    parts = pairs.apart(counts, sums, total.low, total.high).clip(-SATURATION, SATURATION).astype(np.int64)
    scale, sensitivity, share = count.scale * width, count.sensitivity * width, count.epsilon + total.epsilon
    return _checked(total, "laplace", scale, sensitivity, share, parts)


def _checked(
    measure: Measure, mechanism: Mechanism, scale: float, sensitivity: float, share: float, sums: Vector
) -> _Draw:
    if _loss(mechanism, scale, sensitivity) > share:
        raise InternalError(f"The noise of {measure.name} is too small for its share of the budget.")
    return _Draw(_made(mechanism, scale), sums)


def _drawn(draws: Sequence[_Draw], threads: int) -> list[Vector]:
    """The sums of each draw with their noise, drawn by up to `threads` threads.

    Vectors are cut into pieces, and each piece has a call of its own. That is the same release: a mechanism adds noise
    to every coordinate by itself, so calls on the pieces and one call on the whole have one distribution. What the
    whole loses is asked before, for a sensitivity that is that of all coordinates together and does not depend on cuts.

    Threads help because OpenDP draws outside Python's lock.
    """
    cut = [_pieces(draw.sums) for draw in draws]
    calls = [(draw.mechanism, piece) for draw, pieces in zip(draws, cut, strict=True) for piece in pieces]
    threads = min(threads, sum(len(draw.sums) for draw in draws) // _PIECE)
    if threads > 1:
        with ThreadPoolExecutor(threads, thread_name_prefix="noise") as pool:
            noised = iter(list(pool.map(_called, calls)))
    else:
        noised = map(_called, calls)
    return [np.concatenate([next(noised) for _ in pieces]) for pieces in cut]


_PIECE = 1_000  # integers: their noise takes some 10 ms, beside which a call and a thread cost little


def _pieces(sums: Vector) -> list[Vector]:
    return np.array_split(sums, len(sums) // _PIECE) if len(sums) >= 2 * _PIECE else [sums]


def _called(call: tuple[dp.Measurement, Vector]) -> Vector:
    mechanism, sums = call
    return np.array(mechanism(sums), np.int64)


WHOLE = 50.0  # noise of less variance is drawn in whole steps, as it is; more is as good as continuous


def simulated_noise(
    mechanism: Mechanism, scale: float, shape: tuple[int, ...], *, seed: int, opposite: bool = False, nodes: int = 1
) -> NDArray[np.float64]:
    """Draws that look like the noise of a release, for error bars only; never added to data.

    Args:
        opposite: of a pair, the sum: the same two draws as the count's, which has the same seed, with opposite signs.
        nodes: that release, each with noise of its own, which is added up.
    """
    generator = np.random.default_rng(seed)
    if scale == 0:
        return np.zeros(shape)
    if variance(mechanism, scale) < WHOLE:
        total = np.zeros(shape)
        for _ in range(nodes):
            total += _whole_noise(generator, mechanism, scale, shape, opposite=opposite)
        return total
    if mechanism == "gaussian":
        return generator.normal(0, scale * math.sqrt(nodes), shape)
    drawn = _laplace(generator, scale, shape, nodes)
    if mechanism == "laplace":
        return drawn
    other = _laplace(generator, scale, shape, nodes)
    return drawn - other if opposite else drawn + other


def _laplace(generator: np.random.Generator, scale: float, shape: tuple[int, ...], terms: int) -> NDArray[np.float64]:
    """Sums of `terms` Laplace draws: each is the difference of two exponential ones, whose sums are Gamma draws."""
    up, down = (generator.standard_gamma(terms, shape) for _ in range(2))
    return scale * (up - down)


def _whole_noise(
    generator: np.random.Generator, mechanism: Mechanism, scale: float, shape: tuple[int, ...], *, opposite: bool
) -> NDArray[np.float64]:
    """In whole steps, as the noise of a release is: where it is small that shows."""
    if mechanism == "gaussian":
        return _whole_gaussian(generator, scale, shape)
    if mechanism == "laplace":
        # The difference of two geometric draws, each an exponential one rounded down.
        up, down = (np.floor(scale * generator.standard_exponential(shape)) for _ in range(2))
        return up - down
    drawn, other = (_laplace(generator, scale, shape, 1) for _ in range(2))
    return np.rint(drawn - other if opposite else drawn + other)


def _whole_gaussian(generator: np.random.Generator, scale: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
    steps = np.arange(-_REACH, _REACH + 1)
    mass = np.exp(-((steps / scale) ** 2) / 2)
    return generator.choice(steps, shape, p=mass / mass.sum()).astype(np.float64)


_REACH = 80  # steps: more than eleven standard deviations
