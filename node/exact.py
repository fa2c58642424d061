"""Privacy charges in whole numbers: sums are exact, and every replay of the journal gives the same balance.

ε is counted in nano-ε (1e-9), ρ in pico-ρ (1e-12), δ in 1e-18. Charges round up, limits round down. The shortest
decimal that names a float counts: 0.1 means a tenth, and three of them are 0.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from privacy.accounting import Charge, zcdp_epsilon, zcdp_rho

NANO, PICO, ATTO = 10**9, 10**12, 10**18


def rounded_up(value: float, per_one: int) -> int:
    """`value` in units of 1 / `per_one`, never less."""
    return int((Decimal(repr(value)) * per_one).to_integral_value(rounding=ROUND_CEILING))


def rounded_down(value: float, per_one: int) -> int:
    """`value` in units of 1 / `per_one`, never more."""
    return int((Decimal(repr(value)) * per_one).to_integral_value(rounding=ROUND_FLOOR))


@dataclass(frozen=True)
class ExactCharge:
    """`privacy.accounting.Charge`, rounded up."""

    epsilon_nano: int
    rho_pico: int
    delta_atto: int

    @staticmethod
    def of(charge: Charge) -> ExactCharge:
        return ExactCharge(
            rounded_up(charge.epsilon, NANO), rounded_up(charge.rho, PICO), rounded_up(charge.delta, ATTO)
        )

    @staticmethod
    def sum(charges: Sequence[ExactCharge]) -> ExactCharge:
        """Of charges that are made together."""
        return ExactCharge(
            sum(charge.epsilon_nano for charge in charges),
            sum(charge.rho_pico for charge in charges),
            sum(charge.delta_atto for charge in charges),
        )


@dataclass(frozen=True)
class Account:
    """Many charges together: the composition of `privacy.accounting.Spent`, in whole numbers.

    Attributes:
        epsilon_nano, rho_pico, delta_atto: sums over the charges.
        squares: Σ epsilon_nano², because a pure ε-DP release is ε²/2-zCDP too.
    """

    epsilon_nano: int = 0
    rho_pico: int = 0
    delta_atto: int = 0
    squares: int = 0

    def plus(self, charge: ExactCharge) -> Account:
        return Account(
            self.epsilon_nano + charge.epsilon_nano,
            self.rho_pico + charge.rho_pico,
            self.delta_atto + charge.delta_atto,
            self.squares + charge.epsilon_nano**2,
        )

    def epsilon_nano_at(self, delta_atto: int) -> int | None:
        """The ε that all charges together cost at δ = `delta_atto`; None where their own δ is more than that."""
        left = delta_atto - self.delta_atto
        return min(self._apart_nano(left), _zcdp_nano(self._rho_together(), left)) if left >= 0 else None

    def fits(self, limit_nano: int, delta_atto: int) -> bool:
        """Whether `epsilon_nano_at` is within the limit."""
        cost = self.epsilon_nano_at(delta_atto)
        return cost is not None and cost <= limit_nano

    def left_nano(self, limit_nano: int, delta_atto: int) -> int:
        """The largest pure ε that still fits under `limit_nano` at δ = `delta_atto`.

        So does every charge that alone costs no more than this at what is left of δ and brings no δ of its own.
        """
        left = delta_atto - self.delta_atto
        if left < 0 or limit_nano <= 0:
            return 0
        apart = limit_nano - self._apart_nano(left)
        room = zcdp_rho(limit_nano / NANO, _at_most(left, ATTO)) - self._rho_together()
        together = rounded_down(math.sqrt(2 * room), NANO) - 1 if room > 0 else 0
        return max(0, apart, together)

    def _apart_nano(self, left_atto: int) -> int:
        return self.epsilon_nano + _zcdp_nano(_at_least(self.rho_pico, PICO), left_atto)

    def _rho_together(self) -> float:
        return _at_least(self.rho_pico * 2 * 10**6 + self.squares, 2 * NANO**2)


def _zcdp_nano(rho: float, delta_atto: int) -> int:
    if rho == 0:
        return 0
    epsilon = zcdp_epsilon(rho, _at_most(delta_atto, ATTO))
    return rounded_up(epsilon, NANO) if math.isfinite(epsilon) else _MORE_THAN_ANY_LIMIT


_MORE_THAN_ANY_LIMIT = 10**30  # nano-ε


def _at_least(units: int, per_one: int) -> float:
    found = units / per_one
    numerator, denominator = found.as_integer_ratio()
    return found if numerator * per_one >= units * denominator else math.nextafter(found, math.inf)


def _at_most(units: int, per_one: int) -> float:
    found = units / per_one
    numerator, denominator = found.as_integer_ratio()
    return found if numerator * per_one <= units * denominator else math.nextafter(found, 0)
