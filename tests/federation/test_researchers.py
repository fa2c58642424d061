"""What analysts write for one database works: without noise each query of researchers.sql is plain DuckDB's answer.

In one process, as tests/fuzz: nodes' engines, noise and coordinator without daemons.
"""

from pathlib import Path

import pytest

from tests.federation.compare import assert_same_answer
from tests.fuzz.region import Region
from tests.privacy.corpus_planner import plan

_TEXT = (Path(__file__).parent / "researchers.sql").read_text()
QUERIES = _TEXT.partition("\n")[2].strip().split(";\n")


@pytest.fixture(scope="module")
def region() -> Region:
    return Region(people=400)


@pytest.mark.parametrize("sql", QUERIES)
def test_equals_plain_duckdb(region: Region, sql: str) -> None:
    assert_same_answer(region.answer(plan(sql, epsilon=1e6)), region.plain.sql(sql).df(), sql)


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("SELECT MEAN(cost), DATE_PART('year', visit_date) FROM visits GROUP BY 2", ["MEAN(cost)", None]),
        ("SELECT kind, SUM(COUNT(*)) OVER w FROM visits GROUP BY kind WINDOW w AS (ORDER BY kind)", ["kind", None]),
        ("WITH t(k, n) AS (SELECT kind, COUNT(*) FROM visits GROUP BY kind) SELECT k, n FROM t", ["k", "n"]),
        ("SELECT MAX(COLUMNS(*)) FROM (SELECT COUNT(*) AS n FROM visits GROUP BY kind)", ["max(n)"]),
    ],
)
def test_columns_are_called_as_they_are_written(sql: str, columns: list[str | None]) -> None:
    found = [column.name for column in plan(sql).rest.columns]
    assert len(found) == len(columns)
    assert all(name in (None, got) for name, got in zip(columns, found, strict=True)), found
    assert not any(weir in name for name in found for weir in ("EXTRACT", "AVG", "<"))
