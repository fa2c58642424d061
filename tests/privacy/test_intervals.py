"""Intervals: the analytic and the simulated ones agree, and hold at the edges: NULL, bounds, whole numbers."""

import math
from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from scipy import integrate, optimize, stats

from privacy.chains import Chain
from privacy.error_bars import Contribution, simulated
from privacy.fragment import Mechanism, OutputColumn
from privacy.intervals import DrawnSpread, LinearSpread, Spread, drawn_spread, error_bars, linear_spread
from privacy.linear import Form
from privacy.noise import laplace_variance
from privacy.roll_up import RollUp

COUNT: Form = (("m0", 1.0),)


def one_node(mechanism: Mechanism, scale: float, cells: int = 1) -> Contribution:
    return Contribution(np.arange(cells), {"m0": (mechanism, scale)})


def quantile_of_sum(terms: int) -> float:
    """The exact 97.5 % quantile of so many equal Laplace noises, of variance 1 in all."""
    # A Laplace variable is normal with an exponential variance, so the sum is normal with a gamma variance.
    mixed = stats.gamma(terms, scale=1 / terms)

    def missing(end: float) -> float:
        held, _ = integrate.quad(lambda part: stats.norm.cdf(end / math.sqrt(mixed.ppf(part))), 0, 1, limit=200)
        return float(held) - 0.975

    return float(optimize.brentq(missing, 1.5, 2.5))


@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 6, 12])
def test_the_width_of_a_sum_of_laplace_noises_is_exact(nodes: int) -> None:
    found = linear_spread((("m0", 2.0), ("m1", 0.0)), [one_node_of_two(1e6) for _ in range(nodes)], 1)
    assert found.half / found.deviation == pytest.approx([quantile_of_sum(nodes)], rel=2e-4)


def one_node_of_two(scale: float) -> Contribution:
    return Contribution(np.arange(1), {"m0": ("laplace", scale), "m1": ("laplace", 1.0)})


def test_one_node_has_the_laplace_quantile_and_a_gaussian_node_the_normal_one() -> None:
    laplace = linear_spread(COUNT, [one_node("laplace", 1e6)], 1)
    assert laplace.half == pytest.approx([1e6 * math.log(20)], rel=1e-4)
    gaussian = linear_spread(COUNT, [one_node("gaussian", 1e6)] * 3, 1)
    assert gaussian.half == pytest.approx([1e6 * math.sqrt(3) * stats.norm.ppf(0.975)], rel=1e-4)


@pytest.mark.parametrize("scale", [0.05, 0.2, 0.27, 0.3, 0.35, 0.5, 0.7, 1.0, 1.5, 2.0, 5.0, 17.0])
def test_a_count_has_the_least_whole_interval_that_covers_enough(scale: float) -> None:
    """P(|noise| > k) = 2 q^(k + 1) / (1 + q), q = e^(−1/scale): Inusah and Kozubowski 2006, section 2."""
    q = math.exp(-1 / scale)
    enough = next(k for k in range(1000) if 2 * q ** (k + 1) / (1 + q) <= 0.05)
    assert linear_spread(COUNT, [one_node("laplace", scale)], 1).half.tolist() == [enough]
    assert linear_spread((("m0", -2.5),), [one_node("laplace", scale)], 1).half.tolist() == [2.5 * enough]


@pytest.mark.parametrize("by", [1e-300, 1e300])
def test_extreme_multiples_have_bars(by: float) -> None:
    found = linear_spread((("m0", by), ("m1", by)), [one_node_of_two(10.0)], 1)
    assert found.deviation == pytest.approx([by * math.sqrt(laplace_variance(10.0) + laplace_variance(1.0))])
    assert found.half / found.deviation == pytest.approx([2.11], rel=0.01)


FORMS: list[Form] = [COUNT, (("m0", -3.0), ("m1", 0.5)), (("m0", 50.0), ("m1", 1.0)), (("m1", 0.01),)]
NOISES = {
    "laplace": Contribution(np.arange(40), {"m0": ("laplace", 30.0), "m1": ("laplace", 700.0)}),
    "gaussian": Contribution(np.arange(40), {"m0": ("gaussian", 30.0), "m1": ("gaussian", 700.0)}),
    "pair": Contribution(
        np.arange(40), {"m0": ("laplace_pair", 30.0), "m1": ("laplace_pair", 1500.0)}, pairs={"m1": "m0"}
    ),
}


