"""Groups that nobody can list: the threshold is exact, costs what is charged, and lets nothing else pass."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import opendp.prelude as dp
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.accounting import Spent
from privacy.errors import DomainRefused, InternalError, RequestRefused, RowsRefused
from privacy.fragment import Bounding, Fragment, Measure, Mechanism, Threshold
from privacy.noise import noisy
from privacy.open_keys import KEY_CHARACTERS
from privacy.thresholds import choose_threshold, delta_of, tail
from tests.privacy.corpus_planner import plan

SQL = "SELECT cost, COUNT(*) FROM visits GROUP BY cost"
SCALES = [
    ("laplace", 0.7),
    ("laplace", 3.0),
    ("laplace", 66.0),
    ("gaussian", 0.4),
    ("gaussian", 5.0),
    ("gaussian", 80.0),
]


def _mass(mechanism: str, scale: float) -> np.ndarray:
    """P[Z = k] for k from −reach to reach, straight from the definitions."""
    reach = math.ceil((80 if mechanism == "laplace" else 15) * scale) + 80
    steps = np.arange(-reach, reach + 1, dtype=np.float64)
    weights = np.exp(-np.abs(steps) / scale) if mechanism == "laplace" else np.exp(-((steps / scale) ** 2) / 2)
    return weights / weights.sum()


def _passes(mass: np.ndarray, count: int, above: int) -> float:
    """P[count + Z > above], summed from the far end."""
    zero = len(mass) // 2
    return float(mass[zero + above - count + 1 :][::-1].sum())


def _measure(mechanism: Mechanism, scale: float, groups: int) -> Measure:
    measure = plan(SQL).blocks[0].fragments["anhui"].measures[-1]
    epsilon, rho = (groups / scale, 0.0) if mechanism == "laplace" else (0.0, groups / (2 * scale**2))
    return dataclasses.replace(
        measure,
        mechanism=mechanism,
        scale=scale,
        sensitivity=groups,
        sensitivity_l2=math.sqrt(groups),
        epsilon=epsilon * (1 + 1e-9),
        rho=rho * (1 + 1e-9),
    )


def _bounding(groups: int) -> Bounding:
    return Bounding("clip_and_limit", 11, groups, "")


@pytest.mark.parametrize(("mechanism", "scale"), SCALES)
@pytest.mark.parametrize("groups", [1, 11])
@pytest.mark.parametrize("delta", [1e-3, 1e-9])
def test_the_threshold_is_the_least_whose_tail_is_within_delta(
    mechanism: Mechanism, scale: float, groups: int, delta: float
) -> None:
    found = choose_threshold(_measure(mechanism, scale, groups), _bounding(groups), delta=delta, most_groups=9)
    mass = _mass(mechanism, scale)
    chance = _passes(mass, found.least, found.above)
    assert groups * chance <= delta
    assert 1 - (1 - chance) ** groups <= delta
    assert groups * _passes(mass, found.least, found.above - 1) > delta * (1 - 1e-6)
    # Fewer units are never looked at; raising that floor costs a twentieth of the threshold at most.
    alone = next(above for above in range(1, found.above + 1) if groups * _passes(mass, 1, above) <= delta)
    assert alone <= found.above <= alone * 1.05


@pytest.mark.parametrize(("mechanism", "scale"), SCALES)
def test_tails_are_those_of_the_mass_function(mechanism: Mechanism, scale: float) -> None:
    mass = _mass(mechanism, scale)
    for steps in (1, 2, round(3 * scale) + 1, round(8 * scale) + 1):
        exact = _passes(mass, 0, steps - 1)
        assert exact <= tail(mechanism, scale, steps) * (1 + 1e-12)
        assert tail(mechanism, scale, steps) == pytest.approx(exact, rel=1e-8)


def test_wide_gaussian_tails_are_bounded_from_above_and_closely() -> None:
    for steps in (1, 2_000, 12_000):
        bound, exact = tail("gaussian", 1_001.0, steps), tail("gaussian", 999.0, steps)
        mass = _passes(_mass("gaussian", 1_001.0), 0, steps - 1)
        assert mass <= bound <= mass * 1.02
        assert exact == pytest.approx(_passes(_mass("gaussian", 999.0), 0, steps - 1), rel=1e-7)


@pytest.mark.parametrize(("mechanism", "scale"), SCALES)
@pytest.mark.parametrize("groups", [1, 11])
def test_delta_is_that_of_opendp(mechanism: Mechanism, scale: float, groups: int) -> None:
    """Theirs is 1 − (1 − p)^L0, ours the sum L0 × p; with `>` instead of their `≥` it is the right one.

    For Gaussian noise they bound p by the tail of the continuous one, a step further in; ours is exact, so between two
    of theirs.
    """
    measure, bounding = _measure(mechanism, scale, groups), _bounding(groups)
    found = choose_threshold(measure, bounding, delta=1e-5, most_groups=9)
    keys = dp.map_domain(dp.atom_domain(T="i64"), dp.atom_domain(T="i64"))
    distance = dp.absolute_distance(T="i64" if mechanism == "laplace" else "f64")
    make, metric, size = (
        (dp.m.make_laplace_threshold, dp.l01inf_distance(distance), (groups, groups, 1))
        if mechanism == "laplace"
        else (dp.m.make_gaussian_threshold, dp.l02inf_distance(distance), (groups, math.sqrt(groups), 1.0))
    )
    steps = found.above - found.least + 1
    here, further = (make(keys, metric, scale=scale, threshold=at).map(size)[1] for at in (steps, steps + 1))
    ours = delta_of(found, measure, bounding)
    if mechanism == "laplace":
        assert here <= ours <= here * (1 + 1e-4)
    else:
        assert further <= ours <= here * (1 + 1e-4)


def test_delta_is_charged_and_shared_by_the_nodes() -> None:
    for sql, options in ((SQL, {}), (SQL, {"max_groups": 1, "max_rows": 1})):
        planned = plan(sql, epsilon=0.7, delta=1e-6, **options)
        spent = Spent()
        for fragment in list(planned.blocks[0].fragments.values())[: planned.span]:
            spent = spent.plus(fragment.charge)
            alone = Spent().plus(fragment.charge)
            assert fragment.charge.delta == fragment.threshold.delta > 0  # type: ignore[union-attr]
            assert alone.epsilon_at(planned.delta) <= planned.epsilon_per_node * (1 + 1e-9)
        assert planned.delta == 1e-6
        assert spent.epsilon_at(planned.delta) <= 0.7
        assert spent.delta == pytest.approx(5e-7 if spent.rho else 1e-6)


def test_one_number_is_enough_where_a_unit_counts_once() -> None:
    fragment = plan(SQL, max_rows=1).blocks[0].fragments["anhui"]
    assert [measure.label for measure in fragment.measures] == ["COUNT(*)"]
    assert fragment.threshold is not None
    assert fragment.threshold.measure == "m0"
    filtered = "SELECT cost, COUNT(*) FILTER (WHERE age > 3) FROM visits GROUP BY cost"
    assert len(plan(filtered, max_rows=1).blocks[0].fragments["anhui"].measures) == 2


def test_keys_with_a_public_list_need_no_threshold() -> None:
    planned = plan("SELECT kind, cost > 100, COUNT(*) FROM visits GROUP BY ALL")
    assert all(fragment.threshold is None for fragment in planned.blocks[0].fragments.values())


def test_too_many_cells_are_left_to_a_threshold() -> None:
    fragment = plan("SELECT visit_date, hospital, age, COUNT(*) FROM visits GROUP BY ALL").blocks[0].fragments["anhui"]
    assert fragment.threshold is not None
    assert fragment.cell_count == 0
    assert fragment.cells.schema.types == [pa.date32(), pa.string(), pa.int64()]
    assert fragment.bounding.form == "clip_and_limit"


def test_provinces_that_where_excludes_are_not_asked() -> None:
    assert list(plan(f"{SQL[:-14]} WHERE province = 'anhui' GROUP BY cost").blocks[0].fragments) == ["anhui"]
    with pytest.raises(DomainRefused, match="never true"):
        plan(f"{SQL[:-14]} WHERE province = 'tibet' GROUP BY cost")


def test_without_delta_the_refusal_says_that_it_would_help() -> None:
    with pytest.raises(DomainRefused) as refusal:
        plan(SQL, delta=0.0)
    assert "public domain" in refusal.value.message
    assert "delta > 0" in refusal.value.remedy


def test_identifiers_stay_out_of_keys() -> None:
    with pytest.raises(RowsRefused):
        plan("SELECT person_id, COUNT(*) FROM visits GROUP BY person_id")
    with pytest.raises(DomainRefused):
        plan("SELECT CASE WHEN person_id = 42 THEN cost END AS k, COUNT(*) FROM visits GROUP BY k")


def test_an_epsilon_with_which_no_group_could_pass_is_refused() -> None:
    with pytest.raises(RequestRefused, match="no group"):
        plan(SQL, epsilon=1e-15)


def test_the_smallest_delta_counts_as_none() -> None:
    with pytest.raises(DomainRefused):
        plan(SQL, delta=5e-324)
    assert plan(SQL, delta=1e-90).delta == 1e-90


# What a node makes of its groups


def _fragment(**changes: object) -> Fragment:
    """One key and a count with noise that vanishes; `changes` of the threshold."""
    fragment = plan(SQL, epsilon=1e9, max_rows=1).blocks[0].fragments["anhui"]
    assert fragment.threshold is not None
    return dataclasses.replace(fragment, threshold=dataclasses.replace(fragment.threshold, **changes))


def _exact(groups: dict[float | None, int]) -> pa.Table:
    return pa.table({"k0": pa.array(list(groups), pa.float64()), "m0": pa.array(list(groups.values()), pa.int64())})


def test_equal_to_the_threshold_is_not_enough() -> None:
    release = noisy(_fragment(above=7), _exact({1.0: 6, 2.0: 7, 3.0: 8}))
    assert release.to_pydict() == {"k0": [3.0], "m0": [8]}


def test_what_passes_comes_in_the_order_of_the_keys() -> None:
    release = noisy(_fragment(above=7), _exact({5.0: 9, None: 8, -1.0: 10, 3.0: 2}))
    assert release.to_pydict() == {"k0": [-1.0, 5.0, None], "m0": [10, 9, 8]}


def test_of_too_many_groups_those_with_the_most_units_stay() -> None:
    release = noisy(_fragment(above=7, most_groups=2), _exact({5.0: 9, 4.0: 30, 3.0: 8, 2.0: 9}))
    assert release.to_pydict() == {"k0": [2.0, 4.0], "m0": [9, 30]}


def test_nothing_may_pass_at_all() -> None:
    for groups in ({}, {1.0: 1}):
        release = noisy(_fragment(above=7), _exact(groups))
        assert release.num_rows == 0
        assert release.schema.types == [pa.float64(), pa.int64()]


def test_a_threshold_that_is_too_low_is_never_used() -> None:
    fragment = plan(SQL, max_rows=1).blocks[0].fragments["anhui"]
    threshold = fragment.threshold
    assert threshold is not None
    for weak in (
        dataclasses.replace(threshold, above=threshold.above - 1),
        dataclasses.replace(threshold, least=threshold.least + 1),
        dataclasses.replace(threshold, delta=threshold.delta / 2),
    ):
        with pytest.raises(InternalError, match="too low"):
            noisy(dataclasses.replace(fragment, threshold=weak), _exact({1.0: 1}))


@given(st.dictionaries(st.floats(allow_nan=False, allow_infinity=False) | st.none(), st.integers(0, 20), max_size=30))
@settings(max_examples=50, deadline=None)
def test_a_release_is_what_passed_and_nothing_else(groups: dict[float | None, int]) -> None:
    release = noisy(_fragment(above=7), _exact(groups))
    assert dict(zip(*release.to_pydict().values(), strict=True)) == {k: n for k, n in groups.items() if n > 7}


def test_the_form_of_keys_is_the_same_for_every_value() -> None:
    relation = plan("SELECT kind || CAST(cost AS INTEGER), visit_date, cost, age, COUNT(*) FROM visits GROUP BY ALL")
    sql = relation.blocks[0].fragments["anhui"].relation
    assert f", {KEY_CHARACTERS}) AS k0" in sql
    assert "BETWEEN CAST('0001-01-01' AS DATE)" in sql
    assert "ISFINITE(visits.cost)" in sql


def test_thresholds_are_part_of_what_is_compared() -> None:
    fragment = plan(SQL).blocks[0].fragments["anhui"]
    assert fragment.threshold is not None
    assert fragment != dataclasses.replace(fragment, threshold=dataclasses.replace(fragment.threshold, above=1))
    assert fragment != dataclasses.replace(fragment, threshold=None)
    assert isinstance(fragment.threshold, Threshold)
