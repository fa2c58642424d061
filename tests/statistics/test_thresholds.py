"""Groups that nobody can list, through a node's own views, SQL and noise: what one person adds is hardly ever shown.

Neighbours differ by one person whose groups nobody else makes large enough to be looked at. The chance that any of them is
shown is at most the threshold's δ. Many such persons are in the data at once, each with groups of their own, so that one
release is as many trials. δ is large (10⁻³), so that there is something to count; the number of trials is fixed, and a
true bound is broken with probability below 1e-7 in each test.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from privacy.catalog import Catalog, parse_catalog
from privacy.errors import InternalError
from privacy.fragment import Fragment, Measure
from privacy.noise import noisy
from privacy.thresholds import choose_threshold, delta_of
from tests.attacks.local_node import LocalNode, local_node
from tests.statistics.neighbours import DELTA, Mechanism
from tests.statistics.neighbours import planned as planned_with
from tests.statistics.open_groups import threshold_of

CATALOG = """
[region]
name = "Clinic"
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
max_groups = 8

[tables.visits.columns]
person_id = { type = "BIGINT", description = { en = "Person", zh = "人员" } }
place = { type = "VARCHAR", description = { en = "Place, as written", zh = "地点" } }
"""
STANDARD: Catalog = parse_catalog(CATALOG, source="clinic.toml")
SQL = "SELECT place, COUNT(*) FROM visits GROUP BY place"
FALSE_ALARM = 1e-7
TEAMS = 10_000  # of persons whose groups are theirs alone: the trials
HEAVY = 2_500  # the same, of persons with twenty times the groups that may count
MOST_GROUPS = 8  # of a person, by the catalog
POPULAR = 1_000  # persons who share some groups


@dataclass(frozen=True)
class Case:
    """A mechanism, and how many persons make a group large enough to be looked at: a team."""

    mechanism: Mechanism
    least: int


CASES = [Case("laplace", 1), Case("laplace", 2), Case("gaussian", 1), Case("gaussian", 2)]
with_each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.mechanism}, teams of {case.least}")


@functools.cache
def _plan(mechanism: Mechanism, epsilon: float) -> Fragment:
    """The fragment with that mechanism, whichever would err less."""
    with pytest.MonkeyPatch.context() as patch:
        plan = planned_with(SQL, mechanism, patch, epsilon=epsilon, delta=DELTA, catalog=STANDARD)
    return plan.blocks[0].fragments["east"]


def deciding(fragment: Fragment) -> Measure:
    return next(measure for measure in fragment.measures if measure.name == threshold_of(fragment).measure)


def planned(case: Case, *, least: float = 1.0, most: float = 60.0) -> Fragment:
    """A fragment for teams of `case`, at the ε between `least` and `most` whose whole threshold uses most of δ."""
    found = [_plan(case.mechanism, float(epsilon)) for epsilon in np.geomspace(least, most, 60)]
    fitting = [fragment for fragment in found if threshold_of(fragment).least == case.least]
    best = max(fitting, key=used)
    assert best.bounding.form == "clip_and_limit"
    assert used(best) > 0.85
    return best


def used(fragment: Fragment) -> float:
    """The share of its δ that the threshold really spends."""
    threshold = threshold_of(fragment)
    return delta_of(threshold, deciding(fragment), fragment.bounding) / threshold.delta


def _rows(members: int, groups: int, *, teams: int = TEAMS) -> pa.Table:
    """Each team's `groups` are visited by all of its `members`, and by nobody else; popular ones by many."""
    team = np.repeat(np.arange(teams), members * groups)
    member = np.tile(np.repeat(np.arange(members), groups), teams)
    group = np.tile(np.arange(groups), teams * members)
    persons = np.concatenate([team * members + member, np.repeat(-1 - np.arange(POPULAR), MOST_GROUPS)])
    own = [f"{one}/{other}" for one, other in zip(team, group, strict=True)]
    popular = [f"popular {place}" for _ in range(POPULAR) for place in range(MOST_GROUPS)]
    return pa.table({"person_id": pa.array(persons), "place": pa.array(own + popular)})


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LocalNode]]:
    """Teams of one and of two, and single persons with far more groups than may count."""
    folder = tmp_path_factory.mktemp("thresholds")
    rows = {"1": _rows(1, MOST_GROUPS), "2": _rows(2, MOST_GROUPS), "heavy": _rows(1, 20 * MOST_GROUPS, teams=HEAVY)}
    with (
        local_node(folder / "1", CATALOG, {"visits": rows["1"]}, province="east") as ones,
        local_node(folder / "2", CATALOG, {"visits": rows["2"]}, province="east") as twos,
        local_node(folder / "heavy", CATALOG, {"visits": rows["heavy"]}, province="east") as heavy,
    ):
        yield {"1": ones, "2": twos, "heavy": heavy}


