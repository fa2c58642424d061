"""The privacy that is claimed is the privacy that is given: for each mechanism and each form of bounding, an audit of two
data sets that differ by one heavy person does not contradict the claim, and contradicts it as soon as a bug is planted.

Each audit raises a false alarm with probability below 1e-7 (audit.py), all of this file together below 1e-5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa
import pytest

import node.views
import privacy.block_planner
import privacy.rows.per_unit
import privacy.rows.relation
from privacy.accounting import Charge, zcdp_rho
from privacy.bounding import bounded_sql
from privacy.catalog import Catalog, parse_catalog
from privacy.expressions.rules import cast
from privacy.fragment import Fragment, Plan
from privacy.levels import Groups, Loads
from privacy.planner import Planner
from privacy.request import Request
from tests.attacks.local_node import LocalNode, local_node, prepared_node
from tests.statistics.audit import Finding, Noising, audit, together
from tests.statistics.clinic import CATALOG, tables

Mechanism = Literal["laplace", "gaussian"]
MECHANISMS: tuple[Mechanism, ...] = ("laplace", "gaussian")
DELTA = 1e-3


@dataclass(frozen=True)
class Case:
    """A question whose release one heavy person moves as far as one person may.

    Attributes:
        form: of bounding, as the planner must choose it.
    """

    sql: str
    form: str


CASES = {
    "none": Case("SELECT SUM(age), AVG(age) FROM residents", "none"),
    "multiplied rows": Case(
        "SELECT h.level, COUNT(*) FROM residents r JOIN hospitals h ON r.city = h.city GROUP BY h.level", "none"
    ),
    "one group": Case("SELECT SUM(cost), AVG(score) FROM visits", "clip"),
    "count and sum": Case("SELECT COUNT(*), SUM(cost) FROM visits", "clip"),
    "fixed key": Case("SELECT sex, COUNT(*) FROM visits GROUP BY sex", "clip"),
    "few groups": Case("SELECT shift, SUM(cost) FROM visits GROUP BY shift", "clip"),
    "limited groups": Case("SELECT ward, COUNT(*) FROM visits GROUP BY ward", "clip_and_limit"),
    "filters": Case("SELECT COUNT(*) FILTER (WHERE urgent), AVG(cost) FILTER (WHERE NOT urgent) FROM visits", "clip"),
    "median": Case("SELECT MEDIAN(CAST(cost * 1.2 AS BIGINT)) FROM visits", "clip"),
    "variance": Case("SELECT VAR_POP(cost) FROM visits", "clip"),
    "single values": Case("SELECT HISTOGRAM(ward), COUNT(DISTINCT ward), MODE(ward) FROM visits", "clip"),
    "single values of limited groups": Case(
        "SELECT ward, HISTOGRAM(shift) FROM visits GROUP BY ward", "clip_and_limit"
    ),
    "bins": Case("SELECT HISTOGRAM(age, [10, 50, 90]) FROM residents", "none"),
    "nested": Case(
        "SELECT SUM(s), COUNT(*) FROM (SELECT person_id, SUM(cost) AS s FROM visits GROUP BY person_id) p", "none"
    ),
    "nested, key of a left join": Case(
        "SELECT c, COUNT(*) FROM (SELECT r.city AS c, RANK() OVER (PARTITION BY v.person_id ORDER BY v.cost) AS n "
        "FROM visits v LEFT JOIN residents r ON v.person_id = r.person_id AND v.urgent) p GROUP BY c",
        "clip_and_limit",
    ),
}

STANDARD: Catalog = parse_catalog(CATALOG, source="clinic.toml")


def planned(sql: str, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch, *, epsilon: float | None = None) -> Plan:
    """The plan with the mechanism that the test is about, whichever would err less."""

    def error(fragments: dict[str, Fragment], _: object) -> float:
        return float(any(measure.mechanism != mechanism for part in fragments.values() for measure in part.measures))

    monkeypatch.setattr(privacy.block_planner, "_error", error)
    delta = DELTA if mechanism == "gaussian" else 0.0
    # About ε = 1.5 or ρ = 1 at one node: where 20,000 releases tell most.
    wanted = epsilon or (1.5 if mechanism == "laplace" else 5.0) * (2 if "visits" in sql else 1)
    request = Request.new(sql, epsilon=wanted, delta=delta, nonce="0" * 32, expires_unix_s=2**40)
    return Planner(STANDARD).plan(request)


@dataclass(frozen=True)
class Neighbours:
    """Two real nodes over Parquet files, with and without the person."""

    with_target: LocalNode
    without: LocalNode

    def exact(self, fragment: Fragment, sql_of: Fragment | None = None) -> tuple[pa.Table, pa.Table]:
        return self.with_target.exact(fragment, sql_of=sql_of), self.without.exact(fragment, sql_of=sql_of)

    def audited(
        self, fragment: Fragment, claim: Charge, *, noise: Fragment | None = None, sql_of: Fragment | None = None
    ) -> Finding:
        """Audit `claim` of a fragment.

        Args:
            noise: the fragment with the noise that is really added.
            sql_of: the fragment with the bounding that is really done.
        """
        one, other = (Noising(noise or fragment, exact) for exact in self.exact(fragment, sql_of))
        return audit(one, other, claim)


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    folder = tmp_path_factory.mktemp("clinic")
    with (
        local_node(folder / "with", CATALOG, tables(target=True), province="east") as one,
        local_node(folder / "without", CATALOG, tables(target=False), province="east") as other,
    ):
        yield Neighbours(one, other)


def of_cases(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", names or list(CASES))


with_each_mechanism = pytest.mark.parametrize("mechanism", MECHANISMS)


@with_each_mechanism
@of_cases()
def test_the_claim_holds_and_is_used(
    neighbours: Neighbours, name: str, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragment = planned(CASES[name].sql, mechanism, monkeypatch).blocks[0].fragments["east"]
    assert fragment.bounding.form == CASES[name].form
    assert bool(fragment.charge.rho) == (mechanism == "gaussian")
    finding = neighbours.audited(fragment, fragment.charge)
    assert not finding.contradicted
    assert finding.epsilon > 0.3  # the person shows as much as that, so the audit looked at something


# Prepared snapshots


SUMS = '[snapshots.sums.visits]\nkeys = [["ward"], ["shift"]]\n'
READY = {
    "one group": "SELECT SUM(cost), AVG(score) FROM visits",
    "few groups": "SELECT shift, SUM(cost) FROM visits GROUP BY shift",
    "limited groups": "SELECT ward, COUNT(*) FROM visits WHERE sex = 'M' GROUP BY ward",
    "limited groups that pass": "SELECT ward, COUNT(*) FROM visits WHERE ward NOT IN ('B', 'C') GROUP BY ward",
}


@pytest.fixture(scope="module")
def prepared_neighbours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    folder = tmp_path_factory.mktemp("prepared")
    with (
        prepared_node(folder / "with", CATALOG, tables(target=True), province="east", sums=SUMS) as one,
        prepared_node(folder / "without", CATALOG, tables(target=False), province="east", sums=SUMS) as other,
    ):
        yield Neighbours(one, other)


@with_each_mechanism
@pytest.mark.parametrize("name", READY)
def test_sums_that_are_ready_keep_the_claim(
    prepared_neighbours: Neighbours, name: str, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragment = planned(READY[name], mechanism, monkeypatch).blocks[0].fragments["east"]
    stored = prepared_neighbours.with_target.stored
    assert "made with the snapshot" in bounded_sql(fragment, secret="", stored=stored)
    finding = prepared_neighbours.audited(fragment, fragment.charge)
    assert not finding.contradicted
    assert finding.epsilon > 0.3


@with_each_mechanism
@pytest.mark.parametrize("name", ["limited groups", "limited groups that pass"])
def test_places_that_are_not_looked_at_are_caught(
    prepared_neighbours: Neighbours, name: str, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragment = planned(READY[name], mechanism, monkeypatch).blocks[0].fragments["east"]
    bug = no_limit_of_groups(fragment)
    assert prepared_neighbours.audited(fragment, fragment.charge, sql_of=bug).contradicted


# Levels


WARDS = "SELECT ward, COUNT(*) FROM visits GROUP BY ROLLUP (ward)"
PAIRED = "SELECT ward, COUNT(*), AVG(cost) FROM visits GROUP BY ROLLUP (ward)"
PEOPLE = "SELECT ward, COUNT(DISTINCT person_id) FROM visits GROUP BY ROLLUP (ward)"


def levelled(mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch, sql: str = WARDS) -> Fragment:
    """The wards, and with most of the budget all of them together: a unit fills two wards, so in all it moves √2 times
    as far as the norm of the two."""

    def choice(groups: Sequence[Groups], *_: object) -> Loads:
        return {groups[0]: 1, groups[-1]: 1000}

    monkeypatch.setattr(privacy.block_planner, "choose_levels", choice)
    return planned(sql, mechanism, monkeypatch).blocks[0].fragments["east"]


@with_each_mechanism
@pytest.mark.parametrize("sql", [WARDS, PAIRED, PEOPLE])
def test_levels_keep_the_claim(
    neighbours: Neighbours, sql: str, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragment = levelled(mechanism, monkeypatch, sql)
    finding = neighbours.audited(fragment, fragment.charge)
    assert not finding.contradicted
    assert finding.epsilon > 0.3


@with_each_mechanism
@pytest.mark.parametrize("sql", [WARDS, PAIRED])
def test_a_level_that_is_not_paid_for_is_caught(
    neighbours: Neighbours, sql: str, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragment = levelled(mechanism, monkeypatch, sql)
    finest = replace(fragment, measures=fragment.finest)
    assert neighbours.audited(fragment, finest.charge).contradicted


def test_sums_that_heap_up_at_a_level_are_caught(neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch) -> None:
    fragment = levelled("gaussian", monkeypatch)
    wards, in_all = fragment.measures
    weak = replace(in_all, scale=in_all.scale / 2**0.5, rho=2.001 * in_all.rho)
    noise = replace(fragment, measures=(wards, weak))
    assert neighbours.audited(fragment, fragment.charge, noise=noise).contradicted


# Bugs in the noise


def half_the_noise(fragment: Fragment) -> Fragment:
    weak = (
        replace(measure, scale=measure.scale / 2, epsilon=2.001 * measure.epsilon, rho=4.001 * measure.rho)
        for measure in fragment.measures
    )
    return replace(fragment, measures=tuple(weak))


def no_split(fragment: Fragment) -> Fragment:
    """Every measure spends the whole budget: ε / m forgotten."""
    whole = fragment.charge
    greedy = []
    for measure in fragment.measures:
        less = measure.epsilon / whole.epsilon if whole.epsilon else (measure.rho / whole.rho) ** 0.5
        greedy.append(replace(measure, scale=measure.scale * less * 1.0001, epsilon=whole.epsilon, rho=whole.rho))
    return replace(fragment, measures=tuple(greedy))


@with_each_mechanism
@of_cases()
def test_half_the_noise_is_caught(
    neighbours: Neighbours, name: str, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragment = planned(CASES[name].sql, mechanism, monkeypatch).blocks[0].fragments["east"]
    assert neighbours.audited(fragment, fragment.charge, noise=half_the_noise(fragment)).contradicted


@with_each_mechanism
@of_cases("none", "one group", "count and sum", "filters", "variance")
def test_a_budget_that_is_not_split_is_caught(
    neighbours: Neighbours, name: str, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragment = planned(CASES[name].sql, mechanism, monkeypatch).blocks[0].fragments["east"]
    assert neighbours.audited(fragment, fragment.charge, noise=no_split(fragment)).contradicted


# Bugs in the bounding


def raw_sums(fragment: Fragment) -> Fragment:
    return replace(fragment, bounding=replace(fragment.bounding, form="none"))


def no_limit_of_groups(fragment: Fragment) -> Fragment:
    return replace(fragment, bounding=replace(fragment.bounding, form="clip"))


def averages_not_clipped(fragment: Fragment) -> Fragment:
    loose = (
        replace(measure, weight=None, low=-(2**40), high=2**40) if measure.weight else measure
        for measure in fragment.measures
    )
    return replace(fragment, measures=tuple(loose))


@with_each_mechanism
@pytest.mark.parametrize(
    ("name", "bug"),
    [
        *((name, raw_sums) for name, case in CASES.items() if case.form != "none"),
        ("limited groups", no_limit_of_groups),
        ("one group", averages_not_clipped),
        ("filters", averages_not_clipped),
        ("variance", averages_not_clipped),
    ],
)
def test_bounding_that_is_left_out_is_caught(
    neighbours: Neighbours,
    name: str,
    bug: Callable[[Fragment], Fragment],
    mechanism: Mechanism,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fragment = planned(CASES[name].sql, mechanism, monkeypatch).blocks[0].fragments["east"]
    assert neighbours.audited(fragment, fragment.charge, sql_of=bug(fragment)).contradicted


@with_each_mechanism
def test_values_that_are_not_clamped_are_caught(
    tmp_path_factory: pytest.TempPathFactory, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.views, "_clamped", lambda value, low, high, **_: value)
    folder = tmp_path_factory.mktemp("unclamped")
    fragment = planned(CASES["none"].sql, mechanism, monkeypatch).blocks[0].fragments["east"]
    with (
        local_node(folder / "with", CATALOG, tables(target=True), province="east") as one,
        local_node(folder / "without", CATALOG, tables(target=False), province="east") as other,
    ):
        assert Neighbours(one, other).audited(fragment, fragment.charge).contradicted


# Bugs in what is known of nested rows


@with_each_mechanism
def test_sums_of_a_person_that_are_not_held_are_caught(
    neighbours: Neighbours, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy.rows.per_unit.Rows, "held", lambda _, value, *__: cast(value, "BIGINT"))
    monkeypatch.setattr(privacy.rows.per_unit, "_within", lambda value, _: value)
    fragment = planned(CASES["nested"].sql, mechanism, monkeypatch).blocks[0].fragments["east"]
    assert neighbours.audited(fragment, fragment.charge).contradicted


@with_each_mechanism
def test_a_key_that_is_taken_as_fixed_is_caught(
    neighbours: Neighbours, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy.rows.relation.Relation, "is_fixed", lambda *_: True)
    fragment = planned(CASES["nested, key of a left join"].sql, mechanism, monkeypatch).blocks[0].fragments["east"]
    assert fragment.bounding.max_groups == 1
    assert neighbours.audited(fragment, fragment.charge).contradicted


# Several nodes


def regional(epsilon: float, mechanism: Mechanism) -> Charge:
    """What a request promises for the region."""
    return Charge(epsilon=epsilon) if mechanism == "laplace" else Charge(rho=zcdp_rho(epsilon, DELTA))


def in_both_nodes(neighbours: Neighbours, plan: Plan, claim: Charge) -> Finding:
    """Audit of the joint releases of two nodes, both of which hold the person's rows."""
    assert set(plan.blocks[0].fragments) == {"east", "west"}
    pairs = [(fragment, neighbours.exact(fragment)) for fragment in plan.blocks[0].fragments.values()]
    one = together(*(Noising(fragment, exact[0]) for fragment, exact in pairs))
    other = together(*(Noising(fragment, exact[1]) for fragment, exact in pairs))
    return audit(one, other, claim)


