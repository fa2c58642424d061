"""Which levels are released: only where that is predicted to err less, within the budget, and at each level's own
sensitivity."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import privacy.block_planner
from privacy.binding import Names, bind
from privacy.calibration import important, predicted_error
from privacy.chains import chains_of
from privacy.codes import group_codes
from privacy.dense import dense
from privacy.domains import Domains
from privacy.errors import InternalError
from privacy.fragment import Bounding, Fragment, Level, Mechanism, Plan
from privacy.levels import Groups, choose_levels, groups_of, predicted
from privacy.measures import RawMeasure
from privacy.noise import noisy, variance
from privacy.parsing import parse
from privacy.planner import Planner
from privacy.request import Options
from privacy.split import split
from privacy.stability import heaped, sensitivity_l2
from tests.privacy.corpus_planner import catalog, plan, request

ONE_ROW = Bounding("none", 1, 1, "")
PAIRED = "SELECT home_province, birth_year, COUNT(*), AVG(birth_year) FROM residents GROUP BY ROLLUP (home_province, birth_year)"
HEAPED = "SELECT hospital, age, COUNT(*) FROM visits GROUP BY ROLLUP (hospital, age)"


def rollup(*counts: int) -> tuple[Groups, ...]:
    """The groups of ROLLUP over as many keys as there are counts but one."""
    keys = len(counts) - 1
    sets = [Groups(frozenset(range(keys - place)), many, counts[0] // many) for place, many in enumerate(counts)]
    return sets[0], *sets


def chosen(counts: tuple[int, ...], mechanism: Mechanism) -> tuple[list[int], float]:
    """The groups of the coarser levels, and the error compared with that of the cells alone."""
    loads = choose_levels(rollup(*counts), ONE_ROW, mechanism)
    assert sum(loads.values()) <= len(counts) * counts[0]
    alone = {rollup(*counts)[0]: len(counts) * counts[0]}
    share = predicted(loads, ONE_ROW, mechanism) / predicted(alone, ONE_ROW, mechanism)
    return [level.count for level in loads][1:], share


def test_small_totals_are_best_as_sums_under_laplace_noise() -> None:
    for counts in [(5, 1), (20, 4, 1), (100, 10, 1)]:
        assert chosen(counts, "laplace") == ([], pytest.approx(1))


@pytest.mark.parametrize(
    ("counts", "mechanism", "coarser", "share"),
    [
        ((100, 10, 1), "gaussian", [10, 1], 0.669),
        ((408, 34, 1), "laplace", [1], 0.904),
        ((8160, 240, 2, 1), "laplace", [2], 0.600),
        ((10000, 100, 1), "laplace", [100, 1], 0.670),
        ((10000, 100, 1), "gaussian", [100, 1], 0.411),
    ],
)
def test_levels_are_released_where_that_errs_less(
    counts: tuple[int, ...], mechanism: Mechanism, coarser: list[int], share: float
) -> None:
    assert chosen(counts, mechanism) == (coarser, pytest.approx(share, abs=0.001))


def test_of_a_cube_one_chain_is_released() -> None:
    cells, by_one, by_other = (
        Groups(frozenset(keys), count, 1) for keys, count in [((0, 1), 4000), ((0,), 40), ((1,), 100)]
    )
    groups = (cells, cells, by_one, by_other, Groups(frozenset(), 1, 4000))
    loads = choose_levels(groups, ONE_ROW, "gaussian")
    assert loads == {cells: 8000, by_one: 40, groups[-1]: 1}


CUBE = pa.table({"k0": ["a", "a", "b", "b", None, None], "k1": [1, 2, 1, 2, 1, 2], "k2": [1, 1, 1, 1, 1, 2]})


@given(st.lists(st.sets(st.integers(0, 2)), max_size=6), st.integers(1, 6), st.sampled_from(["laplace", "gaussian"]))
def test_what_is_chosen_is_a_chain_that_every_row_is_read_off(
    sets: list[set[int]], max_groups: int, mechanism: Mechanism
) -> None:
    sets = [*sets, {0, 1, 2}]
    groups = groups_of(CUBE, [tuple(sorted(keys)) for keys in sets])
    bounding = Bounding("clip_and_limit", 1, max_groups, "")
    loads = choose_levels(groups, bounding, mechanism)
    chain = list(loads)
    assert all(coarser.keys < finer.keys for finer, coarser in itertools.pairwise(chain))
    assert chain[0] == groups[0]
    assert min(loads.values()) > 0
    alone = {groups[0]: len(sets) * 6}
    assert predicted(loads, bounding, mechanism) <= predicted(alone, bounding, mechanism) * (1 + 1e-12)


def test_groups_are_counted_with_null_as_a_value() -> None:
    groups = groups_of(CUBE, [(0, 2), (0,), ()])
    assert groups[0] == Groups(frozenset((0, 1, 2)), 6, 1)
    assert [(level.count, level.most_cells) for level in groups[1:]] == [(4, 2), (3, 2), (1, 6)]


def test_the_worst_way_to_heap_cells_up() -> None:
    bounding = Bounding("clip_and_limit", 3, 5, "")
    for most_cells in (1, 2, 3, 4, 5, 9):
        heaps = itertools.product(range(most_cells + 1), repeat=5)
        worst = max(sum(part**2 for part in heap) for heap in heaps if sum(heap) <= 5)
        assert heaped(bounding, most_cells) == worst
    assert heaped(ONE_ROW, 100) == 1


QUESTIONS = [
    PAIRED,
    HEAPED,
    "SELECT hospital, age, COUNT(*), SUM(age), AVG(cost) FROM visits GROUP BY CUBE (hospital, age)",
    "SELECT province, kind, COUNT(*), AVG(cost) FROM visits GROUP BY ROLLUP (province, kind)",
    "SELECT sex, kind, age, COUNT(*) FROM visits GROUP BY ROLLUP (sex, kind, age)",
]


@pytest.mark.parametrize("sql", QUESTIONS)
@pytest.mark.parametrize("delta", [0.0, 1e-9])
def test_levels_share_the_budget_and_are_calibrated_to_it(sql: str, delta: float) -> None:
    for fragment in plan(sql, delta=delta).blocks[0].fragments.values():
        assert fragment.charge.epsilon <= fragment.epsilon
        assert bool(fragment.charge.rho) == (not fragment.charge.epsilon)
        for measure in fragment.measures:
            if measure.mechanism == "laplace":
                assert measure.scale >= measure.sensitivity / measure.epsilon * (1 - 1e-12)
            elif measure.mechanism == "gaussian":
                assert measure.scale >= measure.sensitivity_l2 / math.sqrt(2 * measure.rho) * (1 - 1e-12)
            else:
                assert measure.scale >= measure.sensitivity / (2 * measure.epsilon) * (1 - 1e-12)


def sums_only(sql: str, *, delta: float) -> Plan:
    """The plan of a planner that knows no levels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            privacy.block_planner,
            "choose_levels",
            lambda groups, *_: {groups[0]: (len(groups) - 1) * groups[0].count},
        )
        return Planner(catalog()).plan(request(sql, delta=delta))


