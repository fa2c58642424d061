"""Whole-number accounts against the composition that they stand for."""

from __future__ import annotations

import math
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from node.exact import ATTO, NANO, PICO, Account, ExactCharge, rounded_down, rounded_up
from privacy.accounting import Charge, Spent

DELTA = 1e-6
CHARGES = st.one_of(
    st.floats(1e-9, 3.0).map(lambda epsilon: Charge(epsilon=epsilon)),
    st.floats(1e-9, 0.5).map(lambda rho: Charge(rho=rho)),
    st.floats(1e-6, 1.0).map(lambda epsilon: Charge(epsilon=epsilon, delta=1e-9)),
)
SEVERAL = st.lists(CHARGES, max_size=12)


def account(charges: list[Charge]) -> Account:
    found = Account()
    for charge in charges:
        found = found.plus(ExactCharge.of(charge))
    return found


@given(st.floats(0, 1e9), st.sampled_from([NANO, PICO, ATTO]))
def test_rounding_goes_the_safe_way(value: float, per_one: int) -> None:
    written = Fraction(repr(value))
    assert rounded_down(value, per_one) <= written * per_one <= rounded_up(value, per_one)
    assert rounded_up(value, per_one) - rounded_down(value, per_one) <= 1


@settings(max_examples=60, deadline=None)
@given(SEVERAL)
def test_an_account_is_the_composition_never_below_it(charges: list[Charge]) -> None:
    spent = Spent()
    for charge in charges:
        spent = spent.plus(charge)
    cost = account(charges).epsilon_nano_at(rounded_down(DELTA, ATTO))
    assert cost is not None
    expected = spent.epsilon_at(DELTA)
    assert expected * (1 - 1e-9) - 1e-9 <= cost / NANO <= expected * (1 + 1e-6) + 1e-6


@settings(max_examples=60, deadline=None)
@given(SEVERAL, st.floats(0.1, 20.0))
def test_what_is_left_fits_and_so_does_all_that_alone_costs_no_more(charges: list[Charge], limit: float) -> None:
    delta, limit_nano, held = rounded_down(DELTA, ATTO), rounded_down(limit, NANO), account(charges)
    left = held.left_nano(limit_nano, delta)
    if left == 0:
        return
    assert held.plus(ExactCharge(left, 0, 0)).fits(limit_nano, delta)
    rho = 1.0
    while True:  # a Gaussian release that alone costs no more
        gaussian = ExactCharge.of(Charge(rho=rho))
        alone = Account().plus(gaussian).epsilon_nano_at(delta - held.delta_atto)
        if alone is not None and alone <= left:
            break
        rho /= 2
    assert held.plus(gaussian).fits(limit_nano, delta)


def test_pure_charges_add_up_exactly_however_many() -> None:
    tenth = ExactCharge.of(Charge(epsilon=0.1))
    held = Account()
    for _ in range(3):
        held = held.plus(tenth)
    assert held.epsilon_nano_at(0) == 300_000_000
    assert held.left_nano(300_000_000, 0) == 0
    assert held.fits(300_000_000, 0)
    assert not held.fits(299_999_999, 0)


def test_gaussian_noise_without_delta_never_fits() -> None:
    held = account([Charge(rho=1e-6)])
    assert not held.fits(10**18, 0)
    assert held.left_nano(10**18, 0) == 0
    assert math.isinf(Spent(rho=1e-6).epsilon_at(0))