SPANNING = "SELECT COUNT(*) FROM visits"


@with_each_mechanism
def test_a_person_in_two_nodes_loses_what_was_promised_for_the_region(
    neighbours: Neighbours, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    epsilon = 2.0 if mechanism == "laplace" else 5.0
    plan = planned(SPANNING, mechanism, monkeypatch, epsilon=epsilon)
    finding = in_both_nodes(neighbours, plan, regional(epsilon, mechanism))
    assert not finding.contradicted
    assert finding.epsilon > 0.3


@with_each_mechanism
def test_a_span_that_is_forgotten_is_caught(
    neighbours: Neighbours, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Catalog, "span", lambda *_: 1)
    epsilon = 2.0 if mechanism == "laplace" else 5.0
    plan = planned(SPANNING, mechanism, monkeypatch, epsilon=epsilon)
    assert in_both_nodes(neighbours, plan, regional(epsilon, mechanism)).contradicted


@with_each_mechanism
def test_one_node_alone_may_spend_what_the_region_may(
    neighbours: Neighbours, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    epsilon = 1.5 if mechanism == "laplace" else 4.0
    plan = planned(f"{SPANNING} WHERE province = 'east'", mechanism, monkeypatch, epsilon=epsilon)
    assert set(plan.blocks[0].fragments) == {"east"}
    fragment = plan.blocks[0].fragments["east"]
    assert not neighbours.audited(fragment, regional(epsilon, mechanism)).contradicted
    assert neighbours.audited(fragment, regional(epsilon, mechanism), noise=half_the_noise(fragment)).contradicted


# The audit itself


def test_the_audit_contradicts_a_claim_of_less_than_what_is_given(
    neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragment = (
        planned("SELECT COUNT(*) FROM residents", "laplace", monkeypatch, epsilon=2.0).blocks[0].fragments["east"]
    )
    spent = fragment.charge.epsilon
    assert not neighbours.audited(fragment, Charge(epsilon=spent)).contradicted
    finding = neighbours.audited(fragment, Charge(epsilon=0.8 * spent))
    assert finding.contradicted
    assert 0.8 * spent < finding.epsilon <= spent
