"""Groups without a public list: which of them are released, and why that is (ε, δ)-DP.

A node looks at the groups that its bounded rows fall into. It counts the distinct units of each, adds noise Z, and
releases the group only if count + Z > `above`. Groups of fewer than `least` units are never released.

Let two data sets differ by one unit x. Bounding leaves x in at most L0 = `max_groups` groups; it adds 1 to the count of
each. Then there are two kinds of groups that x is in:

    groups that reach `least` units only with x can be released with x and never without. Each passes with
        p = P[least + Z > above], any of them with at most L0 × p. The threshold is the least for which that is ≤ δ.
    groups that reach it without x too: their counts differ by 1 in at most L0 groups, and the other measures by no more
        than their sensitivities. That is what ε, or ρ, pays for: the decision is post-processing of the noisy count,
        and the other measures' noise is drawn apart from it.

So the release is δ-approximately ε-DP or ρ-zCDP (Bun and Steinke 2016, Definition 8.1): apart from an event of
probability δ it is what a release over fixed groups would be. Both δ and ε (or ρ) add up over nodes and queries.
Sources: Korolova et al. 2009; Wilson et al. 2020, §3.2; Rogers 2023, "A Unifying Privacy Analysis Framework for Unknown
Domain Algorithms", Algorithm 1, for both kinds of noise.

Strictly above: OpenDP's thresholded mechanisms release what is equal to the threshold too, and their δ leaves that out
(OpenDP issues 2922, 2923). With `>` their δ is the right one (for Gaussian noise a bound, a step wide), and the tests
hold ours against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from privacy.errors import RequestRefused
from privacy.fragment import Bounding, Measure, Mechanism, Threshold

SMALLEST_DELTA = 1e-100  # a smaller δ counts as none
# (threshold / standard deviation of the noise)² at usual δ: a group that is left out errs by up to its threshold.
DECIDES: dict[Mechanism, float] = {"laplace": 256.0, "gaussian": 36.0}

_LEAST_COSTS = 20  # `least` may raise the threshold by one part in 20, and spares the node its rarest groups
_LARGEST = 2**53
_ROUNDED_UP = 1 + 1e-9  # more than the tails lose to rounding
_WIDE = 1_000.0  # from this scale on a bound stands for the Gaussian tail, which it exceeds by a shift of one step
_REACH = 39  # standard deviations; the mass beyond is below the least float


def choose_threshold(measure: Measure, bounding: Bounding, *, delta: float, most_groups: int) -> Threshold:
    """The least threshold on `measure` that costs no more than `delta`.

    Raises:
        RequestRefused: ε is so small that no group could ever be released.
    """
    each = delta / bounding.max_groups
    step = _steps(measure.mechanism, measure.scale, each)
    least = 1 + (step - 1) // _LEAST_COSTS
    return Threshold(measure.name, least + step - 1, least, delta, most_groups)


def delta_of(threshold: Threshold, measure: Measure, bounding: Bounding) -> float:
    """The chance that any group which only one unit lifts to `least` is released, for all groups of that unit."""
    return bounding.max_groups * tail(measure.mechanism, measure.scale, threshold.above - threshold.least + 1)


def tail(mechanism: Mechanism, scale: float, steps: int) -> float:
    """P[Z ≥ steps] of the noise Z, for steps ≥ 1; never too small, and too large by no more than its rounding."""
    assert steps >= 1
    return _TAILS[mechanism](scale, steps) * _ROUNDED_UP


def _steps(mechanism: Mechanism, scale: float, chance: float) -> int:
    """The least k ≥ 1 with P[Z ≥ k] ≤ `chance`."""
    bits = -math.log(chance)
    enough = scale * bits if mechanism == "laplace" else scale * math.sqrt(2 * bits)
    if not enough < _LARGEST:
        raise RequestRefused(
            "With so small an ε no group could be shown.", remedy="Ask with a larger epsilon, or group by public keys."
        )
    few, many = 1, math.ceil(enough) + 2
    while few < many:
        middle = (few + many) // 2
        if tail(mechanism, scale, middle) <= chance:
            many = middle
        else:
            few = middle + 1
    return few


def _laplace_tail(scale: float, steps: int) -> float:
    """Of discrete Laplace noise: q^k / (1 + q) with q = exp(−1/scale) (Inusah and Kozubowski 2006, equation 2.2)."""
    return math.exp(-steps / scale) / (1 + math.exp(-1 / scale))


def _gaussian_tail(scale: float, steps: int) -> float:
    """Of discrete Gaussian noise, from its mass function (Canonne, Kamath and Steinke 2020, Definition 1)."""
    if scale > _WIDE:  # there Proposition 25: P[Z ≥ k] ≤ P[N(0, σ²) ≥ k − 1]
        return math.erfc((steps - 1) / (scale * math.sqrt(2))) / 2
    tails = _gaussian_tails(scale)
    return float(tails[steps]) if steps < len(tails) else 0.0


@lru_cache(maxsize=64)
def _gaussian_tails(scale: float) -> NDArray[np.float64]:
    """P[Z ≥ k] at place k."""
    steps = np.arange(math.ceil(_REACH * scale) + 2)
    mass = np.exp(-((steps / scale) ** 2) / 2)
    above = np.cumsum(mass[::-1])[::-1]  # the smallest first, so that nothing is lost
    tails: NDArray[np.float64] = above / (2 * above[0] - 1)
    return tails


_TAILS: dict[Mechanism, Callable[[float, int], float]] = {"laplace": _laplace_tail, "gaussian": _gaussian_tail}
