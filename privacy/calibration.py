"""Which mechanism, and how much of the budget each measure gets: what makes the predicted error least.

The error of an answer is predicted as Σ over measures of importance × variance / unit², where `unit` is the largest
value of one row and `importance` says how the measure shows in the columns of the answer (privacy/measures.py). With
shares s of the budget (Σ s = 1):

    discrete Laplace    variance ≈ 2 (Δ₁ / (ε s))²    least for s ∝ (importance × (Δ₁/unit)²)^⅓
    discrete Gaussian   variance ≈ Δ₂² / (2 ρ s)      least for s ∝ (importance × (Δ₂/unit)²)^½

    pair of both        variance ≈ 4 (Δ₁ / (ε s))² for a count and a centred sum of its rows (privacy/pairs.py)

by Lagrange multipliers: the error is (Σ c^⅓)³ or (Σ c^½)² for the coefficients c of 1/s² or 1/s, so a count is paired
with the sum that makes its part of that sum least, or with none. Everything that goes in is public: catalog, query,
declared limits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from privacy.fragment import Bounding, Measure, Mechanism
from privacy.measures import RawMeasure
from privacy.noise import gaussian_scale, laplace_scale, pair_scale, variance
from privacy.stability import sensitivity, sensitivity_l2

_HIDDEN = 0.1  # importance of a measure that only HAVING or ORDER BY looks at
WITHIN = 1 - 1e-12  # so that rounded shares, of ε, ρ or δ, never add up to more than the whole


@dataclass(frozen=True)
class Spendable:
    """What one node may spend on a fragment: ε with Laplace noise, or ρ with Gaussian."""

    epsilon: float
    rho: float


def calibrate(
    raws: Sequence[RawMeasure],
    bounding: Bounding,
    importance: Mapping[str, float],
    spendable: Spendable,
    mechanism: Mechanism,
    *,
    alone: str = "",
) -> tuple[Measure, ...]:
    """The measures with their shares of the budget and their noise.

    Args:
        alone: a measure that is in no pair: one whose noise must be of `mechanism` itself.
    """
    parts = _parts(raws, bounding, importance, mechanism, alone)
    shares = _shares(list(dict.fromkeys(parts.values())), bounding, importance, mechanism)
    return tuple(
        _measure(raw, parts[raw.name], bounding, spendable, mechanism, shares[parts[raw.name]] * WITHIN) for raw in raws
    )


def difficulty(
    raws: Sequence[RawMeasure],
    bounding: Bounding,
    importance: Mapping[str, float],
    mechanism: Mechanism,
    *,
    alone: str = "",
) -> float:
    """Σ of the roots that shares are in proportion to: how much of a budget the measures need."""
    parts = dict.fromkeys(_parts(raws, bounding, importance, mechanism, alone).values())
    return math.fsum(_ROOTS[mechanism](part.coefficient(bounding, importance, mechanism)) for part in parts)


def predicted_error(measures: Sequence[Measure], importance: Mapping[str, float]) -> float:
    """Σ importance × variance / unit² of calibrated measures: what `calibrate` makes least."""
    return sum(
        important(measure.name, importance) * variance(measure.mechanism, measure.scale) / _unit(measure) ** 2
        for measure in measures
    )


_ROOTS = {"laplace": math.cbrt, "gaussian": math.sqrt}
_LEAST_WIDTH = 100  # steps, of the sum of a pair: the centre is the middle to 1 %


@dataclass(frozen=True)
class _Part:
    """What has one share of the budget: a measure, or a count and a sum."""

    first: RawMeasure
    total: RawMeasure | None = None

    def coefficient(self, bounding: Bounding, importance: Mapping[str, float], mechanism: Mechanism) -> float:
        """Error × (ε s)² / 2 of Laplace noise, error × 2 ρ s of Gaussian."""
        most = sensitivity if mechanism == "laplace" else sensitivity_l2
        members = [raw for raw in (self.first, self.total) if raw is not None]
        return len(members) * math.fsum(
            important(raw.name, importance) * (most(raw, bounding) / _unit(raw)) ** 2 for raw in members
        )


def _parts(
    raws: Sequence[RawMeasure],
    bounding: Bounding,
    importance: Mapping[str, float],
    mechanism: Mechanism,
    alone: str,
) -> dict[str, _Part]:
    """By measure, what it shares its budget with."""
    pairable = [raw for raw in raws if raw.name != alone]
    parts = _pairs(pairable, bounding, importance) if mechanism == "laplace" else {}
    return parts | {raw.name: _Part(raw) for raw in raws if raw.name not in parts}


def _shares(
    parts: Sequence[_Part], bounding: Bounding, importance: Mapping[str, float], mechanism: Mechanism
) -> dict[_Part, float]:
    roots = [_ROOTS[mechanism](part.coefficient(bounding, importance, mechanism)) for part in parts]
    whole = math.fsum(roots)
    return {part: root / whole if whole else 1 / len(parts) for part, root in zip(parts, roots, strict=True)}


def _pairs(raws: Sequence[RawMeasure], bounding: Bounding, importance: Mapping[str, float]) -> dict[str, _Part]:
    """By measure, the pair that it is in; a measure that is in none is missing."""
    found: dict[str, _Part] = {}
    for count in raws:
        best = min(_pairings(count, raws, bounding, importance), key=lambda pair: pair[0], default=None)
        if best is not None and best[0] < 0:
            found[count.name] = found[best[1].name] = _Part(count, best[1])
    return found


def _pairings(
    count: RawMeasure, raws: Sequence[RawMeasure], bounding: Bounding, importance: Mapping[str, float]
) -> Iterator[tuple[float, RawMeasure]]:
    """Every sum that `count` may be paired with, and by how much that changes the sum of the roots."""

    def root(part: _Part) -> float:
        return math.cbrt(part.coefficient(bounding, importance, "laplace"))

    for raw in raws:
        if raw.weight == count.name and raw.high - raw.low >= _LEAST_WIDTH:
            yield root(_Part(count, raw)) - root(_Part(count)) - root(_Part(raw)), raw


def important(name: str, importance: Mapping[str, float]) -> float:
    """How much a measure matters, one that no column shows too."""
    return importance.get(name, 0.0) or _HIDDEN


def _unit(measure: RawMeasure | Measure) -> int:
    return max(abs(measure.low), abs(measure.high), 1)


def _measure(
    raw: RawMeasure, part: _Part, bounding: Bounding, spendable: Spendable, mechanism: Mechanism, share: float
) -> Measure:
    l1, l2 = sensitivity(raw, bounding), sensitivity_l2(raw, bounding)
    epsilon = spendable.epsilon * share if mechanism == "laplace" and l1 else 0.0
    rho = spendable.rho * share if mechanism == "gaussian" and l1 else 0.0
    if part.total is not None:
        width = part.total.high - part.total.low
        scale = _unit(raw) * pair_scale(sensitivity(part.first, bounding), width, epsilon)
        mechanism, epsilon = "laplace_pair", epsilon / 2  # each half carries half of their ε
    else:
        scale = laplace_scale(l1, epsilon) if mechanism == "laplace" else gaussian_scale(l2, rho)
    return Measure(
        **vars(raw),
        mechanism=mechanism,
        sensitivity=l1,
        sensitivity_l2=l2,
        epsilon=epsilon,
        rho=rho,
        scale=scale,
    )
