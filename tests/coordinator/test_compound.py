"""Answers over several blocks, and their error bars: what is computed, once a draw, against what is known."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest

from coordinator.above import Computed, computed
from coordinator.rest import RestEngine
from privacy.fragment import Fragment, Plan
from privacy.noise import variance
from tests.privacy.corpus_planner import plan

KINDS = ("outpatient", "inpatient", "emergency", "checkup", "test")
BY_KIND = "SELECT kind, COUNT(*) AS n FROM visits GROUP BY kind"
NEAR = 0.2  # of a standard deviation that some 400 draws tell: five of its own standard errors


def counts(fragment: Fragment, first: int) -> pa.Table:
    """A release in which cell number i of each measure holds `first` + 100 i."""
    table = fragment.cells
    for measure in fragment.measures:
        values = [first + 100 * place for place in range(fragment.cell_count)]
        table = table.append_column(measure.name, pa.array(values, pa.int64()))
    return table


def answered(sql: str, *, epsilon: float = 1.0, first: int = 1000) -> tuple[Plan, Computed]:
    planned = plan(sql, epsilon=epsilon, delta=0.0)
    releases = {
        province: {block: counts(fragment, first) for block, fragment in blocks.items()}
        for province, blocks in planned.asked.items()
    }
    return planned, computed(RestEngine(), planned, releases, seed=1, timeout_s=60)


def deviation(planned: Plan, block: int = 0) -> float:
    """Of one merged count of a block."""
    fragments = planned.blocks[block].fragments.values()
    return math.sqrt(sum(variance(part.measures[0].mechanism, part.measures[0].scale) for part in fragments))


def errors(result: Computed, column: str) -> list[float | None]:
    found: list[float | None] = result.bars.standard_errors[column].to_pylist()
    return found


def test_a_difference_of_two_blocks_has_the_root_of_both_variances() -> None:
    planned, result = answered("SELECT (SELECT COUNT(*) FROM visits) - (SELECT COUNT(*) FROM residents) AS d")
    assert result.rows["d"].to_pylist() == [0]
    assert errors(result, "d") == [pytest.approx(math.hypot(deviation(planned, 0), deviation(planned, 1)), rel=NEAR)]


def test_a_total_of_groups_has_the_root_of_their_number() -> None:
    planned, result = answered(f"SELECT SUM(n) AS s, AVG(n) AS m FROM ({BY_KIND}) AS t")
    assert result.rows["s"].to_pylist() == [4 * (5 * 1000 + 100 * 10)]
    assert result.rows["s"].type == pa.int64()
    assert errors(result, "s") == [pytest.approx(math.sqrt(5) * deviation(planned), rel=NEAR)]
    assert errors(result, "m") == [pytest.approx(deviation(planned) / math.sqrt(5), rel=NEAR)]


def test_what_is_left_by_limit_and_having_keeps_its_error_bar() -> None:
    planned, result = answered(f"SELECT kind, n FROM ({BY_KIND}) AS t WHERE n > 0 ORDER BY n DESC LIMIT 2")
    assert len(result.rows) == 2
    assert errors(result, "n") == [pytest.approx(deviation(planned), rel=NEAR)] * 2
    assert errors(result, "kind") == [None, None]


def test_running_sums_add_up_variances() -> None:
    planned, result = answered(f"SELECT kind, SUM(n) OVER (ORDER BY kind) AS s FROM ({BY_KIND}) AS t ORDER BY kind")
    expected = [pytest.approx(math.sqrt(place) * deviation(planned), rel=NEAR) for place in range(1, 6)]
    assert errors(result, "s") == expected


def test_the_same_block_twice_has_the_same_noise_twice() -> None:
    twice = f"WITH t AS ({BY_KIND}) SELECT a.kind, a.n - b.n AS zero, a.n + b.n AS two FROM t a JOIN t b USING (kind)"
    planned, result = answered(twice)
    assert set(result.rows["zero"].to_pylist()) == {0}
    assert errors(result, "zero") == [0.0] * 5
    assert errors(result, "two") == [pytest.approx(2 * deviation(planned), rel=NEAR)] * 5


def test_text_and_truth_have_no_error_bar_and_rows_that_are_alike_none_either() -> None:
    _, result = answered(
        f"SELECT kind, CASE WHEN n > 9 THEN 'many' ELSE 'few' END AS size, n > 9 AS b FROM ({BY_KIND}) t"
    )
    assert errors(result, "size") == errors(result, "b") == [None] * 5
    _, alike = answered(f"SELECT n FROM ({BY_KIND}) AS t")
    assert errors(alike, "n") == [None] * 5


def test_unions_and_groupings_above_keep_rows_apart() -> None:
    planned, result = answered(
        f"SELECT kind = 'test' AS test, SUM(n) AS s FROM ({BY_KIND}) AS t GROUP BY 1 UNION ALL "
        "SELECT NULL, COUNT(*) FROM residents ORDER BY 1"
    )
    assert result.rows["test"].to_pylist() == [False, True, None]
    four, one, residents = errors(result, "s")
    assert four == pytest.approx(2 * deviation(planned), rel=NEAR)
    assert one == pytest.approx(deviation(planned), rel=NEAR)
    assert residents == pytest.approx(deviation(planned, 1), rel=NEAR)


def test_an_interval_holds_the_value_and_widens_with_the_error() -> None:
    _, result = answered(f"SELECT kind, n * 1.0 / SUM(n) OVER () AS share FROM ({BY_KIND}) AS t ORDER BY kind")
    shares, low, high = (table["share"].to_pylist() for table in (result.rows, result.bars.low, result.bars.high))
    assert all(least < value < most for least, value, most in zip(low, shares, high, strict=True))


def test_public_tables_may_stand_beside_blocks() -> None:
    _, result = answered(
        "SELECT h.level, SUM(t.n) AS s FROM (SELECT hospital, COUNT(*) AS n FROM visits GROUP BY hospital) AS t "
        "JOIN hospitals AS h ON h.hospital = t.hospital GROUP BY h.level ORDER BY h.level"
    )
    assert result.rows["level"].to_pylist() == [1, 2, 3]
    assert all(error for error in errors(result, "s"))
