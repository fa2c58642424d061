"""How often the interval of a fresh answer covers the value without noise, over real noise: 95 times in 100.

Each test looks at independent answers, so that the number of those that cover it is binomial; a coverage within the
bounds of a case is called wrong less than once in 1e7 on either side. Small noise in whole steps covers more; the bounds
of what is simulated are wider, by what a few draws and a skewed expression may cost (docs/decisions.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy import stats

import privacy.block_planner
import privacy.error_bars
from coordinator.above import Computed, computed
from coordinator.merge import merge
from coordinator.rest import RestEngine
from coordinator.roll_up import by_grouping_sets
from privacy.catalog import parse_catalog
from privacy.error_bars import LEAST_DRAWS
from privacy.fragment import MERGED, Fragment, Mechanism, Plan
from privacy.noise import noisy
from privacy.planner import Planner
from privacy.request import Request
from tests.attacks.local_node import LocalNode, local_node
from tests.statistics.clinic import CATALOG, tables
from tests.statistics.copies import COPY, repeated, repeated_rows

FALSE_ALARM = 1e-7
COPIES = 1_800  # answers at once: as many as have all draws
PEOPLE = 300


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """Few people, so that noise is large beside what is counted; the other province has as many, of the same kind."""
    people = np.arange(PEOPLE)
    visits = pa.table(
        {
            "person_id": people,
            "ward": np.array(["A", "B", "C", "D"])[np.digitize(people, [30, 60, 70])],
            "shift": np.array(["day", "night"])[people % 2],
            "sex": np.array(["F", "M"])[people % 2],
            "urgent": people % 3 == 0,
            "cost": (people % 20) / 2.0,
            "score": people % 9 - 3.0,
        }
    )
    rows = {"visits": visits, "residents": tables(target=False)["residents"]}
    with local_node(tmp_path_factory.mktemp("few"), CATALOG, rows, province="east") as node:
        yield node


@dataclass(frozen=True)
class Case:
    """A question, and between which bounds the coverage of each of its noisy columns must lie."""

    sql: str
    epsilon: float
    low: float = 0.945
    high: float = 0.956


EVERY_PART = 0.944, 0.965  # counts come in whole numbers, so a little more than 95 % is covered
CASES = {
    "sums": Case("SELECT SUM(cost), SUM(score) FROM visits", 0.5),
    "sums beside their count": Case("SELECT SUM(cost), SUM(score), AVG(cost) FROM visits", 1.0, 0.94, 0.965),
    "counts": Case("SELECT shift, COUNT(*), 1000 - 2.5 * COUNT(*) FROM visits GROUP BY shift", 0.5, *EVERY_PART),
    "count of one province": Case("SELECT COUNT(*) FROM visits WHERE province = 'east'", 0.5, *EVERY_PART),
    "small noise": Case("SELECT shift, COUNT(*), COUNT(*) / 4 FROM visits GROUP BY shift", 30.0, 0.945, 1.0),
    "a ratio with small noise": Case("SELECT COUNT(*) FILTER (WHERE urgent) / COUNT(*) FROM visits", 20.0, 0.94, 1.0),
    "difference between provinces": Case(
        "SELECT COUNT(*) FILTER (WHERE province = 'east') - COUNT(*) FILTER (WHERE province = 'west'),"
        " AVG(cost) FILTER (WHERE province = 'east') - AVG(cost) FILTER (WHERE province = 'west') FROM visits",
        0.5,
        0.935,
        0.97,
    ),
    "average": Case("SELECT AVG(cost) FROM visits", 0.5, 0.94, 0.965),
    "averages of few": Case("SELECT ward, AVG(cost) FROM visits WHERE ward < 'E' GROUP BY ward", 0.5, 0.93, 0.97),
    "share": Case("SELECT COUNT(*) FILTER (WHERE urgent) * 100.0 / COUNT(*) FROM visits", 0.5, 0.93, 0.97),
    "not below zero": Case("SELECT ward, GREATEST(COUNT(*), 0) FROM visits GROUP BY ward", 0.5, 0.94, 0.98),
    "functions": Case("SELECT LN(COUNT(*)), SQRT(SUM(cost)), ROUND(AVG(cost) * 12, 3) FROM visits", 1.0, 0.93, 0.97),
    "deviations": Case("SELECT STDDEV_POP(cost), VAR_POP(score) FROM visits", 2.0, 0.93, 0.97),
}


@dataclass(frozen=True)
class Seen:
    """Answers to one question: by answer, by cell, by noisy column; NaN where the answer is NULL."""

    values: NDArray[np.float64]
    errors: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    truth: NDArray[np.float64]

    def column(self, place: int) -> Seen:
        return Seen(*(part[:, :, [place]] for part in vars(self).values()))

    def covered(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Of the cells that are shown, whose interval holds the value without noise."""
        slack = 1e-9 * (1 + np.abs(self.truth))
        held = (low <= self.truth + slack) & (self.truth - slack <= high)
        found: NDArray[np.bool_] = held[np.isfinite(self.values)]
        return found

    @property
    def by_the_interval(self) -> NDArray[np.bool_]:
        return self.covered(self.low, self.high)

    @property
    def by_two_errors(self) -> NDArray[np.bool_]:
        """What estimate ± 1.96 standard errors would hold."""
        return self.covered(self.values - 1.96 * self.errors, self.values + 1.96 * self.errors)