def shown_variance(fragment: Fragment, sets: tuple[tuple[int, ...], ...], measure: str) -> float:
    """The sum of the exact variances of all rows shown, as the error bars state them."""
    chain = chains_of([fragment])[0].get(measure)
    part = next(part for part in fragment.measures if part.name == measure)
    if chain is None:
        return len(sets) * fragment.cell_count * variance(part.mechanism, part.scale)
    total = 0.0
    for keys in sets:
        rows = group_codes([fragment.cells.column(place) for place in keys], fragment.cell_count)
        total += float(chain.variances_of_sums(rows, int(rows.max()) + 1).sum())
    return total


def shown_error(found: Plan, importance: dict[str, float]) -> float:
    """What the planner is to make least, of all rows and measures, by the variances that the error bars state."""
    total = 0.0
    for fragment in found.blocks[0].fragments.values():
        for part in fragment.finest:
            unit = max(abs(part.low), abs(part.high)) ** 2
            variances = shown_variance(fragment, found.blocks[0].grouping_sets, part.name)
            total += important(part.name, importance) * variances / unit
    return total


@pytest.mark.parametrize("sql", QUESTIONS)
@pytest.mark.parametrize("delta", [0.0, 1e-9])
def test_all_rows_together_never_err_more_than_sums_would(sql: str, delta: float) -> None:
    select = parse(sql).query
    names = tuple(f"c{place}" for place in range(len(select.expressions)))
    importance = split(bind(select, Names(catalog())), names, catalog(), Options(), Domains(catalog())).importance
    levelled, alone = plan(sql, delta=delta), sums_only(sql, delta=delta)
    assert shown_error(levelled, importance) <= shown_error(alone, importance) * (1 + 1e-6)


def test_the_prediction_is_an_upper_bound_of_what_least_squares_leaves() -> None:
    for sql, delta in itertools.product(QUESTIONS, (0.0, 1e-9)):
        found = plan(sql, delta=delta)
        fragment = found.blocks[0].fragments["anhui"]
        if all(part.level is None for part in fragment.measures):
            continue
        groups = groups_of(fragment.cells, found.blocks[0].grouping_sets)
        mechanism: Mechanism = "gaussian" if fragment.charge.rho else "laplace"
        loads = list(choose_levels(groups, fragment.bounding, mechanism).values())
        for measure in fragment.finest:
            levels = [measure, *(part for part in fragment.measures if part.level and part.level.of == measure.name)]
            matters = {level.name: float(load) for level, load in zip(levels, loads, strict=True)}
            unit = max(abs(measure.low), abs(measure.high)) ** 2
            bound = predicted_error(levels, matters) * unit
            assert shown_variance(fragment, found.blocks[0].grouping_sets, measure.name) <= bound * (1 + 1e-9)


