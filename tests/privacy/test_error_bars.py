"""Standard errors from simulated noise agree with the analytic ones."""

import math

import numpy as np
import pyarrow as pa
import pytest

from privacy.error_bars import (
    LEAST_DRAWS,
    MOST_DRAWS,
    Contribution,
    draws_per_cell,
    seed_of,
    simulated,
    standard_errors,
)
from privacy.fragment import OutputColumn
from privacy.noise import laplace_variance
from privacy.request import Request


def merged(cells: int, *, measures: int = 1, value: int = 100) -> pa.Table:
    columns = {f"m{n}": pa.array([value] * cells, pa.int64()) for n in range(measures)}
    return pa.table({"cell": np.arange(cells), "k0": [f"key {n}" for n in range(cells)], **columns})


def everywhere(cells: int, **scales: float) -> Contribution:
    return Contribution(np.arange(cells), {name: ("laplace", scale) for name, scale in scales.items()})


def spread(table: pa.Table, column: str) -> np.ndarray:
    frame = table.to_pandas()
    return frame.groupby("cell")[column].std().to_numpy()


@pytest.mark.parametrize("scale", [0.3, 1.0, 20.0, 1e9])
def test_a_sum_has_its_analytic_standard_error(scale: float) -> None:
    table = simulated(merged(3), [], [everywhere(3, m0=scale), everywhere(3, m0=2 * scale)], seed=1)
    expected = math.sqrt(laplace_variance(scale) + laplace_variance(2 * scale))
    assert spread(table, "m0") == pytest.approx([expected] * 3, rel=1e-9)
    assert table.to_pandas().groupby("cell")["m0"].mean().to_numpy() == pytest.approx([100] * 3, rel=1e-6, abs=1e-3)


def test_a_cell_has_the_noise_of_the_nodes_that_added_to_it() -> None:
    parts = [
        Contribution(np.array([0, 1]), {"m0": ("laplace", 4.0)}),
        Contribution(np.array([1]), {"m0": ("laplace", 4.0)}),
    ]
    found = spread(simulated(merged(3), [], parts, seed=1), "m0")
    one = laplace_variance(4.0)
    assert found == pytest.approx([math.sqrt(one), math.sqrt(2 * one), 0.0])


def test_a_ratio_is_near_its_first_order_standard_error() -> None:
    parts = [everywhere(1, m0=10.0, m1=3.0)]
    frame = simulated(merged(1, measures=2, value=10_000), [], parts, seed=1).to_pandas()
    expected = math.sqrt(laplace_variance(10.0) + laplace_variance(3.0)) / 10_000
    assert (frame["m0"] / frame["m1"]).std() == pytest.approx(expected, rel=0.1)


def test_noise_of_measures_and_nodes_is_independent() -> None:
    parts = [everywhere(1, m0=5.0, m1=5.0)] * 2
    frame = simulated(merged(1, measures=2), [], parts, seed=1).to_pandas()
    assert abs(frame["m0"].corr(frame["m1"])) < 0.1
    # 0.7 where the second node draws its own noise, 1 where it repeats the first one's.
    single = simulated(merged(1, measures=2), [], parts[:1], seed=1).to_pandas()
    assert abs(np.corrcoef(frame["m0"] - single["m0"], single["m0"])[0, 1]) < 0.8


def test_draws_have_the_columns_and_types_that_the_rest_expects() -> None:
    table = simulated(merged(2, measures=2), [], [everywhere(2, m0=1.0, m1=0.0)], seed=1)
    assert table.column_names == ["cell", "k0", "m0", "m1"]
    assert table.schema.types == [pa.int64(), pa.string(), pa.float64(), pa.float64()]
    assert table.num_rows == 2 * MOST_DRAWS
    assert set(table["m1"].to_pylist()) == {100.0}  # no noise, no spread


def test_the_same_question_has_the_same_error_bars() -> None:
    def request(nonce: str, epsilon: float = 1.0) -> Request:
        return Request.new("SELECT 1", epsilon=epsilon, nonce=nonce * 32, expires_unix_s=1)

    assert seed_of(request("a")) == seed_of(request("b"))
    assert seed_of(request("a")) != seed_of(request("a", 2.0))
    parts = [everywhere(2, m0=1.0)]
    assert simulated(merged(2), [], parts, seed=7).equals(simulated(merged(2), [], parts, seed=7))
    assert not simulated(merged(2), [], parts, seed=7).equals(simulated(merged(2), [], parts, seed=8))


@pytest.mark.parametrize(
    ("cells", "noises", "draws"),
    [(1, 4, MOST_DRAWS), (100_000, 100_000, 40), (400_000, 400_000, LEAST_DRAWS), (100_000, 10_000_000, LEAST_DRAWS)],
)
def test_draws_adapt_to_the_number_of_cells(cells: int, noises: int, draws: int) -> None:
    assert draws_per_cell(cells, noises) == draws


def test_many_cells_take_bounded_memory() -> None:
    table = simulated(merged(20_000, measures=2), [], [everywhere(20_000, m0=1.0, m1=2.0)] * 4, seed=1)
    assert table.num_rows <= 4_000_000
    assert spread(table, "m1")[:5] == pytest.approx([math.sqrt(4 * laplace_variance(2.0))] * 5)


def test_standard_errors_follow_the_rows_of_the_answer() -> None:
    columns = (
        OutputColumn("kind", False),
        OutputColumn("n", True),
        OutputColumn("kind", False),
        OutputColumn("n", True),
    )
    deviations = pa.table({"cell": [2, 0, 1], "a": [0.2, 0.0, math.nan], "b": [2, 0, 1]})
    found = standard_errors(pa.chunked_array([[1, 2], [5, 0]]), deviations, columns)
    assert found.column_names == ["kind", "n", "kind", "n"]
    assert set(found.schema.types) == {pa.float64()}
    assert [column.to_pylist() for column in found.columns] == [
        [None] * 4,
        [None, 0.2, None, 0.0],
        [None] * 4,
        [1.0, 2.0, None, 0.0],
    ]


@pytest.mark.parametrize(
    "deviations", [None, pa.table({"cell": pa.array([], pa.int64()), "n": pa.array([], pa.float64())})]
)
def test_without_deviations_there_are_no_standard_errors(deviations: pa.Table | None) -> None:
    found = standard_errors(pa.chunked_array([[0, 1]]), deviations, [OutputColumn("n", True)])
    assert found.to_pydict() == {"n": [None, None]}
