"""Groups that nobody can list: what is shown of them keeps ε or ρ, and the threshold's δ beside it.

test_thresholds.py counts how often the groups of one person alone are shown, which is δ. Here the whole release is audited:
which groups are shown, and the noisy count and sums of those that are. The heavy person has more rows, in more towns, than
count; towns are large, as large as the threshold, or one person short of being looked at.

Each audit raises a false alarm with probability below 1e-7 (audit.py), all of this file together below 2e-6. A planted bug
is missed with probability below 1e-6: of 20,000 releases some event contradicts the claim even where its two counts lie
five standard deviations, taken together, on the side that hides the bug.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import pyarrow as pa
import pytest

from privacy.accounting import Charge
from privacy.catalog import Catalog, parse_catalog
from privacy.fragment import Fragment
from tests.attacks.local_node import local_node
from tests.statistics.audit import Finding, audit
from tests.statistics.neighbours import DELTA, MECHANISMS, Mechanism, Neighbours, planned, with_each_mechanism
from tests.statistics.open_groups import both, threshold_of
from tests.statistics.planted import half_the_noise, no_limit_of_groups, no_split, raw_sums

CATALOG = """
[region]
name = "Towns"
version = "1"
description = { en = "One province", zh = "一省" }
provinces = ["east"]

[tables.visits]
access = "private"
description = { en = "Visits", zh = "就诊" }
unit = "person"
unit_column = "person_id"
span = 1
max_rows = 3
max_groups = 2

[tables.visits.columns]
person_id = { type = "BIGINT", description = { en = "Person", zh = "人员" } }
town = { type = "VARCHAR", description = { en = "Town, as written", zh = "城镇" } }
cost = { type = "DOUBLE", bounds = [0, 10], grid = 0.5, description = { en = "Cost", zh = "费用" } }

