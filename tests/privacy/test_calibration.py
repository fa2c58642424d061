"""Mechanism and shares: the predicted error is least, and is what is seen."""

import dataclasses
import functools
import math

import numpy as np
import pyarrow as pa
import pytest
from sqlglot import exp

import privacy.block_planner
from privacy.accounting import Spent, zcdp_rho
from privacy.binding import Names, bind
from privacy.block_planner import BlockPlanner, PlannedBlock, Shape, plan_block
from privacy.calibration import Spendable, calibrate, predicted_error
from privacy.errors import RequestRefused
from privacy.fragment import MERGED, Block, Fragment, Measure, Mechanism
from privacy.measures import RawMeasure
from privacy.noise import noisy, variance
from privacy.parsing import parse
from tests.privacy.corpus_planner import catalog, plan, request

QUERIES = [
    "SELECT COUNT(*) FROM visits",
    "SELECT kind, COUNT(*), AVG(cost) FROM visits GROUP BY kind",
    "SELECT kind, AVG(cost), AVG(age), SUM(cost) FROM visits GROUP BY kind",
    "SELECT hospital, COUNT(*), SUM(cost), STDDEV(cost), CORR(cost, age) FROM visits GROUP BY hospital",
    "SELECT home_province, AVG(birth_year) FROM residents GROUP BY home_province HAVING COUNT(*) > 5",
]
LEVELS_TREES_THRESHOLDS = [
    "SELECT hospital, kind, COUNT(*) FROM visits GROUP BY ROLLUP (hospital, kind)",
    "SELECT hospital, MEDIAN(cost) FROM visits GROUP BY hospital",
    "SELECT cost, COUNT(*), AVG(age) FROM visits GROUP BY cost",
]


def _raw(measure: Measure) -> RawMeasure:
    return RawMeasure(**{field.name: getattr(measure, field.name) for field in dataclasses.fields(RawMeasure)})


@pytest.mark.parametrize("sql", QUERIES)
@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
def test_shares_are_never_worse_than_an_even_split(sql: str, mechanism: Mechanism) -> None:
    fragment = plan(sql).blocks[0].fragments["anhui"]
    raws = [_raw(measure) for measure in fragment.measures]
    spendable = Spendable(0.5, zcdp_rho(1.0, 1e-9) / 2)
    for turn in range(20):
        importance = {raw.name: 0.2 + (turn * (place + 2) * 0.37) % 4.8 for place, raw in enumerate(raws)}
        best = predicted_error(calibrate(raws, fragment.bounding, importance, spendable, mechanism), importance)
        evenly = Spendable(spendable.epsilon / len(raws), spendable.rho / len(raws))
        even = tuple(
            part for raw in raws for part in calibrate([raw], fragment.bounding, importance, evenly, mechanism)
        )
        assert best <= predicted_error(even, importance) * (1 + 1e-9)


@pytest.mark.parametrize("sql", QUERIES)
def test_without_delta_all_noise_is_laplace(sql: str) -> None:
    pure = plan(sql, delta=0.0)
    assert pure.delta == 0
    assert _mechanism(pure.blocks[0]) == "laplace"


CHOICES = [*QUERIES, *LEVELS_TREES_THRESHOLDS]
LIMITS: tuple[dict[str, int], ...] = ({}, {"max_rows": 1, "max_groups": 2}, {"max_groups": 20})
BUDGETS = [(0.1, 1e-9), (1.0, 1e-9), (1.0, 1e-3), (20.0, 1e-6)]  # ε, δ


@dataclasses.dataclass(frozen=True)
class Choice:
    """The mechanism that a plan has, and predicted errors: of the plan, of those with either mechanism, and of those where
    no sum is computed from a mean, or each that can be."""

    mechanism: Mechanism
    error: float
    laplace: float
    gaussian: float
    plain: float
    derived: float


@functools.cache
def _chosen(sql: str, limits: int, epsilon: float, delta: float) -> Choice:
    asked = request(sql, epsilon=epsilon, delta=delta, **LIMITS[limits])
    query = bind(parse(sql).query, Names(catalog()))
    assert isinstance(query, exp.Select)
    shape = BlockPlanner(catalog()).shape(query, tuple(query.named_selects), asked.options, delta=delta)
    decides = bool(shape.fitted.cut.decides)
    best = plan_block(shape, MERGED, asked)
    gaussian = plan_block(shape, MERGED, asked, rho=zcdp_rho(epsilon, delta / 2 if decides else delta))
    # A δ that leaves nothing for Gaussian noise, but a threshold's as it was.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(privacy.block_planner, "zcdp_rho", lambda *_: 0.0)
        laplace = plan_block(shape, MERGED, asked)
    assert [_mechanism(one.block) for one in (laplace, gaussian)] == ["laplace", "gaussian"]
    plain = plan_block(dataclasses.replace(shape, derived=None), MERGED, asked)
    derived = plan_block(Shape(shape.derived or shape.fitted, None), MERGED, asked)
    errors = [_error(one, shape) for one in (best, laplace, gaussian, plain, derived)]
    return Choice(_mechanism(best.block), *errors)


