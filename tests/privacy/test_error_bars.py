"""Draws of noise have the moments that the noise has."""

import math

import numpy as np
import pyarrow as pa
import pytest

import privacy.error_bars
from privacy.chains import Chain
from privacy.error_bars import (
    LEAST_DRAWS,
    MOST_DRAWS,
    Contribution,
    cell_deviations,
    draws_per_cell,
    fourth_cumulants,
    seed_of,
    simulated,
)
from privacy.fragment import Mechanism
from privacy.noise import laplace_variance, simulated_noise, variance
from privacy.request import Request
from privacy.roll_up import RollUp


def merged(cells: int, *, measures: int = 1, value: int = 100) -> pa.Table:
    columns = {f"m{n}": pa.array([value] * cells, pa.int64()) for n in range(measures)}
    return pa.table({"cell": np.arange(cells), "k0": [f"key {n}" for n in range(cells)], **columns})


def everywhere(cells: int, **scales: float) -> Contribution:
    return Contribution(np.arange(cells), {name: ("laplace", scale) for name, scale in scales.items()})


def drawn(*arguments: object, **named: object) -> pa.Table:
    """All parts of `simulated`."""
    return pa.concat_tables(table for table, _ in simulated(*arguments, **named))  # type: ignore[arg-type]


def spread(table: pa.Table, column: str) -> np.ndarray:
    frame = table.to_pandas()
    return frame.groupby("cell")[column].std().to_numpy()


@pytest.mark.parametrize(("scale", "rel"), [(0.3, 0.2), (1.0, 0.1), (20.0, 1e-9), (1e9, 1e-9)])
def test_a_sum_has_its_analytic_standard_error(scale: float, rel: float) -> None:
    """Exactly, but for small noise: that is drawn in whole steps."""
    table = drawn(merged(3), [], [everywhere(3, m0=scale), everywhere(3, m0=2 * scale)], seed=1)
    expected = math.sqrt(laplace_variance(scale) + laplace_variance(2 * scale))
    assert spread(table, "m0") == pytest.approx([expected] * 3, rel=rel)
    mean = table.to_pandas().groupby("cell")["m0"].mean().to_numpy()
    assert mean == pytest.approx([100] * 3, rel=1e-6, abs=0.2 * scale if rel > 1e-6 else 1e-3)


@pytest.mark.parametrize("mechanism", ["laplace", "laplace_pair", "gaussian"])
@pytest.mark.parametrize("scale", [1e-6, 0.2, 0.7, 2.0, 3.4])
def test_small_noise_is_drawn_in_whole_steps_with_its_variance(mechanism: Mechanism, scale: float) -> None:
    """300,000 draws: their variance is within 5 % but for 1e-7; a kurtosis of 30 allows 1 %."""
    draws = simulated_noise(mechanism, scale, (300_000,), seed=3)
    assert (draws == np.rint(draws)).all()
    assert draws.var() == pytest.approx(variance(mechanism, scale), rel=0.08, abs=1e-4)


def test_a_pair_has_the_noise_of_two_draws() -> None:
    """count = a + b, sum = 50 (a − b): so 50 × count + sum is Laplace noise, of excess kurtosis 3 (each alone: 1.5)."""
    part = Contribution(
        np.arange(1), {"m0": ("laplace_pair", 1000.0), "m1": ("laplace_pair", 50_000.0)}, pairs={"m1": "m0"}
    )
    frame = drawn(merged(1, measures=2), [], [part] * 2, seed=5).to_pandas()
    count, total = frame["m0"] - 100, frame["m1"] - 100
    assert abs(count.corr(total)) < 0.12  # of 1,999 draws; more than five of its standard deviations
    one = Contribution(np.arange(200), part.noises, pairs=part.pairs)
    frame = drawn(merged(200, measures=2), [], [one], seed=5).to_pandas()
    both = 50 * (frame["m0"] - 100) + frame["m1"] - 100
    assert (both**4).mean() / (both**2).mean() ** 2 - 3 == pytest.approx(3, abs=0.5)
    (first,) = fourth_cumulants((("m0", 50.0), ("m1", 1.0)), [part], 1)
    assert first == pytest.approx(12 * 100_000.0**4)


