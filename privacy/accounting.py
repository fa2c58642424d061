"""Accounting: what releases cost together, as pure ε where that is tighter and as zCDP where that is.

Sources: Bun and Steinke 2016 (zCDP: composition Lemma 1.7, from pure DP Proposition 1.4, to approximate DP
Proposition 1.3); the conversion from ρ to (ε, δ) is OpenDP's, which is tighter than Proposition 1.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import opendp.prelude as dp
from opendp.mod import OpenDPException

dp.enable_features("contrib")


@dataclass(frozen=True)
class Charge:
    """The privacy loss of one release at one node, by the kind of guarantee that its mechanism has.

    Attributes:
        epsilon: of a pure ε-DP mechanism (discrete Laplace); 0 for others.
        rho: of a ρ-zCDP mechanism (discrete Gaussian); 0 for others.
        delta: the probability with which the guarantee may fail altogether (thresholds on unknown keys).
    """

    epsilon: float = 0.0
    rho: float = 0.0
    delta: float = 0.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(part) and part >= 0 for part in (self.epsilon, self.rho, self.delta)):
            raise ValueError("the parts of a charge are finite and not negative")

    def plus(self, other: Charge) -> Charge:
        """Both releases together (basic composition within each kind)."""
        return Charge(self.epsilon + other.epsilon, self.rho + other.rho, self.delta + other.delta)


@dataclass(frozen=True)
class Spent:
    """The composition of many charges.

    Attributes:
        epsilon: Σ ε of the pure releases.
        rho: Σ ρ of the zCDP releases.
        rho_of_pure: Σ ε²/2 of the pure releases, which are zCDP too.
        delta: Σ δ.
    """

    epsilon: float = 0.0
    rho: float = 0.0
    rho_of_pure: float = 0.0
    delta: float = 0.0

    def plus(self, charge: Charge) -> Spent:
        return Spent(
            self.epsilon + charge.epsilon,
            self.rho + charge.rho,
            self.rho_of_pure + charge.epsilon**2 / 2,
            self.delta + charge.delta,
        )

    def epsilon_at(self, delta: float) -> float:
        """The least ε for which all charges together are known to be (ε, `delta`)-DP; ∞ where there is none."""
        left = delta - self.delta
        if left < 0:
            return math.inf
        apart = self.epsilon + zcdp_epsilon(self.rho, left)
        together = zcdp_epsilon(self.rho + self.rho_of_pure, left)
        return min(apart, together)


@lru_cache(maxsize=4096)
def zcdp_epsilon(rho: float, delta: float) -> float:
    """The least ε for which ρ-zCDP is known to be (ε, `delta`)-DP."""
    if rho == 0:
        return 0.0
    if delta <= 0:
        return math.inf
    try:
        gaussian = dp.m.make_gaussian(
            dp.atom_domain(T="i64"), dp.absolute_distance(T="i64"), scale=math.sqrt(1 / (2 * rho))
        )
        profile = dp.c.make_zCDP_to_approxDP(gaussian).map(1)  # type: ignore[no-untyped-call]
        return float(profile.epsilon(delta)) * (1 + 1e-12)  # the scale of the stand-in is rounded
    except (OpenDPException, OverflowError):  # beyond OpenDP's range the closed form still holds
        return rho + 2 * math.sqrt(rho * math.log(1 / delta))


@lru_cache(maxsize=4096)
def zcdp_rho(epsilon: float, delta: float) -> float:
    """A ρ whose ρ-zCDP is (`epsilon`, `delta`)-DP, within 1e-6 of the greatest that is known; 0 where δ is 0."""
    if delta <= 0:
        return 0.0
    bits = math.log(1 / delta)
    rho = (math.sqrt(bits + epsilon) - math.sqrt(bits)) ** 2  # the closed form, turned round: sound, and a start
    if epsilon > _CLOSED_FORM_ABOVE or zcdp_epsilon(rho, delta) < epsilon / 100:
        return rho  # nobody minds the last percent of much; and with so little, δ alone nearly covers it
    short = math.log(epsilon / zcdp_epsilon(rho, delta))  # how far ε falls short, as a logarithm
    power = 1.5  # ε grows between √ρ and ρ; the secant learns the rest
    for _ in range(_STEPS):
        step = power * short
        rho *= math.exp(step)
        before, short = short, math.log(epsilon / zcdp_epsilon(rho, delta))
        if 0 <= short < 1e-7:
            break
        power = step / (before - short) if before != short else 1.0
        short -= 5e-8  # aim a little below, never above
    while zcdp_epsilon(rho, delta) > epsilon:
        rho *= 1 - 1e-7
    return rho


_CLOSED_FORM_ABOVE = 100.0
_STEPS = 8