def planned(case: Case, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan with that mechanism, whichever would err less."""

    def error(fragments: dict[str, Fragment], _: object) -> float:
        return float(any(part.charge.epsilon > 0 for part in fragments.values()) == (mechanism == "gaussian"))

    monkeypatch.setattr(privacy.block_planner, "_error", error)
    request = Request.new(case.sql, epsilon=case.epsilon, delta=1e-6, nonce="0" * 32, expires_unix_s=2**40)
    plan = Planner(parse_catalog(CATALOG, source="clinic.toml")).plan(request)
    found = {measure.mechanism for fragment in plan.blocks[0].fragments.values() for measure in fragment.measures}
    assert ("gaussian" in found) == (mechanism == "gaussian")
    return plan


def seen(node: LocalNode, plan: Plan, *, copies: int = COPIES) -> Seen:
    """`copies` answers of fresh noise."""
    (block,) = plan.blocks
    exact = {name: node.exact(part) for name, part in block.fragments.items()}
    wide, rows = repeated, repeated_rows
    sets = tuple((*keys, len(block.any_fragment.keys)) for keys in block.grouping_sets)  # of each copy
    if sets:
        wide, rows = _copies_last, _rows_with_copies_last
    parts = {name: wide(part, copies) for name, part in block.fragments.items()}
    releases = {name: {MERGED: noisy(part, rows(exact[name], copies))} for name, part in parts.items()}
    rest = RestEngine(threads=1)
    many = replace(plan, blocks=(replace(block, fragments=parts, grouping_sets=sets),))
    result = computed(rest, many, releases, seed=copies, timeout_s=120)
    silent = {name: without_noise(part) for name, part in parts.items()}
    true = {name: noisy(part, rows(exact[name], copies)) for name, part in silent.items()}
    merged = by_grouping_sets(merge(silent, true), sets, len(many.blocks[0].any_fragment.keys))
    with rest.session(timeout_s=60) as session:
        truth = session.run(plan.rest.sql, merged=merged.table)
    places = [place for place, column in enumerate(plan.rest.columns) if column.noisy]
    tables_of = (result.rows, *_bars(result), truth)
    return Seen(*(_numbers(table, places, copies, copies_last=bool(sets)) for table in tables_of))


def _copies_last(fragment: Fragment, copies: int) -> Fragment:
    """As `repeated`, with the copy as the last key, named like the others: a key that is never rolled up."""
    wide, name = repeated(fragment, copies), f"k{len(fragment.keys)}"
    keys = (*fragment.keys, replace(COPY, name=name))
    cells = wide.cells.select([*(key.name for key in fragment.keys), COPY.name]).rename_columns([k.name for k in keys])
    measures = tuple(
        part if part.level is None else replace(part, level=replace(part.level, keys=(*part.level.keys[1:], name)))
        for part in wide.measures
    )
    return replace(wide, keys=keys, cells=cells, measures=measures)


def _rows_with_copies_last(rows: pa.Table, copies: int) -> pa.Table:
    wide = repeated_rows(rows, copies)
    keys = sum(name.startswith("k") for name in rows.column_names)
    return wide.rename_columns([f"k{keys}" if name == COPY.name else name for name in wide.column_names])


def without_noise(fragment: Fragment) -> Fragment:
    nothing = {"scale": 0.0, "sensitivity": 0, "sensitivity_l2": 0.0}
    measures = tuple(replace(measure, mechanism="laplace", **nothing) for measure in fragment.measures)
    return replace(fragment, measures=measures)


def _bars(result: Computed) -> tuple[pa.Table, ...]:
    return result.bars.standard_errors, result.bars.low, result.bars.high


def _numbers(table: pa.Table, places: list[int], copies: int, *, copies_last: bool) -> NDArray[np.float64]:
    columns = [table.column(place).cast(pa.float64()).to_numpy() for place in places]
    by_copy = [column.reshape(-1, copies).T if copies_last else column.reshape(copies, -1) for column in columns]
    return np.stack(by_copy, axis=2)


def assert_between(covered: NDArray[np.bool_], low: float, high: float) -> None:
    """A coverage between `low` and `high` fails here once in 1e7 on either side."""
    count, size = int(covered.sum()), covered.size
    assert stats.binom.ppf(FALSE_ALARM, size, low) <= count <= stats.binom.isf(FALSE_ALARM, size, high), count / size


@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
@pytest.mark.parametrize("name", CASES)
def test_intervals_cover_the_value_without_noise(
    node: LocalNode, name: str, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = seen(node, planned(CASES[name], mechanism, monkeypatch))
    for column in range(found.values.shape[2]):
        assert_between(found.column(column).by_the_interval, CASES[name].low, CASES[name].high)


LEVELS = {  # a total's noise is near Gaussian where its parts tell much of it, and it is taken as Laplace noise
    "sums": Case("SELECT SUM(cost) FROM visits GROUP BY ROLLUP (ward)", 0.5, 0.945, 0.965),
    "pairs": Case(
        "SELECT COUNT(*), SUM(cost), AVG(cost) FROM visits WHERE ward < 'E' GROUP BY ROLLUP (ward)", 1.0, 0.93, 0.97
    ),
    "small noise": Case("SELECT COUNT(*), COUNT(*) / 4 FROM visits GROUP BY ROLLUP (ward)", 60.0, 0.945, 1.0),
}


@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
@pytest.mark.parametrize("name", LEVELS)
def test_intervals_of_combined_levels_cover_as_much(
    node: LocalNode, name: str, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        privacy.block_planner, "choose_levels", lambda groups, *_: {groups[0]: groups[0].count, groups[-1]: 20}
    )
    plan = planned(LEVELS[name], mechanism, monkeypatch)
    assert all(part.finest != part.measures for part in plan.blocks[0].fragments.values())
    found = seen(node, plan)
    for column in range(found.values.shape[2]):
        assert_between(found.column(column).by_the_interval, LEVELS[name].low, LEVELS[name].high)


def test_two_standard_errors_do_not_cover_the_averages_of_few(node: LocalNode, monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen(node, planned(CASES["averages of few"], "laplace", monkeypatch))
    assert found.by_two_errors.mean() < 0.9 < 0.93 < found.by_the_interval.mean()
    shown = np.isfinite(found.values)
    assert (found.low[shown] >= 0).all()
    assert (found.high[shown] <= 10).all()


def test_the_fewest_draws_cover_as_much(node: LocalNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy.error_bars, "draws_per_cell", lambda *_: LEAST_DRAWS)
    for name in ("average", "averages of few", "share", "functions"):
        found = seen(node, planned(CASES[name], "laplace", monkeypatch), copies=4_000)
        assert_between(found.by_the_interval, 0.92, 0.97)
