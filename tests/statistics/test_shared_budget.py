"""What shares a budget spends no more than it together: the measures of a release, the levels of a histogram, the nodes
that may hold one person, the blocks of one query. Audits of all that is released with the claim of the whole, and the
same bug in each: that one of them takes what all of them may have.

Each audit raises a false alarm with probability below 1e-7 (audit.py), all of this file together below 2e-6. A planted bug
is missed with probability below 1e-6: of 20,000 releases some event contradicts the claim even where its two counts lie
five standard deviations, taken together, on the side that hides the bug.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

import privacy.sharing
from privacy.block_planner import PlannedBlock, Shape, plan_block
from privacy.catalog import Catalog
from privacy.fragment import Fragment, Plan
from privacy.request import Request
from tests.statistics.cases import CASES
from tests.statistics.neighbours import Mechanism, Neighbours, clinics, planned, regional, with_each_mechanism
from tests.statistics.planted import half_the_noise, no_split


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    with clinics(tmp_path_factory.mktemp("clinic")) as both:
        yield both


# Measures

SEVERAL = ["none", "one group", "count and sum", "filters", "variance", "nested"]


@with_each_mechanism
def test_these_are_the_cases_of_several_measures(mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = {name: planned(case.sql, mechanism, monkeypatch) for name, case in CASES.items()}
    assert [name for name, plan in plans.items() if len(plan.blocks[0].any_fragment.measures) > 1] == SEVERAL


@with_each_mechanism
@pytest.mark.parametrize("name", SEVERAL)
def test_a_budget_that_is_not_split_is_caught(
    neighbours: Neighbours, name: str, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragment = planned(CASES[name].sql, mechanism, monkeypatch).blocks[0].fragments["east"]
    assert neighbours.audited(fragment, fragment.charge, noise=no_split(fragment)).contradicted


def test_levels_of_a_histogram_that_are_not_paid_for_are_caught(
    neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragment = planned(CASES["median"].sql, "laplace", monkeypatch).blocks[0].fragments["east"]
    [measure] = fragment.measures
    assert measure.tree is not None
    levels = len(measure.tree.levels)
    assert levels == 2
    as_one = replace(measure, scale=measure.scale / levels * 1.0001, sensitivity=measure.sensitivity // levels)
    assert neighbours.audited(fragment, fragment.charge, noise=replace(fragment, measures=(as_one,))).contradicted


# Nodes


SPANNING = {
    "all": "SELECT COUNT(*) FROM visits",
    "limited groups": "SELECT ward, COUNT(*) FROM visits WHERE ward < 'D' GROUP BY ward",
    "nested": "SELECT SUM(s) FROM (SELECT person_id, SUM(cost) AS s FROM visits GROUP BY person_id) p",
}
IN_REGION = {"laplace": 2.0, "gaussian": 8.0}  # ε, where twice of it shows best
with_each_spanning = pytest.mark.parametrize("name", SPANNING)


def in_both_nodes(plan: Plan) -> list[Fragment]:
    """The fragments of two nodes, both of which hold the person's rows."""
    [block] = plan.blocks
    assert set(block.fragments) == {"east", "west"}
    return list(block.fragments.values())


@with_each_mechanism
@with_each_spanning
def test_a_person_in_two_nodes_loses_what_was_promised_for_the_region(
    neighbours: Neighbours, name: str, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    epsilon = IN_REGION[mechanism]
    fragments = in_both_nodes(planned(SPANNING[name], mechanism, monkeypatch, epsilon=epsilon))
    assert (fragments[0].bounding.form == "clip_and_limit") == (name == "limited groups")
    finding = neighbours.audited_together(fragments, regional(epsilon, mechanism))
    assert not finding.contradicted
    assert finding.epsilon > 0.3


@with_each_mechanism
@with_each_spanning
def test_a_span_that_is_forgotten_is_caught(
    neighbours: Neighbours, name: str, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Catalog, "span", lambda *_: 1)
    epsilon = IN_REGION[mechanism]
    fragments = in_both_nodes(planned(SPANNING[name], mechanism, monkeypatch, epsilon=epsilon))
    assert neighbours.audited_together(fragments, regional(epsilon, mechanism)).contradicted


@with_each_mechanism
def test_one_node_alone_may_spend_what_the_region_may(
    neighbours: Neighbours, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    epsilon = 1.5 if mechanism == "laplace" else 4.0
    plan = planned(f"{SPANNING['all']} WHERE province = 'east'", mechanism, monkeypatch, epsilon=epsilon)
    assert set(plan.blocks[0].fragments) == {"east"}
    fragment = plan.blocks[0].fragments["east"]
    assert not neighbours.audited(fragment, regional(epsilon, mechanism)).contradicted
    assert neighbours.audited(fragment, regional(epsilon, mechanism), noise=half_the_noise(fragment)).contradicted


# Blocks


BLOCKS = (
    "SELECT t.shift, t.n, u.s FROM "
    "(SELECT shift, COUNT(*) AS n FROM visits WHERE province = 'east' GROUP BY shift) AS t, "
    "(SELECT SUM(cost) AS s FROM visits WHERE province = 'east') AS u"
)


def of_blocks(mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch) -> list[Fragment]:
    """The fragments of both blocks at the one node that is asked; with Gaussian noise they share one ρ."""

    def by_rho(planned: dict[str, PlannedBlock]) -> float:
        return -sum(one.block.any_fragment.charge.rho for one in planned.values())

    monkeypatch.setattr(privacy.sharing, "_error", by_rho)
    plan = planned(BLOCKS, mechanism, monkeypatch, epsilon=IN_REGION[mechanism])
    assert [list(block.fragments) for block in plan.blocks] == [["east"], ["east"]]
    return [block.fragments["east"] for block in plan.blocks]


@with_each_mechanism
def test_blocks_together_lose_what_was_promised(
    neighbours: Neighbours, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragments, claim = of_blocks(mechanism, monkeypatch), regional(IN_REGION[mechanism], mechanism)
    first, second = (fragment.charge for fragment in fragments)
    spent = first.plus(second)
    assert (spent.epsilon, spent.rho) == pytest.approx((claim.epsilon, claim.rho))  # all of it
    finding = neighbours.audited_together(fragments, claim)
    assert not finding.contradicted
    assert finding.epsilon > 0.3


@with_each_mechanism
def test_blocks_that_each_take_the_whole_are_caught(
    neighbours: Neighbours, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    epsilon, claim = IN_REGION[mechanism], regional(IN_REGION[mechanism], mechanism)

    def greedy(shape: Shape, name: str, request: Request, *, rho: float | None = None) -> PlannedBlock:
        whole = request.model_copy(update={"epsilon": epsilon})
        return plan_block(shape, name, whole, rho=None if rho is None else claim.rho)

    monkeypatch.setattr(privacy.sharing, "plan_block", greedy)
    fragments = of_blocks(mechanism, monkeypatch)
    assert all(
        fragment.charge.epsilon + fragment.charge.rho >= 0.99 * (claim.epsilon + claim.rho) for fragment in fragments
    )
    assert neighbours.audited_together(fragments, claim).contradicted