def teams_shown(fragment: Fragment, exact: pa.Table) -> int:
    """How many teams have a group in a release of `exact`."""
    shown = noisy(fragment, exact).column("k0").to_pylist()
    return len({place.partition("/")[0] for place in shown if "/" in place})


def most_by_chance(fragment: Fragment, trials: int = TEAMS) -> int:
    """What so many trials of probability δ exceed with probability `FALSE_ALARM`."""
    return int(stats.binom.isf(FALSE_ALARM, trials, threshold_of(fragment).delta))


def with_threshold(fragment: Fragment, **changes: int) -> Fragment:
    """A planted bug, past the check that a node makes before each release."""
    return replace(fragment, threshold=replace(threshold_of(fragment), delta=1.0, **changes))


@with_each_case
def test_a_group_that_one_person_makes_large_enough_is_hardly_ever_shown(
    nodes: dict[str, LocalNode], case: Case
) -> None:
    fragment = planned(case)
    exact = nodes[str(case.least)].exact(fragment)
    assert teams_shown(fragment, exact) <= most_by_chance(fragment)
    if case.least == 1:
        assert teams_shown(fragment, nodes["heavy"].exact(fragment)) <= most_by_chance(fragment, HEAVY)
    popular = [place for place in noisy(fragment, exact).column("k0").to_pylist() if place.startswith("popular")]
    assert popular == [f"popular {place}" for place in range(MOST_GROUPS)]


@with_each_case
def test_smaller_groups_never_leave_the_engine(nodes: dict[str, LocalNode], case: Case) -> None:
    fragment = planned(case)
    counts = nodes["1"].exact(fragment).column(deciding(fragment).name).to_pylist()
    assert min(counts) >= case.least
    assert (len(counts) > TEAMS) == (case.least == 1)


@with_each_case
def test_half_the_threshold_is_caught(nodes: dict[str, LocalNode], case: Case) -> None:
    fragment = planned(case)
    bug = with_threshold(fragment, above=threshold_of(fragment).above // 2)
    assert teams_shown(bug, nodes[str(case.least)].exact(fragment)) > most_by_chance(fragment)


@pytest.mark.parametrize("case", CASES[:2], ids=lambda case: f"teams of {case.least}")
def test_a_threshold_for_one_group_instead_of_all_of_a_person_is_caught(
    nodes: dict[str, LocalNode], case: Case
) -> None:
    fragment = planned(case)
    one = replace(fragment.bounding, max_groups=1)
    found = choose_threshold(deciding(fragment), one, delta=threshold_of(fragment).delta, most_groups=1)
    steps = found.above - found.least
    bug = with_threshold(fragment, above=steps + case.least)
    assert teams_shown(bug, nodes[str(case.least)].exact(fragment)) > most_by_chance(fragment)


def test_counting_persons_before_their_groups_are_limited_is_caught(nodes: dict[str, LocalNode]) -> None:
    fragment = planned(Case("laplace", 1))
    unlimited = replace(fragment, bounding=replace(fragment.bounding, max_groups=20 * MOST_GROUPS))
    exact = nodes["heavy"].exact(fragment, sql_of=unlimited)
    assert teams_shown(fragment, exact) > most_by_chance(fragment, HEAVY)


def test_at_least_instead_of_above_is_caught(nodes: dict[str, LocalNode]) -> None:
    """OpenDP's issues 2922 and 2923, planted: `≥` shows e^(1/scale) times as many."""
    fragment = planned(Case("laplace", 1), least=30.0, most=45.0)
    factor = math.exp(1 / deciding(fragment).scale)
    assert 0.85 * factor * TEAMS * threshold_of(fragment).delta > 2 * most_by_chance(fragment)
    exact = nodes["1"].exact(fragment)
    assert teams_shown(fragment, exact) <= most_by_chance(fragment)
    bug = with_threshold(fragment, above=threshold_of(fragment).above - 1)  # n > T − 1 is n ≥ T
    assert teams_shown(bug, exact) > most_by_chance(fragment)


def test_the_node_itself_refuses_each_planted_threshold(nodes: dict[str, LocalNode]) -> None:
    for case in CASES:
        fragment = planned(case)
        bug = replace(fragment, threshold=replace(threshold_of(fragment), above=threshold_of(fragment).above - 1))
        with pytest.raises(InternalError, match="too low"):
            noisy(bug, nodes["1"].exact(fragment))