@pytest.mark.parametrize(("form", "name", "nodes"), list(product(FORMS, NOISES, [1, 3])))
def test_analytic_and_simulated_bars_of_linear_forms_agree(form: Form, name: str, nodes: int) -> None:
    """40 cells of 1,999 draws: the mean of their ends is known to 1 % of the width, so 5 % is never reached by chance."""
    parts = [NOISES[name]] * nodes
    merged = pa.table({"cell": np.arange(40), "m0": np.full(40, 500), "m1": np.full(40, 900)})
    ((table, draws),) = simulated(merged, [], parts, seed=11)
    values = sum(by * table.column(measure).to_numpy() for measure, by in form)
    estimate = sum(by * (500 if measure == "m0" else 900) for measure, by in form)
    analytic = linear_spread(form, parts, 40)
    drawn = drawn_spread(np.asarray(values).reshape(40, draws))
    assert drawn.deviation.mean() == pytest.approx(analytic.deviation[0], rel=0.02)
    ends = np.array([estimate - drawn.low.mean(), drawn.high.mean() - estimate])
    assert ends == pytest.approx([analytic.half[0]] * 2, rel=0.05)


@pytest.mark.parametrize(("form", "scale"), list(product(FORMS, [0.7, 3.0, 30.0])))
def test_intervals_of_combined_levels_are_no_narrower_than_draws_and_hardly_wider(form: Form, scale: float) -> None:
    places = np.arange(40) % 4
    levels = tuple(("laplace_pair", more * scale) for more in (1.0, 1.5))
    sums = tuple(("laplace_pair", more * 50 * scale) for more in (1.0, 1.5))
    chains = {name: Chain(("", ""), (places,), noises) for name, noises in (("m0", levels), ("m1", sums))}
    part = Contribution(np.arange(40), {name: chain.noises[0] for name, chain in chains.items()}, {"m1": "m0"}, chains)
    rolled = RollUp((np.arange(40), 40 + places), 44)
    merged = pa.table({"cell": np.arange(44), "m0": np.full(44, 500), "m1": np.full(44, 900)})
    for nodes in (1, 3):
        ((table, draws),) = simulated(merged, [], [part] * nodes, seed=11, roll_up=rolled)
        values = sum(by * table.column(measure).to_numpy() for measure, by in form)
        drawn = drawn_spread(np.asarray(values).reshape(44, draws))
        analytic = linear_spread(form, [part] * nodes, 40, roll_up=rolled)
        step = abs(form[0][1]) if len(form) == 1 else 0.0
        for level in (slice(40), slice(40, 44)):
            half = (drawn.high - drawn.low)[level].mean() / 2
            tolerance = 0.02 if level.start is None else 0.06  # of 40 cells and of four
            assert (1 - tolerance) * half - step / 2 <= analytic.half[level].mean() <= (1.09 + tolerance) * half + step


def test_groups_have_the_noise_of_all_their_cells() -> None:
    """Where one node has only some of the cells, too. The sum of many noises has the normal quantile."""
    places = np.array([0] * 400 + [1] * 2)
    parts = [one_node("laplace", 1e3, 402), Contribution(np.arange(2), {"m0": ("laplace", 2e3)})]
    found = linear_spread(COUNT, parts, 402, roll_up=RollUp((places,), 2))
    one, other = laplace_variance(1e3), laplace_variance(2e3)
    assert found.deviation == pytest.approx([math.sqrt(400 * one + 2 * other), math.sqrt(2 * one)])
    assert found.half[0] / found.deviation[0] == pytest.approx(1.96, abs=1e-3)
    assert found.half[1] / found.deviation[1] == pytest.approx(quantile_of_sum(2), rel=1e-3)


@pytest.mark.parametrize("scales", [(1, 2), (1, 3), (1, 1, 4), (1, 0.3, 0.3, 0.3)])
def test_unequal_noises_get_at_most_one_percent_more(scales: tuple[float, ...]) -> None:
    found = linear_spread((("m0", 1.0), ("m1", 0.0)), [one_node_of_two(1e6 * scale) for scale in scales], 1)
    spread = math.sqrt(sum(2 * scale**2 for scale in scales))

    def missing(end: float) -> float:  # Gil-Pelaez 1951: the distribution from its characteristic function
        steps = np.linspace(1e-9, 400, 1_000_001)
        wave = np.prod([1 / (1 + (steps * scale / spread) ** 2) for scale in scales], axis=0)
        return float(np.trapezoid(wave * np.sin(end * steps) / steps, steps)) / math.pi - 0.475

    exact = float(optimize.brentq(missing, 1.5, 2.5))
    assert exact <= (found.half / found.deviation)[0] <= 1.011 * exact


