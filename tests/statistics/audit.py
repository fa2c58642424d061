"""An audit of a privacy claim: does what a node releases contradict it?

With p = P(A | D) and q = P(A | D′), for neighbouring data sets D, D′ and every event A,

    ε-DP      p ≤ e^ε q
    ρ-zCDP    D_α(p ‖ q) ≤ α ρ for every α > 1, where D_α is the Rényi divergence of the two coins (data processing)

A threshold's δ stands beside either: apart from an event of probability δ, under D and under D′, the inequality holds
(Bun and Steinke 2016, Definition 8.1). What is left of A then has a probability of at least (p − δ) / (1 − δ) under D, of
at most q / (1 − δ) under D′, and these two are tested: for ε that is p ≤ e^ε q + δ.

The audit draws many releases of both data sets through the node's own noise, looks for events that tell them apart, and
tests these inequalities on fresh releases with exact (Clopper–Pearson) bounds of p and q. Nothing that the fragment says
of its noise is believed: events are chosen by how the first releases look, and tested on the others.

The probability that an audit contradicts a true claim is below FALSE_ALARM, whatever events were chosen; see `_Bounds`.
Methods: Ding et al. 2018 (StatDP), Bichsel et al. 2021 (DP-Sniper: events chosen on one part, tested on another), Bun and
Steinke 2016, Definition 1.1 and Lemma 2.2 (zCDP and its data processing inequality).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import stats

from privacy.accounting import Charge
from privacy.codes import group_of_cells
from privacy.fragment import Fragment, Measure
from privacy.noise import noisy
from tests.statistics.copies import repeated, repeated_rows

RELEASES = 20_000  # of each data set, beside those on which events are chosen
CHOOSING = 2_000
LOOKS = (2_000, 6_000, RELEASES)  # a claim that is grossly wrong is contradicted at an early look
EVENTS = 12  # that are tested, of those that were tried
FALSE_ALARM = 1e-7
COPIES = 200  # of the fragment in one call of `noisy`
ORDERS = (1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0)  # α of the Rényi divergences that are looked at; 1 is the limit
QUANTILES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995)

Releases = NDArray[np.float64]  # one row a release, one column for each cell and measure
Source = Callable[[int], Releases]
Score = Callable[[Releases], NDArray[np.float64]]


@dataclass(frozen=True)
class Finding:
    """What an audit says.

    Attributes:
        contradicted: the claim is false, but for a probability of FALSE_ALARM.
        epsilon: a lower bound of the true ε, at the δ of the claim, by the event that tells most.
        releases: how many of each data set were drawn.
    """

    contradicted: bool
    epsilon: float
    releases: int


@dataclass(frozen=True)
class Noising:
    """Releases of one fragment over one exact result, through `privacy.noise.noisy`.

    Attributes:
        fragment: with the noise that the node would add.
        exact: the result of the node's engine.
    """

    fragment: Fragment
    exact: pa.Table

    def __call__(self, count: int) -> Releases:
        """`count` independent releases.

        One call of `noisy` makes COPIES of them: the fragment's cells are repeated under one more key.
        """
        copies = min(COPIES, count)
        wide, exact = repeated(self.fragment, copies), repeated_rows(self.exact, copies)
        with ThreadPoolExecutor(2) as both_cores:
            parts = both_cores.map(lambda _: _joint(wide, noisy(wide, exact), copies), range(math.ceil(count / copies)))
            return np.concatenate(list(parts))[:count]


def together(*sources: Source) -> Source:
    """The joint releases of several nodes."""
    return lambda count: np.hstack([source(count) for source in sources])


def audit(one: Source, other: Source, claim: Charge) -> Finding:
    """Test that the releases of two neighbouring data sets are as close as `claim` says, in both directions."""
    first = one(CHOOSING), other(CHOOSING)
    events = _most_telling(_scores(*first), *first, claim)
    seen = (np.empty((0, 0)), np.empty((0, 0)))
    most = 0.0
    for look in LOOKS:
        seen = tuple(
            source(look) if not len(rows) else np.concatenate([rows, source(look - len(rows))])
            for source, rows in zip((one, other), seen, strict=True)
        )
        hits = [(event.count(seen[0]), event.count(seen[1])) for event in events]
        tested = [_Bounds.of(p, q, look) for pair in hits for p, q in (pair, pair[::-1])]
        most = max((bounds.epsilon(claim.delta) for bounds in tested), default=0.0)
        if any(bounds.contradict(claim) for bounds in tested):
            return Finding(True, most, look)
    return Finding(False, most, LOOKS[-1])


@dataclass(frozen=True)
class _Event:
    """{score ≥ threshold}, or {score ≤ threshold}."""

    score: Score
    threshold: float
    above: bool

    def count(self, rows: Releases) -> int:
        values = self.score(rows)
        return int(np.count_nonzero(values >= self.threshold if self.above else values <= self.threshold))


@dataclass(frozen=True)
class _Bounds:
    """P(A | D) is at least `least`, P(A | D′) at most `most`.

    Each bound is exceeded with probability FALSE_ALARM / (looks × EVENTS × 2 directions × 2 bounds) at most, so that all
    of an audit's bounds hold together but for FALSE_ALARM.
    """

    least: float
    most: float

    @staticmethod
    def of(hits: int, others: int, count: int) -> _Bounds:
        each = FALSE_ALARM / (len(LOOKS) * EVENTS * 2 * 2)
        least = float(stats.beta.ppf(each, hits, count - hits + 1)) if hits else 0.0
        most = float(stats.beta.isf(each, others + 1, count - others)) if others < count else 1.0
        return _Bounds(least, most)

    def epsilon(self, delta: float) -> float:
        return max(0.0, math.log((self.least - delta) / self.most)) if self.least > delta else 0.0

    def contradict(self, claim: Charge) -> bool:
        return _strain(self.least, self.most, claim) > 1


def _strain(p: float, q: float, claim: Charge) -> float:
    """How much of the claimed loss an event of these probabilities takes; above 1 it contradicts the claim."""
    p, q = max(p - claim.delta, 0.0) / (1 - claim.delta), min(q / (1 - claim.delta), 1.0)
    if p <= q or p == 0:
        return 0.0
    if not claim.rho:
        return math.log(p / q) / claim.epsilon if q else math.inf
    rho = claim.rho + claim.epsilon**2 / 2  # what is pure is zCDP too
    return max(_divergence(p, q, order) / (order * rho) for order in ORDERS)


def _divergence(p: float, q: float, order: float) -> float:
    """The Rényi divergence of two coins."""
    if q in (0.0, 1.0) or p == 1.0:
        return math.inf if q == 0.0 else math.log(1 / q) if p == 1.0 and q else 0.0
    if order == 1:
        return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    parts = ((order * math.log(a) + (1 - order) * math.log(b)) for a, b in ((p, q), (1 - p, 1 - q)))
    return float(np.logaddexp(*parts)) / (order - 1)


def _scores(one: Releases, other: Releases) -> list[Score]:
    """Numbers that are larger where D is likelier than D′, as far as these releases tell."""
    middle_one, middle_other = np.median(one, axis=0), np.median(other, axis=0)
    spread = np.maximum(np.mean(np.abs(other - middle_other), axis=0), 0.5)
    shift = (middle_one - middle_other) / spread
    moved = np.abs(shift) > 0.05  # the rest is noise alone
    sign, near = np.sign(shift) * moved, (middle_one - middle_other) * moved

    def laplace(rows: Releases) -> NDArray[np.float64]:  # the log of the likelihood ratio of Laplace noise
        return ((np.abs(rows - middle_other) - np.abs(rows - middle_one)) / spread * moved).sum(axis=1)

    def gaussian(rows: Releases) -> NDArray[np.float64]:  # and of Gaussian noise
        return rows @ (near / spread**2)

    def orthant(rows: Releases) -> NDArray[np.float64]:  # the worst coordinate: high only where all point to D
        scaled = np.where(moved, sign * (rows - middle_one) / spread, np.inf)
        worst: NDArray[np.float64] = scaled.min(axis=1)
        return worst

    def rare(rows: Releases) -> NDArray[np.float64]:  # how far any number is from where it lies without
        furthest: NDArray[np.float64] = (np.abs(rows - middle_other) / spread).max(axis=1)
        return furthest

    def projection(weights: NDArray[np.float64]) -> Score:
        return lambda rows: rows @ weights

    each = [projection(sign * (np.arange(len(sign)) == place)) for place in np.flatnonzero(moved)]
    together = [laplace, gaussian, orthant, projection(sign / spread)]
    unmoved = [rare, projection(np.ones(len(sign)))]
    return [*together, *unmoved, *each] if moved.any() else unmoved


def _most_telling(scores: Sequence[Score], one: Releases, other: Releases, claim: Charge) -> list[_Event]:
    """The events that promise to strain the claim most once all releases are drawn."""
    found: list[tuple[float, _Event]] = []
    for score in scores:
        values = score(one), score(other)
        for threshold in np.unique(np.quantile(np.concatenate(values), QUANTILES)):
            for above in (True, False):
                p, q = (float(np.mean(part >= threshold if above else part <= threshold)) for part in values)
                promise = max(_promise(p, q, claim), _promise(q, p, claim))
                found.append((promise, _Event(score, float(threshold), above)))
    found.sort(key=lambda pair: -pair[0])
    return [event for _, event in found[:EVENTS]]


def _promise(p: float, q: float, claim: Charge) -> float:
    """The strain that is left when both probabilities give way by five standard deviations."""
    slack = [5 * math.sqrt((share * (1 - share) + 1 / CHOOSING) / RELEASES) for share in (p, q)]
    return _strain(max(p - slack[0], 0.0), min(q + slack[1], 1.0), claim)


def _joint(fragment: Fragment, release: pa.Table, copies: int) -> Releases:
    """One row a copy: its cells of the first measure, then of the next; of a coarser level, each group once."""
    columns = (_numbers(fragment, measure, release) for measure in fragment.measures)
    plain = (column.flatten() if pa.types.is_fixed_size_list(column.type) else column for column in columns)
    return np.hstack([column.to_numpy().reshape(copies, -1) for column in plain]).astype(np.float64)


def _numbers(fragment: Fragment, measure: Measure, release: pa.Table) -> pa.Array:
    column = release.column(measure.name).combine_chunks()
    if measure.level is None:
        return column
    first = np.unique(group_of_cells(fragment, measure.level), return_index=True)[1]
    return column.take(pa.array(np.sort(first)))
