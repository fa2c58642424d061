"""Error bars above the line: beside the right rows, within bounds, whatever HAVING, ORDER BY and NULL do."""

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

import privacy.error_bars
from coordinator.above import NO_ERROR_BARS, Computed, computed
from coordinator.merge import merge
from coordinator.rest import RestEngine
from coordinator.roll_up import by_grouping_sets
from privacy.error_bars import cell_deviations
from privacy.fragment import MERGED, Plan
from privacy.noise import noisy, variance
from tests.coordinator.fakes import release
from tests.privacy.corpus_planner import plan

KINDS = {"checkup": 30, "inpatient": 7, "outpatient": 900, "surgery": 100, "test": 400}


def asked(select: str, *, epsilon: float = 1.0, values: int = 2) -> tuple[Plan, dict[str, pa.Table]]:
    """A question about the groups of `kind`; of each the count of KINDS at every node, and sums around the middle."""
    question = plan(f"SELECT {select}", epsilon=epsilon)
    cells = next(iter(question.blocks[0].fragments.values())).cells
    counts = [KINDS.get(kind, 0) for kind in cells["k0"].to_pylist()]
    columns = [counts, [-3 * count for count in counts]][:values]
    return question, {province: release(cells, *columns) for province in question.blocks[0].fragments}


def answered(question: Plan, releases: dict[str, pa.Table]) -> Computed:
    by_block = {province: {MERGED: table} for province, table in releases.items()}
    return computed(RestEngine(), question, by_block, seed=1, timeout_s=30)


def rows(result: Computed, column: str) -> dict[str, tuple[float | None, ...]]:
    """By kind: the value, its standard error, and the ends of its interval."""
    tables = (result.rows, result.bars.standard_errors, result.bars.low, result.bars.high)
    return dict(
        zip(result.rows["kind"].to_pylist(), zip(*(t[column].to_pylist() for t in tables), strict=True), strict=True)
    )


COUNTS = "kind, COUNT(*) AS n FROM visits GROUP BY kind"
MEANS = "kind, COUNT(*) AS n, AVG(age) AS mean FROM visits GROUP BY kind"


def test_having_and_order_leave_each_row_its_own_bars() -> None:
    question, releases = asked(MEANS)
    whole = answered(question, releases)
    some, _ = asked(f"{MEANS} HAVING COUNT(*) > 300 ORDER BY mean, n DESC LIMIT 3")
    found = answered(some, releases)
    assert 0 < len(found.rows) <= 3
    for column in ("n", "mean"):
        assert rows(found, column).items() <= rows(whole, column).items()
    assert rows(whole, "n")["outpatient"][0] == 4 * KINDS["outpatient"]


def test_a_count_has_its_analytic_interval_and_whole_ends() -> None:
    question, releases = asked(COUNTS, values=1)
    result = answered(question, releases)
    measure = next(iter(question.blocks[0].fragments.values())).measures[0]
    error = math.sqrt(4 * variance(measure.mechanism, measure.scale))
    for value, stated, low, high in rows(result, "n").values():
        assert stated == pytest.approx(error)
        assert None not in (value, low, high)
        assert low == round(low or 0.0)
        assert (value or 0) - (low or 0) == (high or 0) - (value or 0) == pytest.approx(2.013 * error, abs=0.51)


def test_the_interval_of_an_average_is_within_its_bounds_and_null_where_it_is() -> None:
    question, releases = asked(MEANS, epsilon=0.05)
    releases = {
        name: table.set_column(1, "m0", pa.array([-5, 20, 2000, 0, 900, 3][: len(table)]))
        for name, table in releases.items()
    }
    found = rows(answered(question, releases), "mean")
    assert any(row == (None,) * 4 for row in found.values())
    shown = [row for row in found.values() if row[0] is not None]
    assert shown
    for value, error, low, high in shown:
        assert None not in (value, error, low, high)
        assert 0 <= (low or 0.0) <= (value or 0.0) <= (high or 0.0) <= 120


