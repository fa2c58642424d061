"""Mechanism and shares: the predicted error is least, and is what is seen."""

import dataclasses
import math

import numpy as np
import pyarrow as pa
import pytest

from privacy.accounting import Spent, zcdp_rho
from privacy.calibration import Spendable, calibrate, predicted_error
from privacy.errors import RequestRefused
from privacy.fragment import Fragment, Measure, Mechanism
from privacy.measures import RawMeasure
from privacy.noise import noisy, variance
from tests.privacy.corpus_planner import plan

QUERIES = [
    "SELECT COUNT(*) FROM visits",
    "SELECT kind, COUNT(*), AVG(cost) FROM visits GROUP BY kind",
    "SELECT kind, AVG(cost), AVG(age), SUM(cost) FROM visits GROUP BY kind",
    "SELECT hospital, COUNT(*), SUM(cost), STDDEV(cost), CORR(cost, age) FROM visits GROUP BY hospital",
    "SELECT home_province, AVG(birth_year) FROM residents GROUP BY home_province HAVING COUNT(*) > 5",
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
def test_the_mechanism_is_the_one_that_errs_less(sql: str) -> None:
    best, pure = plan(sql), plan(sql, delta=0.0)
    assert pure.delta == 0
    assert all(
        measure.mechanism in ("laplace", "laplace_pair") for measure in pure.blocks[0].fragments["anhui"].measures
    )
    importance: dict[str, float] = {}
    errors = [predicted_error(found.blocks[0].fragments["anhui"].measures, importance) for found in (best, pure)]
    assert errors[0] <= errors[1] * (1 + 1e-9) or best.delta == 0


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