def test_sensitivity_of_a_level_counts_what_heaps_up() -> None:
    finest, *coarser = plan(HEAPED, delta=1e-3).blocks[0].fragments["shanghai"].measures
    assert finest.mechanism == "gaussian"
    assert [part.level for part in coarser] == [Level("m0", ("k0",), 101), Level("m0", (), 2020)]
    for level in coarser:  # eleven groups of one person may lie in one hospital
        assert level.sensitivity_l2 == pytest.approx(math.sqrt(11) * finest.sensitivity_l2)
        assert level.sensitivity == finest.sensitivity


def test_distinct_units_heap_up_too() -> None:
    """One person counts once in each of eleven groups, which may lie in one hospital; or with rows bounded in all."""
    finest, *coarser = plan(HEAPED.replace("*", "DISTINCT person_id"), delta=1e-3).blocks[0].fragments["anhui"].measures
    assert [part.kind for part in (finest, *coarser)] == ["units"] * 3
    assert finest.sensitivity_l2 == pytest.approx(math.sqrt(11))
    assert [(part.sensitivity, part.sensitivity_l2) for part in coarser] == [(11, pytest.approx(11))] * 2
    of_units = RawMeasure("m0l1", "", "units", None, 0, 1, None, 1.0, 0, level=Level("m0", (), 2))
    assert sensitivity_l2(of_units, Bounding("none", 3, 3, "")) == pytest.approx(math.sqrt(2**2 + 1))
    of_rows = replace(of_units, kind="count")
    assert sensitivity_l2(of_rows, Bounding("none", 3, 3, "")) == pytest.approx(3)  # three rows in one cell


def test_a_pair_is_a_pair_at_every_level() -> None:
    measures = plan(PAIRED).blocks[0].fragments["anhui"].measures
    assert [part.mechanism for part in measures] == ["laplace_pair"] * 4
    assert [part.weight for part in measures] == [None, "m0", None, "m0l1"]
    assert [part.label for part in measures] == [
        "COUNT(*)",
        "AVG(residents.birth_year)",
        "COUNT(*) by residents.home_province",
        "AVG(residents.birth_year) by residents.home_province",
    ]


def test_of_two_sums_the_same_is_paired_at_every_level() -> None:
    sql = PAIRED.replace("AVG(birth_year)", "AVG(birth_year), AVG(birth_year % 100)")
    finest, *coarser = (
        [part.mechanism for part in plan(sql).blocks[0].fragments["anhui"].measures if (part.level is not None) == deep]
        for deep in (False, True)
    )
    assert coarser == [finest]
    assert sorted(finest) == ["laplace", "laplace_pair", "laplace_pair"]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT hospital, kind, COUNT(*), MEDIAN(age) FROM visits GROUP BY ROLLUP (hospital, kind)",
        "SELECT cost, COUNT(*) FROM visits GROUP BY ROLLUP (cost)",
        HEAPED.replace("ROLLUP ", ""),
    ],
)
def test_histograms_and_keys_that_nobody_can_list_stay_at_the_finest_groups(sql: str) -> None:
    fragment = plan(sql).blocks[0].fragments["anhui"]
    assert fragment.finest == fragment.measures


def rows(fragment: Fragment) -> pa.Table:
    cells = fragment.cells.slice(0, 5)
    for number, measure in enumerate(fragment.finest):
        cells = cells.append_column(measure.name, pa.array([100 + number] * 5, pa.int64()))
    return cells


def test_a_level_is_the_sum_of_the_cells_and_repeated_in_each_of_them() -> None:
    fragment = plan(PAIRED, epsilon=1e6).blocks[0].fragments["anhui"]
    released = noisy(fragment, rows(fragment))
    by_province = dict.fromkeys(released["k0"].to_pylist(), 0)
    for key, value in zip(released["k0"].to_pylist(), released["m0"].to_pylist(), strict=True):
        by_province[key] += value
    assert released["m0l1"].to_pylist() == [by_province[key] for key in released["k0"].to_pylist()]


def test_one_row_adds_to_one_group_of_each_level() -> None:
    fragment = plan(HEAPED).blocks[0].fragments["anhui"]
    nothing = rows(fragment).slice(0, 0)
    one = fragment.cells.slice(7, 1).append_column("m0", pa.array([1], pa.int64()))
    with_row, without = dense(fragment, one), dense(fragment, nothing)
    assert len(with_row) == len(fragment.measures) > 1
    for name, sums in with_row.items():
        changes = np.array(sums) - np.array(without[name])
        assert sorted(changes[changes != 0]) == [1]


def test_a_level_with_less_noise_than_its_share_is_refused() -> None:
    for sql in (PAIRED, HEAPED):
        fragment = plan(sql).blocks[0].fragments["anhui"]
        weak = [
            measure if measure.level is None else replace(measure, scale=measure.scale * 0.99)
            for measure in fragment.measures
        ]
        with pytest.raises(InternalError, match="too small for its share"):
            noisy(replace(fragment, measures=tuple(weak)), rows(fragment))