def test_parts_of_a_large_answer_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    question, releases = asked(MEANS)
    whole = answered(question, releases)
    monkeypatch.setattr(privacy.error_bars, "draws_per_cell", lambda *_: 1999)
    monkeypatch.setattr(privacy.error_bars, "SIMULATED_ROWS", 4_500)
    parts = answered(question, releases)
    assert parts.bars.low.equals(whole.bars.low)
    assert parts.bars.standard_errors.equals(whole.bars.standard_errors)


def test_what_is_linear_has_bars_where_the_rest_cannot_be_simulated() -> None:
    question, releases = asked(
        "kind, COUNT(*) AS n, CAST(COUNT(*) AS BIGINT) // 2 AS half FROM visits GROUP BY kind", values=1
    )
    broken = replace(question, rest=replace(question.rest, error_sql="SELECT nothing"))
    result = answered(broken, releases)
    assert result.notes == (NO_ERROR_BARS,)
    assert result.bars.low["n"].null_count == 0
    assert result.bars.low["half"].null_count == len(result.rows)


def test_a_count_and_its_sum_are_merged_as_a_pair() -> None:
    question, releases = asked(MEANS)
    (first, *others) = merge(question.blocks[0].fragments, releases).contributions
    assert [part.pairs for part in (first, *others)] == [{"m1": "m0"}] * 4
    assert {mechanism for mechanism, _ in first.noises.values()} == {"laplace_pair"}


def test_levels_in_a_query_over_several_blocks_have_the_errors_of_what_is_combined() -> None:
    """Of a difference of counts of two blocks, both with levels: the variances that the chains state, added up."""
    sql = "SELECT home_province, birth_year, COUNT(*) AS n FROM residents {} GROUP BY ROLLUP (1, 2)"
    question = plan(
        f"SELECT a.home_province AS p, a.birth_year AS y, a.n - b.n AS d FROM ({sql.format('')}) AS a JOIN "
        f"({sql.format('WHERE insured')}) AS b "
        "ON a.home_province IS NOT DISTINCT FROM b.home_province AND a.birth_year IS NOT DISTINCT FROM b.birth_year",
    )
    assert len(question.blocks) == 2
    releases: dict[str, dict[str, pa.Table]] = {}
    for block in question.blocks:
        for province, part in block.fragments.items():
            assert part.finest != part.measures
            nothing = part.cells.slice(0, 0).append_column("m0", pa.array([], pa.int64()))
            releases.setdefault(province, {})[block.name] = noisy(part, nothing)
    result = computed(RestEngine(), question, releases, seed=1, timeout_s=60)
    assert not result.notes
    stated = [
        by_grouping_sets(merge(block.fragments, {name: found[block.name] for name, found in releases.items()}), sets, 2)
        for block, sets in ((block, block.grouping_sets) for block in question.blocks)
    ]
    variances = sum(
        cell_deviations("m0", merged.contributions, merged.table.num_rows, roll_up=merged.roll_up) ** 2
        for merged in stated
    )
    by_key = dict(
        zip(zip(*(stated[0].table[k].to_pylist() for k in ("k0", "k1")), strict=True), variances, strict=True)
    )
    keys = zip(result.rows["p"].to_pylist(), result.rows["y"].to_pylist(), strict=True)
    ratios = [
        error / math.sqrt(by_key[key])
        for key, error in zip(keys, result.bars.standard_errors["d"].to_pylist(), strict=True)
        if error is not None
    ]
    assert len(ratios) >= 360
    assert np.mean(ratios) == pytest.approx(1, abs=0.03)
    assert max(abs(ratio - 1) for ratio in ratios) < 0.3  # of 399 draws each


def test_histograms_have_intervals_too() -> None:
    question = plan("SELECT MEDIAN(age) AS middle FROM visits", epsilon=1.0)
    parts = {}
    for province, fragment in question.blocks[0].fragments.items():
        width = fragment.measures[0].width
        counts = np.full(width, 50, dtype=np.int64)
        column = pa.FixedSizeListArray.from_arrays(pa.array(counts), width)
        parts[province] = pa.table({"m0": column})
    result = answered(question, parts)
    value, low, high = (table["middle"][0].as_py() for table in (result.rows, result.bars.low, result.bars.high))
    assert low <= value <= high
    assert high - low > 0