def _mechanism(block: Block) -> Mechanism:
    measures = [measure for fragment in block.fragments.values() for measure in fragment.measures]
    [gaussian] = {measure.mechanism == "gaussian" for measure in measures}
    return "gaussian" if gaussian else "laplace"


def _error(planned: PlannedBlock, shape: Shape) -> float:
    """Over all nodes, of what is really drawn, each measure in units of its largest row and as it shows in the answer."""
    derived = shape.derived is not None and planned.cut is shape.derived.cut
    side = shape.derived if derived and shape.derived is not None else shape.fitted
    total = 0.0
    for fragment in planned.block.fragments.values():
        _, importance = side.measures(fragment.cells_digest, fragment.bounding, _mechanism(planned.block))
        for measure in fragment.measures:
            largest = max(abs(measure.low), abs(measure.high), 1)
            drawn = variance(measure.mechanism, measure.scale) / largest**2
            total += (importance.get(measure.name, 0.0) or 0.1) * drawn
    return total


@pytest.mark.parametrize("limits", range(len(LIMITS)))
@pytest.mark.parametrize("sql", CHOICES)
def test_the_mechanism_is_the_one_that_errs_less(sql: str, limits: int) -> None:
    for epsilon, delta in BUDGETS:
        choice = _chosen(sql, limits, epsilon, delta)
        least = min(choice.laplace, choice.gaussian, choice.plain, choice.derived)
        assert choice.error <= least * (1 + 1e-9)
        assert (choice.mechanism == "gaussian") == (choice.gaussian < choice.laplace)


def test_either_mechanism_is_chosen_and_errs_much_less_somewhere() -> None:
    choices = [_chosen(sql, limits, *budget) for sql in CHOICES for limits in range(len(LIMITS)) for budget in BUDGETS]
    assert any(choice.laplace < choice.gaussian / 2 for choice in choices if choice.mechanism == "laplace")
    assert any(choice.gaussian < choice.laplace / 2 for choice in choices if choice.mechanism == "gaussian")
    by_query = {
        sql: {_chosen(sql, limits, *budget).mechanism for limits in range(len(LIMITS)) for budget in BUDGETS}
        for sql in CHOICES
    }
    assert sum(len(found) == 2 for found in by_query.values()) >= 3  # limits and budgets decide, not the query alone


def test_few_groups_take_laplace_and_many_take_gaussian() -> None:
    assert plan("SELECT sex, COUNT(*) FROM residents GROUP BY sex").delta == 0
    many = plan("SELECT hospital, COUNT(*), AVG(cost), AVG(age) FROM visits GROUP BY hospital")
    assert many.delta == 1e-9
    assert {measure.mechanism for measure in many.blocks[0].fragments["anhui"].measures} == {"gaussian"}


@pytest.mark.parametrize("sql", QUERIES)
def test_what_all_nodes_of_one_person_spend_is_within_the_guarantee(sql: str) -> None:
    planned = plan(sql, epsilon=0.7)
    spent = Spent()
    for fragment in list(planned.blocks[0].fragments.values())[: planned.span]:
        spent = spent.plus(fragment.charge)
        alone = Spent().plus(fragment.charge)
        assert alone.epsilon_at(planned.delta) <= planned.epsilon_per_node * (1 + 1e-9)
    assert spent.epsilon_at(planned.delta) <= 0.7


def test_a_column_that_matters_more_gets_more() -> None:
    sql = "SELECT AVG(cost) AS c, AVG(age) AS a FROM visits"

    def errors(**weights: float) -> list[float]:
        measures = plan(sql, delta=0.0, weights=weights or None).blocks[0].fragments["anhui"].measures
        return [variance(part.mechanism, part.scale) * part.grid**2 for part in measures if part.weight]

    plain, tilted = errors(), errors(a=10.0)
    assert tilted[1] < plain[1]
    assert tilted[0] > plain[0]
    with pytest.raises(RequestRefused, match="no column `b`"):
        errors(b=2.0)


def _releases(fragment: Fragment, *, draws: int) -> dict[str, np.ndarray]:
    empty = {key.name: pa.array([], fragment.cells.schema.field(key.name).type) for key in fragment.keys}
    exact = pa.table(empty | {measure.name: pa.array([], pa.int64()) for measure in fragment.measures})
    found: dict[str, list[np.ndarray]] = {measure.name: [] for measure in fragment.measures}
    for _ in range(math.ceil(draws / fragment.cell_count)):
        release = noisy(fragment, exact)
        for name, parts in found.items():
            parts.append(release.column(name).to_numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


@pytest.mark.parametrize("delta", [0.0, 1e-9])
def test_the_predicted_standard_error_is_the_one_seen(delta: float) -> None:
    """Within 5 %; 20,000 draws, whose own spread is 0.5 % (Gaussian) to 0.8 % (Laplace): false alarm < 1e-8."""
    fragment = (
        plan("SELECT visit_date, COUNT(*), AVG(cost) FROM visits GROUP BY visit_date", delta=delta)
        .blocks[0]
        .fragments["anhui"]
    )
    for name, draws in _releases(fragment, draws=20_000).items():
        measure = next(part for part in fragment.measures if part.name == name)
        assert draws.std() == pytest.approx(math.sqrt(variance(measure.mechanism, measure.scale)), rel=0.05)
