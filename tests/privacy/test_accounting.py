"""Accounting: composition, and conversions that never promise too much."""

import math

import opendp.prelude as dp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.accounting import Charge, Spent, zcdp_epsilon, zcdp_rho

dp.enable_features("contrib")


def test_pure_releases_are_composed_as_pure_while_that_is_tighter() -> None:
    few, many = Spent(), Spent()
    for _ in range(5):
        few = few.plus(Charge(epsilon=0.1))
    for _ in range(200):
        many = many.plus(Charge(epsilon=0.1))
    assert few.epsilon_at(1e-9) == pytest.approx(0.5)
    assert many.epsilon_at(0.0) == pytest.approx(20.0)
    assert many.epsilon_at(1e-9) == pytest.approx(zcdp_epsilon(1.0, 1e-9), rel=1e-6)
    assert many.epsilon_at(1e-9) < 10


def test_a_zcdp_release_needs_delta() -> None:
    spent = Spent().plus(Charge(rho=0.01))
    assert spent.epsilon_at(0.0) == math.inf
    assert math.isfinite(spent.epsilon_at(1e-9))


def test_thresholds_use_delta_up() -> None:
    spent = Spent().plus(Charge(epsilon=1.0, delta=1e-9)).plus(Charge(epsilon=1.0, delta=1e-9))
    assert spent.epsilon_at(1.9e-9) == math.inf
    assert spent.epsilon_at(2e-9) == pytest.approx(2.0)


def test_kinds_that_are_no_charge_are_refused() -> None:
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="finite"):
            Charge(epsilon=bad)


@given(st.floats(1e-4, 1e4), st.floats(1e-12, 1e-4))
@settings(max_examples=60, deadline=None)
def test_rho_never_costs_more_than_epsilon_and_uses_it(epsilon: float, delta: float) -> None:
    rho = zcdp_rho(epsilon, delta)
    assert zcdp_epsilon(rho, delta) <= epsilon
    if 0.01 <= epsilon <= 100:
        assert zcdp_epsilon(rho * (1 + 1e-5), delta) > epsilon


@pytest.mark.parametrize("rho", [1e-6, 0.01, 1.0, 50.0])
@pytest.mark.parametrize("delta", [1e-12, 1e-9, 1e-5])
def test_the_conversion_is_between_the_gaussian_mechanism_and_the_closed_form(rho: float, delta: float) -> None:
    """Bun and Steinke's Proposition 1.3 above; below, the exact profile of one Gaussian release (Balle and Wang 2018)."""
    epsilon = zcdp_epsilon(rho, delta)
    assert epsilon <= rho + 2 * math.sqrt(rho * math.log(1 / delta))
    mu = math.sqrt(2 * rho)

    def below(x: float) -> float:
        return math.erfc(-x / math.sqrt(2)) / 2

    exact = below(mu / 2 - epsilon / mu) - math.exp(epsilon) * below(-mu / 2 - epsilon / mu)
    assert exact <= delta


@pytest.mark.parametrize("rho", [1e-12, 1e-6, 0.003, 0.5, 7.0, 200.0])
@pytest.mark.parametrize("delta", [1e-15, 1e-9, 1e-6, 0.01, 0.3])
def test_the_conversion_is_that_of_opendp(rho: float, delta: float) -> None:
    gaussian = dp.m.make_gaussian(
        dp.atom_domain(T="i64"), dp.absolute_distance(T="i64"), scale=math.sqrt(1 / (2 * rho))
    )
    theirs = dp.c.make_zCDP_to_approxDP(gaussian).map(1).epsilon(delta)  # type: ignore[no-untyped-call]
    assert zcdp_epsilon(rho, delta) == pytest.approx(theirs, rel=1e-8, abs=1e-12)


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1)), max_size=20))
@settings(max_examples=50, deadline=None)
def test_more_charges_never_cost_less(charges: list[tuple[float, float]]) -> None:
    spent, before = Spent(), 0.0
    for epsilon, rho in charges:
        spent = spent.plus(Charge(epsilon=epsilon, rho=rho))
        now = spent.epsilon_at(1e-9)
        assert now >= before * (1 - 1e-9)
        before = now
