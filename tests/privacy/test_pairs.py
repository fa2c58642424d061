"""A count and a centred sum at once: private, as accurate as promised, and chosen where that is better."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from privacy.calibration import Spendable, calibrate, predicted_error
from privacy.errors import InternalError
from privacy.fragment import Fragment, Measure
from privacy.measures import RawMeasure
from privacy.noise import noisy, pair_scale, pair_variance, simulated_noise
from privacy.pairs import apart, joined
from tests.privacy.corpus_planner import plan

BOUNDS = st.tuples(st.integers(-(10**9), 0), st.integers(0, 10**9)).filter(lambda pair: pair[0] < pair[1])
MEAN = "SELECT kind, AVG(cost) FROM visits GROUP BY kind"


@given(BOUNDS, st.lists(st.integers(0, 10**6), min_size=1), st.data())
def test_without_noise_nothing_changes(bounds: tuple[int, int], counts: list[int], data: st.DataObject) -> None:
    low, high = bounds
    sums = [data.draw(st.integers(low * n, high * n)) for n in counts]
    found = joined(apart(counts, sums, low, high), low, high)
    assert [part.tolist() for part in found] == [counts, sums]


@given(BOUNDS, st.lists(st.floats(0, 1), max_size=20))
def test_each_row_adds_the_width_and_takes_nothing_away(bounds: tuple[int, int], places: list[float]) -> None:
    """So the L1 sensitivity is the width times the rows of a unit, wherever its values lie."""
    low, high = bounds
    rows = [low + round((high - low) * place) for place in places]
    u, v = apart([len(rows)], [sum(rows)], low, high)
    assert u >= 0 <= v
    assert u + v == len(rows) * (high - low)


@given(BOUNDS, st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62))
def test_what_is_released_fits_64_bits(bounds: tuple[int, int], u: int, v: int) -> None:
    counts, sums = joined([u, v], *bounds)
    assert all(-(2**63) <= number < 2**63 for number in (*counts, *sums))


@pytest.mark.parametrize("scale", [0.02, 0.4, 2.0, 4.9, 5.1, 300.0])
def test_the_variance_is_that_of_two_draws_rounded(scale: float) -> None:
    """400,000 draws with a fixed seed: their variance is known to some 0.4 %, of rare values less well."""
    draws = np.rint(simulated_noise("laplace_pair", scale, (400_000,), seed=1))
    assert pair_variance(scale) == pytest.approx(draws.var(), rel=0.03, abs=1e-4)


def _fragment(sql: str = MEAN, **options: object) -> Fragment:
    return plan(sql, delta=0.0, **options).blocks[0].fragments["anhui"]


def _pair(fragment: Fragment) -> tuple[Measure, Measure]:
    total = next(part for part in fragment.measures if part.mechanism == "laplace_pair" and part.weight)
    return next(part for part in fragment.measures if part.name == total.weight), total


def test_a_mean_is_a_pair_that_spends_the_whole_budget() -> None:
    fragment = _fragment()
    count, total = _pair(fragment)
    assert len(fragment.measures) == 2
    assert count.epsilon + total.epsilon == pytest.approx(fragment.epsilon)
    assert count.scale == pytest.approx(count.sensitivity / fragment.epsilon)
    assert total.scale == pytest.approx(total.sensitivity / fragment.epsilon)


@pytest.mark.parametrize(("sensitivity", "width", "epsilon"), [(1, 100, 1.0), (33, 100_000_000, 0.3), (7, 1001, 1e5)])
def test_the_scale_is_the_least_that_the_guarantee_allows(sensitivity: int, width: int, epsilon: float) -> None:
    assert pair_scale(sensitivity, width, epsilon) == pytest.approx(sensitivity / epsilon, rel=1e-9)


def _nothing(fragment: Fragment) -> pa.Table:
    columns = {key.name: pa.array([], fragment.cells.schema.field(key.name).type) for key in fragment.keys}
    return pa.table(columns | {measure.name: pa.array([], pa.int64()) for measure in fragment.measures})


def test_noise_that_is_too_small_is_never_released() -> None:
    fragment = _fragment()
    count, total = _pair(fragment)
    weak = dataclasses.replace(count, scale=count.scale * 0.999)
    with pytest.raises(InternalError, match="too small"):
        noisy(dataclasses.replace(fragment, measures=(weak, total)), _nothing(fragment))


def test_half_a_pair_is_never_released() -> None:
    fragment = _fragment()
    count, total = _pair(fragment)
    for halves in ((count,), (count, dataclasses.replace(total, mechanism="laplace"))):
        with pytest.raises(InternalError):
            noisy(dataclasses.replace(fragment, measures=halves), _nothing(fragment))


def test_count_and_sum_have_uncorrelated_noise() -> None:
    """20,000 draws: a correlation of 0 is seen within ± 0.05 but for 1e-8."""
    fragment = _fragment("SELECT visit_date, AVG(cost) FROM visits GROUP BY visit_date")
    count, total = _pair(fragment)
    releases = [noisy(fragment, _nothing(fragment)) for _ in range(math.ceil(20_000 / fragment.cell_count))]
    n, s = (np.concatenate([table.column(part.name).to_numpy() for table in releases]) for part in (count, total))
    assert abs(np.corrcoef(n, s)[0, 1]) < 0.05


def test_the_count_has_the_distribution_of_two_draws() -> None:
    """χ² of 20,000 draws against P(X ≥ t) = e^(−t/b) (1 + t/2b) / 2, rounded; false alarm 1e-7."""
    fragment = _fragment("SELECT visit_date, AVG(cost) FROM visits GROUP BY visit_date", max_rows=1, max_groups=2)
    count, _ = _pair(fragment)
    releases = [noisy(fragment, _nothing(fragment)) for _ in range(math.ceil(20_000 / fragment.cell_count))]
    seen = np.concatenate([table.column(count.name).to_numpy() for table in releases])
    ends = np.arange(-12, 14) * count.scale / 2
    ends = np.unique(np.floor(ends)) - 0.5
    observed = np.histogram(seen, bins=[-np.inf, *ends, np.inf])[0]
    above = [_above(end / count.scale) for end in ends]
    expected = -np.diff([1.0, *above, 0.0]) * len(seen)
    statistic = float(((observed - expected) ** 2 / expected).sum())
    assert stats.chi2.sf(statistic, len(expected) - 1) > 1e-7


def _above(end: float) -> float:
    return math.exp(-end) * (1 + end / 2) / 2 if end >= 0 else 1 - _above(-end)


def _raws(fragment: Fragment) -> list[RawMeasure]:
    names = [field.name for field in dataclasses.fields(RawMeasure)]
    return [RawMeasure(**{name: getattr(measure, name) for name in names}) for measure in fragment.measures]


@pytest.mark.parametrize("importance", [0.01, 0.1, 0.25, 1.0, 4.0, 100.0])
def test_measures_are_paired_where_that_is_predicted_to_err_less(importance: float) -> None:
    fragment, spendable = _fragment(), Spendable(1.0, 0.0)
    count, total = _raws(fragment)
    matters = {count.name: importance, total.name: 1.0}
    chosen = calibrate([count, total], fragment.bounding, matters, spendable, "laplace")
    unpaired = [count, dataclasses.replace(total, weight=None)]  # what names no count cannot be paired
    alone = calibrate(unpaired, fragment.bounding, matters, spendable, "laplace")
    assert predicted_error(chosen, matters) <= predicted_error(alone, matters) * (1 + 1e-9)
    assert ({part.mechanism for part in chosen} == {"laplace_pair"}) == (0.02 < importance < 50)


def test_a_count_is_paired_with_the_sum_that_matters_most() -> None:
    measures = _fragment("SELECT COUNT(*), AVG(cost) AS c, AVG(age) AS a FROM visits", weights={"a": 5.0}).measures
    pair = [part for part in measures if part.mechanism == "laplace_pair"]
    assert [part.label for part in pair if part.weight] == ["AVG(visits.age)"]
    assert len(pair) == 2


def test_a_narrow_range_has_no_middle_and_is_not_paired() -> None:
    measures = _fragment("SELECT AVG(CLAMP(age * 1000000, 40000000, 40000001)) FROM visits").measures
    assert {part.mechanism for part in measures} == {"laplace"}


# Sums from means


def test_the_words_for_a_measure_name_both_that_come_from_it() -> None:
    for columns in ("COUNT(*), SUM(cost), AVG(cost)", "AVG(cost), SUM(cost), COUNT(*)"):
        total = _fragment(f"SELECT {columns} FROM visits").measures[-1]
        assert (total.label, total.total) == ("AVG(visits.cost)", "SUM(visits.cost)")
    alone = _fragment("SELECT COUNT(*), SUM(cost) FROM visits").measures[-1]
    assert (alone.label, alone.total) == ("", "SUM(visits.cost)")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(*), SUM(cost) FROM visits",
        "SELECT kind, SUM(age), AVG(age), COUNT(*) FROM visits GROUP BY kind",
        "SELECT SUM(birth_year) / COUNT(*) FROM residents",
        "SELECT COUNT(*) FILTER (WHERE sex = 'F'), SUM(cost) FILTER (WHERE sex = 'F') FROM visits",
    ],
)
@pytest.mark.parametrize("delta", [0.0, 1e-9])
def test_a_sum_of_rows_that_are_counted_is_no_measure_of_its_own(sql: str, delta: float) -> None:
    measures = plan(sql, delta=delta).blocks[0].fragments["anhui"].measures
    assert sorted(part.kind for part in measures) == ["count", "sum"]
    assert all(part.weight for part in measures if part.kind == "sum")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT SUM(cost) FROM visits",
        "SELECT COUNT(*), SUM(cost) FILTER (WHERE sex = 'F') FROM visits",
        "SELECT kind, COUNT(*), SUM(age) FROM visits GROUP BY ROLLUP (kind)",  # levels add up to the last unit
    ],
)
def test_a_sum_of_other_rows_is(sql: str) -> None:
    measures = plan(sql).blocks[0].fragments["anhui"].measures
    assert [part.weight for part in measures if part.kind == "sum"] == [None]


def test_a_sum_far_from_zero_stays_a_measure_where_its_count_hardly_matters() -> None:
    sql = "SELECT SUM(birth_year) AS s, COUNT(*) AS n FROM residents"
    own, derived = (
        plan(sql, delta=0.0, weights=weights).blocks[0].fragments["anhui"] for weights in ({"n": 1e-5}, {"n": 1.0})
    )
    assert [part.weight for part in own.measures if part.kind == "sum"] == [None]
    assert [part.weight for part in derived.measures if part.kind == "sum"] != [None]


def test_a_sum_beside_its_count_errs_as_if_it_had_the_whole_budget() -> None:
    """From 0 up, that is: the sum is u itself (privacy/pairs.py)."""
    alone = next(iter(_fragment("SELECT SUM(cost) FROM visits").measures))
    count, total = _pair(_fragment("SELECT SUM(cost), COUNT(*) FROM visits"))
    both = pair_variance(total.scale) * total.grid**2 + (total.centre * total.grid) ** 2 * pair_variance(count.scale)
    assert math.sqrt(both) == pytest.approx(math.sqrt(2) * alone.scale * alone.grid, rel=1e-3)