GROUPS = np.arange(20) % 4  # of 20 cells
ROLLED = RollUp((np.arange(20), 20 + GROUPS, np.full(20, 24)), 25)


def levelled(*scales: float, by: float = 1.0, mechanism: Mechanism = "laplace") -> Chain:
    """The 20 cells, their four groups, and all of them, with noise of these scales."""
    return Chain(("", "", ""), (GROUPS, np.zeros(4, np.int64)), tuple((mechanism, by * scale) for scale in scales))


def paired(*scales: float, high: float) -> Contribution:
    """A count and its sum, released together at every level."""
    chains = {
        "m0": levelled(*scales, mechanism="laplace_pair"),
        "m1": levelled(*scales, by=high, mechanism="laplace_pair"),
    }
    return Contribution(np.arange(20), {name: chain.noises[0] for name, chain in chains.items()}, {"m1": "m0"}, chains)


def weights(chain: Chain) -> np.ndarray:
    """How each noise of a chain (the columns) counts in each group of ROLLED."""
    ends = np.cumsum(chain.sizes)
    levels = np.split(np.eye(ends[-1]), ends[:-1])
    return ROLLED.sums(levels[0] + chain.corrections(chain.offsets(levels))[0])


@pytest.mark.parametrize("scales", [(30.0, 30.0, 30.0), (30.0, 500.0, 20.0), (90.0, 20.0, 2000.0)])
@pytest.mark.parametrize("nodes", [1, 3])
def test_what_levels_are_combined_to_is_taken_as_far_from_gaussian_as_it_may_be(
    scales: tuple[float, float, float], nodes: int
) -> None:
    chain = levelled(*scales)
    part = Contribution(np.arange(20), {"m0": chain.noises[0]}, chains={"m0": chain})
    exact = nodes * weights(chain) ** 4 @ np.repeat([12 * scale**4 for scale in scales], chain.sizes)
    variances = cell_deviations("m0", [part] * nodes, 20, roll_up=ROLLED) ** 2
    found = fourth_cumulants((("m0", 1.0),), [part] * nodes, 20, roll_up=ROLLED)
    assert (found >= exact).all()
    assert found / variances**2 == pytest.approx([3 / nodes] * 25)
    assert (exact / found).max() > 0.5  # somewhere it nearly is as far
    gaussian = Contribution(
        part.cells, {"m0": ("gaussian", 30.0)}, chains={"m0": levelled(*scales, mechanism="gaussian")}
    )
    assert fourth_cumulants((("m0", 1.0),), [gaussian], 20, roll_up=ROLLED).tolist() == [0.0] * 25


def test_a_pair_that_is_combined_from_levels_is_a_pair_still() -> None:
    """count = a + b, sum = 50 (a − b) with a and b the same combination: so 50 × count + sum is 100 a."""
    part = paired(1000.0, 700.0, 3000.0, high=50.0)
    of_pair = fourth_cumulants((("m0", 50.0), ("m1", 1.0)), [part], 20, roll_up=ROLLED)
    of_count = fourth_cumulants((("m0", 50.0),), [part], 20, roll_up=ROLLED)
    variances = (50 * cell_deviations("m0", [part], 20, roll_up=ROLLED)) ** 2
    assert of_count / variances**2 == pytest.approx([1.5] * 25)
    assert of_pair / (2 * variances) ** 2 == pytest.approx([3] * 25)
    frame = drawn(merged(25, measures=2), [], [part], seed=5, roll_up=ROLLED).to_pandas()
    count, total = frame["m0"] - 100, frame["m1"] - 100
    assert abs(count.corr(total)) < 0.05
    both = (50 * count + total).to_numpy().reshape(25, -1)
    assert both.var(axis=1) == pytest.approx(2 * variances, rel=0.15)
    finest = both[:20] / both[:20].std(axis=1)[:, np.newaxis]
    seen = count.to_numpy().reshape(25, -1)[:20] / count.to_numpy().reshape(25, -1)[:20].std(axis=1)[:, np.newaxis]
    assert (finest**4).mean() - 3 > 1.6 * ((seen**4).mean() - 3) > 1


