"""Blocks with Gaussian noise share one ρ: within the same guarantee, and only where that errs less."""

from __future__ import annotations

import math

import pytest

import privacy.sharing
from privacy.accounting import Charge, Spent, zcdp_rho
from privacy.fragment import Plan
from privacy.noise import variance
from privacy.planner import Planner
from tests.privacy.corpus_planner import catalog, plan, request

MONTHS = (
    "SELECT MONTH(visit_date) AS month, hospital, COUNT(*) AS n FROM visits WHERE YEAR(visit_date) = {} GROUP BY ALL"
)


def growth(blocks: int, *, of: str = "COUNT(*)") -> str:
    parts = [f"({MONTHS.format(2023 + place % 2).replace('COUNT(*)', of)} HAVING n > {place})" for place in range(2)]
    ages = [
        f"(SELECT hospital, age, {of} AS n FROM visits WHERE age > {place} GROUP BY ALL)" for place in range(blocks - 2)
    ]
    sources = ", ".join(f"{part} AS t{place}" for place, part in enumerate([*parts, *ages]))
    shown = ", ".join(f"t{place}.n AS n{place}" for place in range(blocks))
    return f"SELECT {shown} FROM {sources}"


AVERAGES = (
    "SELECT t.n, u.a FROM (SELECT age, COUNT(*) AS n FROM visits GROUP BY age) AS t, "
    "(SELECT hospital, AVG(cost) AS a FROM visits GROUP BY hospital) AS u"
)
LEVELS = (
    "SELECT t.n, u.n AS m FROM (SELECT hospital, kind, COUNT(*) AS n FROM visits GROUP BY ROLLUP (hospital, kind)) AS t, "
    "(SELECT province, age, COUNT(*) AS n FROM visits WHERE province <> 'anhui' GROUP BY ALL) AS u"
)
QUANTILES = (
    "SELECT t.n, u.m FROM (SELECT age, COUNT(*) AS n FROM visits GROUP BY age) AS t, "
    "(SELECT kind, MEDIAN(cost) AS m FROM visits GROUP BY kind) AS u"
)
OPEN = (
    "SELECT t.n, u.n AS m FROM (SELECT cost, COUNT(*) AS n FROM visits GROUP BY cost) AS t, "
    "(SELECT age, hospital, COUNT(*) AS n FROM visits GROUP BY ALL) AS u"
)
FEW = "SELECT (SELECT COUNT(*) FROM visits) * 1.0 / (SELECT COUNT(*) FROM residents) AS r"
QUERIES = [growth(2), growth(4), growth(5, of="SUM(cost)"), FEW, AVERAGES, LEVELS, QUANTILES, OPEN]


def gaussian(found: Plan) -> bool:
    return all(measure.rho > 0 for block in found.blocks for measure in block.any_fragment.measures)


def apart(sql: str, **options: float) -> Plan:
    """The plan without a common ρ."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(privacy.sharing, "zcdp_rho", lambda *_: 1e-30)
        return Planner(catalog()).plan(request(sql, **options))


def error(found: Plan) -> float:
    """Of counts and sums in units of their rows, as the planner weighs them where all matter alike."""
    return math.fsum(
        variance(measure.mechanism, measure.scale) / max(abs(measure.low), abs(measure.high)) ** 2
        for block in found.blocks
        for fragment in block.fragments.values()
        for measure in fragment.measures
    )


def together(charges: list[Charge]) -> Spent:
    spent = Spent()
    for charge in charges:
        spent = spent.plus(charge)
    return spent


@pytest.mark.parametrize("sql", QUERIES)
@pytest.mark.parametrize(("epsilon", "delta"), [(0.1, 1e-9), (1.0, 1e-9), (1.0, 1e-3), (8.0, 1e-6), (1.0, 0.0)])
def test_what_one_unit_loses_over_all_blocks_and_nodes_is_within_what_was_asked(
    sql: str, epsilon: float, delta: float
) -> None:
    if sql == OPEN and not delta:
        pytest.skip("needs a threshold")
    """A unit that as many nodes hold as may, in each block those that charge most."""
    found = plan(sql, epsilon=epsilon, delta=delta)
    region: list[Charge] = []
    for block in found.blocks:
        charges = [fragment.charge for fragment in block.fragments.values()]
        region += sorted(charges, key=lambda charge: charge.epsilon + charge.rho)[-block.span :]
    assert together(region).epsilon_at(delta) <= epsilon
    assert found.epsilon <= epsilon
    assert found.delta <= delta
    for fragments in found.asked.values():
        own = together([fragment.charge for fragment in fragments.values()]).epsilon_at(delta)
        stated = math.fsum(fragment.epsilon for fragment in fragments.values())
        assert own <= stated * (1 + 1e-9)
        assert stated <= found.epsilon_per_node * (1 + 1e-9)
    assert found.epsilon_per_node <= epsilon


def test_all_of_rho_is_spent() -> None:
    found = plan(growth(4), delta=1e-6)
    spent = math.fsum(block.span * block.any_fragment.charge.rho for block in found.blocks)
    assert zcdp_rho(1.0, 1e-6) * (1 - 1e-9) < spent <= zcdp_rho(1.0, 1e-6)


@pytest.mark.parametrize(("blocks", "share"), [(2, 0.75), (4, 0.45), (5, 0.4)])
def test_many_groups_in_several_blocks_err_less(blocks: int, share: float) -> None:
    sql = growth(blocks)
    found, before = plan(sql, delta=1e-6), apart(sql, delta=1e-6)
    assert gaussian(found)
    assert error(found) <= share * error(before)


@pytest.mark.parametrize("sql", QUERIES)
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 30.0])
def test_it_is_chosen_only_where_it_errs_less(sql: str, epsilon: float) -> None:
    found, before = plan(sql, epsilon=epsilon), apart(sql, epsilon=epsilon)
    if found.blocks != before.blocks:
        assert gaussian(found)
        assert error(found) < error(before)


def test_with_delta_0_and_where_laplace_noise_is_less_nothing_changes() -> None:
    assert plan(growth(4), delta=0.0).blocks == apart(growth(4), delta=0.0).blocks
    assert plan(FEW).blocks == apart(FEW).blocks
    assert not gaussian(plan(FEW))


def test_beside_groups_that_nobody_can_list_parts_of_epsilon_add_up() -> None:
    assert plan(OPEN).blocks == apart(OPEN).blocks
