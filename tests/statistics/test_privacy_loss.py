"""The privacy that is claimed is the privacy that is given: for each mechanism and each form of bounding, an audit of two
data sets that differ by one heavy person does not contradict the claim, and contradicts it as soon as a bug is planted.

Each audit raises a false alarm with probability below 1e-7 (audit.py), all of this file together below 1e-5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

import node.views
import privacy.block_planner
import privacy.rows.per_unit
import privacy.rows.relation
import privacy.rows.source
from privacy.accounting import Charge
from privacy.bounding import bounded_sql
from privacy.expressions.rules import cast
from privacy.fragment import Fragment
from privacy.levels import Groups, Loads
from tests.attacks.local_node import prepared_node
from tests.statistics.cases import CASES, READY, SUMS
from tests.statistics.clinic import CATALOG, tables
from tests.statistics.neighbours import Mechanism, Neighbours, clinics, planned, with_each_mechanism
from tests.statistics.planted import averages_not_clipped, half_the_noise, no_limit_of_groups, raw_sums


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    with clinics(tmp_path_factory.mktemp("clinic")) as both:
        yield both


def of_cases(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", names or list(CASES))


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
@pytest.mark.parametrize("name", READY)
def test_half_the_noise_on_sums_that_are_ready_is_caught(
    prepared_neighbours: Neighbours, name: str, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragment = planned(READY[name], mechanism, monkeypatch).blocks[0].fragments["east"]
    assert prepared_neighbours.audited(fragment, fragment.charge, noise=half_the_noise(fragment)).contradicted


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


@with_each_mechanism
@of_cases()
def test_half_the_noise_is_caught(
    neighbours: Neighbours, name: str, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragment = planned(CASES[name].sql, mechanism, monkeypatch).blocks[0].fragments["east"]
    assert neighbours.audited(fragment, fragment.charge, noise=half_the_noise(fragment)).contradicted


# Bugs in the bounding


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
    fragment = planned(CASES["none"].sql, mechanism, monkeypatch).blocks[0].fragments["east"]
    with clinics(tmp_path_factory.mktemp("unclamped")) as both:
        assert both.audited(fragment, fragment.charge).contradicted


@with_each_mechanism
def test_rows_that_a_join_multiplies_and_nobody_counts_are_caught(
    neighbours: Neighbours, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy.rows.source.Owner, "multiplied", lambda owner, _: owner)
    fragment = planned(CASES["multiplied rows"].sql, mechanism, monkeypatch).blocks[0].fragments["east"]
    assert fragment.bounding.max_rows == 1  # as if each row met one hospital
    assert neighbours.audited(fragment, fragment.charge).contradicted


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