def test_small_noise_of_levels_is_drawn_as_it_is_released() -> None:
    """In whole steps, with the variance that is stated for them."""
    chain = levelled(1.0, 1.5, 1.5)
    part = Contribution(np.arange(20), {"m0": chain.noises[0]}, chains={"m0": chain})
    table = drawn(merged(25), [], [part], seed=5, roll_up=ROLLED)
    numbers = table["m0"].to_numpy().reshape(25, -1)
    assert (numbers[:24] == np.rint(numbers[:24])).all()
    stated = cell_deviations("m0", [part], 20, roll_up=ROLLED) ** 2
    assert numbers.var(axis=1) == pytest.approx(stated, rel=0.2)


def test_a_cell_has_the_noise_of_the_nodes_that_added_to_it() -> None:
    parts = [
        Contribution(np.array([0, 1]), {"m0": ("laplace", 4.0)}),
        Contribution(np.array([1]), {"m0": ("laplace", 4.0)}),
    ]
    found = spread(drawn(merged(3), [], parts, seed=1), "m0")
    one = laplace_variance(4.0)
    assert found == pytest.approx([math.sqrt(one), math.sqrt(2 * one), 0.0], rel=0.15)


def test_a_ratio_is_near_its_first_order_standard_error() -> None:
    parts = [everywhere(1, m0=10.0, m1=3.0)]
    frame = drawn(merged(1, measures=2, value=10_000), [], parts, seed=1).to_pandas()
    expected = math.sqrt(laplace_variance(10.0) + laplace_variance(3.0)) / 10_000
    assert (frame["m0"] / frame["m1"]).std() == pytest.approx(expected, rel=0.1)


def test_noise_of_measures_and_nodes_is_independent() -> None:
    parts = [everywhere(1, m0=5.0, m1=5.0)] * 2
    frame = drawn(merged(1, measures=2), [], parts, seed=1).to_pandas()
    assert abs(frame["m0"].corr(frame["m1"])) < 0.1
    # 0.7 where the second node draws its own noise, 1 where it repeats the first one's.
    single = drawn(merged(1, measures=2), [], parts[:1], seed=1).to_pandas()
    assert abs(np.corrcoef(frame["m0"] - single["m0"], single["m0"])[0, 1]) < 0.8


def test_draws_have_the_columns_and_types_that_the_rest_expects() -> None:
    table = drawn(merged(2, measures=2), [], [everywhere(2, m0=1.0, m1=0.0)], seed=1)
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
    assert drawn(merged(2), [], parts, seed=7).equals(drawn(merged(2), [], parts, seed=7))
    assert not drawn(merged(2), [], parts, seed=7).equals(drawn(merged(2), [], parts, seed=8))


@pytest.mark.parametrize(
    ("cells", "noises", "draws"),
    [
        (1, 4, MOST_DRAWS),
        (2_000, 8_000, MOST_DRAWS),
        (2_100, 8_400, 1879),
        (100_000, 100_000, 39),
        (400_000, 400_000, LEAST_DRAWS),
        (100_000, 10_000_000, LEAST_DRAWS),
    ],
)
def test_draws_adapt_to_the_number_of_cells(cells: int, noises: int, draws: int) -> None:
    assert draws_per_cell(cells, noises) == draws


def test_many_cells_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy.error_bars, "SIMULATED_ROWS", 400_000)
    given = merged(20_000, measures=2), [], [everywhere(20_000, m0=10.0, m1=20.0)] * 4
    parts = [table for table, draws in simulated(*given, seed=1) if draws == LEAST_DRAWS]
    assert len(parts) == 2
    assert max(part.num_rows for part in parts) <= 400_000
    table = pa.concat_tables(parts)
    assert table["cell"].to_pylist() == np.repeat(np.arange(20_000), LEAST_DRAWS).tolist()
    assert spread(table, "m1") == pytest.approx([math.sqrt(4 * laplace_variance(20.0))] * 20_000)
