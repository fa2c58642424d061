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
from privacy.fragment import MERGED, Plan
from privacy.noise import variance
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