def test_an_interval_is_between_the_draws_of_equal_rank_from_both_ends() -> None:
    draws = ((np.arange(1199) * 500) % 1199 + 1.0)[np.newaxis]  # 1 to 1199 in a mixed order
    found = drawn_spread(draws)
    assert (found.low.tolist(), found.high.tolist()) == ([30.0], [1170.0])
    assert found.deviation == pytest.approx([draws.std(ddof=1)])
    fewest = drawn_spread(np.arange(1.0, 40.0)[np.newaxis])
    assert (fewest.low.tolist(), fewest.high.tolist()) == ([1.0], [39.0])


def test_draws_that_are_null_are_left_out() -> None:
    draws = np.full((5, 1999), math.nan)
    draws[1, 7] = 3.0
    draws[2, :39] = np.arange(39.0)
    draws[3, 500:] = np.arange(1499.0)
    draws[4] = np.arange(1999.0)
    found = drawn_spread(draws)
    assert found.low.tolist() == pytest.approx([math.nan, 3, 0, 36, 49], nan_ok=True)
    assert found.high.tolist() == pytest.approx([math.nan, 3, 38, 1462, 1949], nan_ok=True)
    assert np.isnan(found.deviation).tolist() == [True, True, False, False, False]


def bars(column: pa.Array, spread: Spread | None, cells: list[int]) -> list[dict[str, float | None]]:
    rows = pa.table({"n": column})
    found = error_bars(
        rows, pa.chunked_array([cells[:1], cells[1:]], pa.int64()), [OutputColumn("n", noisy=True)], [spread]
    )
    parts = {"se": found.standard_errors, "low": found.low, "high": found.high}
    assert {table.schema.field("n").type for table in parts.values()} == {pa.float64()}
    assert {table.schema.field("n").metadata[b"noisy"] for table in parts.values()} == {b"true"}
    columns = [table.column("n").to_pylist() for table in parts.values()]
    return [dict(zip(parts, row, strict=True)) for row in zip(*columns, strict=True)]


def test_bars_follow_the_rows_of_the_answer() -> None:
    spread = LinearSpread(np.array([0.1, 0.2, 0.3]), np.array([0.25, 0.5, 0.75]))
    assert bars(pa.array([10.0, None, 20.0]), spread, [2, 0, 1]) == [
        {"se": 0.3, "low": 9.25, "high": 10.75},
        {"se": None, "low": None, "high": None},
        {"se": 0.2, "low": 19.5, "high": 20.5},
    ]


def test_whole_numbers_have_whole_intervals() -> None:
    drawn = DrawnSpread(np.array([1.5]), np.array([-2.6]), np.array([3.4]))
    assert bars(pa.array([1]), drawn, [0]) == [{"se": 1.5, "low": -3.0, "high": 3.0}]


def test_the_released_value_is_within_its_interval() -> None:
    drawn = DrawnSpread(np.array([1.0, 1.0]), np.array([2.0, 2.0]), np.array([4.0, 4.0]))
    found = bars(pa.array([1.0, 5.0]), drawn, [0, 1])
    assert [(row["low"], row["high"]) for row in found] == [(1.0, 4.0), (2.0, 5.0)]


def test_what_is_no_number_is_null() -> None:
    drawn = DrawnSpread(np.array([math.inf, math.nan]), np.array([-math.inf, math.nan]), np.array([math.inf, math.nan]))
    assert bars(pa.array([1.0, 2.0]), drawn, [0, 1]) == [{"se": None, "low": None, "high": None}] * 2
    assert bars(pa.array([1.0, 2.0]), None, [0, 1]) == [{"se": None, "low": None, "high": None}] * 2


def test_an_answer_without_rows_still_says_what_is_noisy() -> None:
    assert bars(pa.array([], pa.int64()), LinearSpread(np.array([]), np.array([])), []) == []
