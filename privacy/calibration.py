"""Which mechanism, and how much of the budget each measure gets: what makes the predicted error least.

The error of an answer is predicted as Σ over measures of importance × variance / unit², where `unit` is the largest
value of one row and `importance` says how the measure shows in the columns of the answer (privacy/measures.py). With
shares s of the budget (Σ s = 1):

    discrete Laplace    variance ≈ 2 (Δ₁ / (ε s))²    least for s ∝ (importance × (Δ₁/unit)²)^⅓
    discrete Gaussian   variance ≈ Δ₂² / (2 ρ s)      least for s ∝ (importance × (Δ₂/unit)²)^½

by Lagrange multipliers. Everything that goes in is public: catalog, query, declared limits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from privacy.fragment import Bounding, Measure, Mechanism
from privacy.measures import RawMeasure
from privacy.noise import gaussian_scale, laplace_scale, variance
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
) -> tuple[Measure, ...]:
    """The measures with their shares of the budget and their noise."""
    shares = _shares(raws, bounding, importance, mechanism)
    return tuple(
        _measure(raw, bounding, spendable, mechanism, share * WITHIN) for raw, share in zip(raws, shares, strict=True)
    )


def predicted_error(measures: Sequence[Measure], importance: Mapping[str, float]) -> float:
    """Σ importance × variance / unit² of calibrated measures: what `calibrate` makes least."""
    return sum(
        _important(measure.name, importance) * variance(measure.mechanism, measure.scale) / _unit(measure) ** 2
        for measure in measures
    )


def _shares(
    raws: Sequence[RawMeasure], bounding: Bounding, importance: Mapping[str, float], mechanism: Mechanism
) -> list[float]:
    power, most = (1 / 3, sensitivity) if mechanism == "laplace" else (1 / 2, sensitivity_l2)
    parts = [(_important(raw.name, importance) * (most(raw, bounding) / _unit(raw)) ** 2) ** power for raw in raws]
    whole = math.fsum(parts)
    return [part / whole if whole else 1 / len(parts) for part in parts]


def _important(name: str, importance: Mapping[str, float]) -> float:
    return importance.get(name, 0.0) or _HIDDEN


def _unit(measure: RawMeasure | Measure) -> int:
    return max(abs(measure.low), abs(measure.high), 1)


def _measure(raw: RawMeasure, bounding: Bounding, spendable: Spendable, mechanism: Mechanism, share: float) -> Measure:
    l1, l2 = sensitivity(raw, bounding), sensitivity_l2(raw, bounding)
    epsilon = spendable.epsilon * share if mechanism == "laplace" and l1 else 0.0
    rho = spendable.rho * share if mechanism == "gaussian" and l1 else 0.0
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