[tables.visits.columns.size]
type = "VARCHAR"
values = ["large", "many", "laplace edge", "gaussian edge", "laplace few", "gaussian few"]
description = { en = "How many come from the town", zh = "规模" }
"""
STANDARD: Catalog = parse_catalog(CATALOG, source="towns.toml")
TOWNS = 2  # of each size: as many as count
MANY = 6  # of another: more than count
LARGE = 1_000  # persons in a town: shown but for a probability of nothing
HEAVY = -1  # the person by whom neighbours differ
EPSILON = {"laplace": 2.0, "gaussian": 6.0}  # where 20,000 releases tell most
EPSILON_OF_FEW = {"laplace": 1.0, "gaussian": 2.0}  # so small that it does not cover for δ


@functools.cache
def fragment_of(mechanism: Mechanism, size: str) -> Fragment:
    """Of the towns of that size: `large` (or `many` such), at the `edge` of the threshold, or of too `few` persons."""
    of = size if size in ("large", "many") else f"{mechanism} {size}"
    shown = "COUNT(*), SUM(cost)" if size == "large" else "COUNT(*)"
    sql = f"SELECT town, {shown} FROM visits WHERE size = '{of}' GROUP BY town"
    epsilon = (EPSILON_OF_FEW if size == "few" else EPSILON)[mechanism]
    with pytest.MonkeyPatch.context() as patch:
        plan = planned(sql, mechanism, patch, epsilon=epsilon, delta=DELTA, catalog=STANDARD)
    fragment = plan.blocks[0].fragments["east"]
    assert fragment.bounding.form == "clip_and_limit"
    assert fragment.charge.delta > 0.4 * DELTA
    return fragment


def _persons() -> dict[str, int]:
    """By size, how many others come from each town: with the heavy person one more than that."""
    found = {"large": LARGE, "many": LARGE}
    for mechanism in MECHANISMS:
        found[f"{mechanism} edge"] = threshold_of(fragment_of(mechanism, "edge")).above
        found[f"{mechanism} few"] = threshold_of(fragment_of(mechanism, "few")).least - 1
    return found


def _rows(*, target: bool) -> pa.Table:
    rows, persons = [], itertools.count()
    for size, others in _persons().items():
        for number in range(MANY if size == "many" else TOWNS):
            town = f"{size} {number}"
            rows += [(person, town, size, 5.0) for person in itertools.islice(persons, others)]  # in no other town
            rows += [(HEAVY, town, size, 1e6)] * (5 if target else 0)  # more rows, and more of each, than count
    return pa.table(dict(zip(("person_id", "town", "size", "cost"), zip(*rows, strict=True), strict=True)))


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    folder = tmp_path_factory.mktemp("towns")
    with (
        local_node(folder / "with", CATALOG, {"visits": _rows(target=True)}, province="east") as one,
        local_node(folder / "without", CATALOG, {"visits": _rows(target=False)}, province="east") as other,
    ):
        yield Neighbours(one, other)


def audited(
    neighbours: Neighbours,
    fragment: Fragment,
    claim: Charge,
    *,
    noise: Fragment | None = None,
    sql_of: Fragment | None = None,
) -> Finding:
    """As `Neighbours.audited`, of the groups that are shown."""
    return audit(*both(noise or fragment, *neighbours.exact(fragment, sql_of)), claim)


@with_each_mechanism
@pytest.mark.parametrize("size", ["large", "edge"])
def test_the_claim_holds_and_is_used(neighbours: Neighbours, size: str, mechanism: Mechanism) -> None:
    fragment = fragment_of(mechanism, size)
    finding = audited(neighbours, fragment, fragment.charge)
    assert not finding.contradicted
    assert finding.epsilon > 0.3


@with_each_mechanism
def test_towns_that_only_one_person_lifts_are_covered_by_delta(neighbours: Neighbours, mechanism: Mechanism) -> None:
    fragment = fragment_of(mechanism, "few")
    with_target, without = neighbours.exact(fragment)
    assert (with_target.num_rows, without.num_rows) == (TOWNS, 0)
    assert not audited(neighbours, fragment, fragment.charge).contradicted


@with_each_mechanism
@pytest.mark.parametrize(("size", "bug"), [("large", half_the_noise), ("large", no_split), ("edge", half_the_noise)])
def test_too_little_noise_is_caught(
    neighbours: Neighbours, size: str, bug: Callable[[Fragment], Fragment], mechanism: Mechanism
) -> None:
    fragment = fragment_of(mechanism, size)
    assert audited(neighbours, fragment, fragment.charge, noise=bug(fragment)).contradicted


@with_each_mechanism
@pytest.mark.parametrize("bug", [raw_sums, no_limit_of_groups])
def test_bounding_that_is_left_out_is_caught(
    neighbours: Neighbours, bug: Callable[[Fragment], Fragment], mechanism: Mechanism
) -> None:
    fragment = fragment_of(mechanism, "many")
    assert audited(neighbours, fragment, fragment.charge, sql_of=bug(fragment)).contradicted


@with_each_mechanism
def test_half_the_threshold_is_caught(neighbours: Neighbours, mechanism: Mechanism) -> None:
    fragment = fragment_of(mechanism, "few")
    low = replace(threshold_of(fragment), above=threshold_of(fragment).above // 2, delta=1.0)  # past the node's check
    assert audited(neighbours, fragment, fragment.charge, noise=replace(fragment, threshold=low)).contradicted


@with_each_mechanism
def test_a_decision_that_is_not_paid_for_is_caught(neighbours: Neighbours, mechanism: Mechanism) -> None:
    """The count that decides is released too, so its share is a part of the claim."""
    fragment = fragment_of(mechanism, "many")
    shown = [measure for measure in fragment.measures if measure.name != threshold_of(fragment).measure]
    unpaid = replace(replace(fragment, measures=tuple(shown)).charge, delta=fragment.charge.delta)
    assert audited(neighbours, fragment, unpaid).contradicted
