"""Values that SQL takes as equal and text tells apart: which of them stands for both hangs on the rows of others.

0.0 = −0.0, and every NaN is equal to every other. A person with many rows moves where the rows of the others lie, and
which thread reads them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from privacy.catalog import parse_catalog
from privacy.planner import Planner
from privacy.request import Request
from tests.attacks.local_node import LocalNode, opened, write_node
from tests.statistics.clinic import CATALOG, tables

OTHERS = 300_000
TARGET_ROWS = 600_000  # in front of those of the others: some row groups of the file
PLANNER = Planner(parse_catalog(CATALOG, source="clinic"))
_ZERO = "CASE WHEN urgent THEN cost * 0 ELSE -(cost * 0) END"
_TEXT = "SELECT COUNT(*) FILTER (WHERE CAST(m AS VARCHAR) = '-0.0') FROM "
QUERIES = [
    f"{_TEXT}(SELECT person_id, MIN(CASE WHEN urgent THEN 0.0 ELSE -0.0 END) AS m FROM visits GROUP BY person_id) AS p",
    f"{_TEXT}(SELECT person_id, MAX({_ZERO}) AS m FROM visits GROUP BY person_id) AS p",
    f"{_TEXT}(SELECT person_id, MEDIAN({_ZERO}) AS m FROM visits GROUP BY person_id) AS p",
    f"{_TEXT}(SELECT person_id, {_ZERO} AS m, COUNT(*) AS c FROM visits GROUP BY person_id, {_ZERO}) AS p",
    f"{_TEXT}(SELECT DISTINCT person_id, {_ZERO} AS m FROM visits) AS p",
    (
        f"{_TEXT}(SELECT person_id, FIRST_VALUE(c) OVER (PARTITION BY person_id ORDER BY c) AS m "
        f"FROM (SELECT person_id, {_ZERO} AS c FROM visits) AS q) AS p"
    ),
    f"{_TEXT}(SELECT person_id, {_ZERO} AS m FROM visits UNION SELECT person_id, -(age * 0.0) AS m FROM residents) AS p",
    (
        "SELECT SUM(CLAMP(POWER(m, -1), -1, 1)) FROM "
        f"(SELECT person_id, MIN({_ZERO}) AS m FROM visits GROUP BY person_id) AS p"
    ),
    (
        "SELECT COUNT(*) FILTER (WHERE CAST(m AS VARCHAR) LIKE '-%') FROM (SELECT person_id, MIN(CASE WHEN urgent THEN "
        "POWER(0.0 - 1, 0.5) ELSE -POWER(0.0 - 1, 0.5) END) AS m FROM visits GROUP BY person_id) AS p"
    ),
    (
        "SELECT COUNT(*) FILTER (WHERE CAST(m AS VARCHAR) = '-0.0') FROM "
        "(SELECT person_id, MIN(score) AS m FROM visits GROUP BY person_id) AS p"
    ),
]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, LocalNode]]:
    """The node without and with the target, each with two threads."""
    folder = tmp_path_factory.mktemp("equal")
    paths = {}
    for target in (False, True):
        rows = {"visits": _visits(target=target), "residents": tables(target=False)["residents"]}
        paths[target] = write_node(folder / str(target), CATALOG, rows, province="east")
        text = paths[target].read_text(encoding="utf-8")
        assert "threads = 1" in text
        paths[target].write_text(text.replace("threads = 1", "threads = 2"), encoding="utf-8")
    with opened(paths[False]) as without, opened(paths[True]) as with_target:
        yield {False: without, True: with_target}


def _visits(*, target: bool) -> pa.Table:
    """Two rows of everyone, urgent ones first; the scores are 0.0 and −0.0."""
    people = np.arange(1, OTHERS + 1)
    persons = np.concatenate([np.full(TARGET_ROWS if target else 0, OTHERS + 1), people, people])
    urgent = np.arange(len(persons)) < len(persons) - OTHERS
    columns = {"ward": "A", "shift": "day", "sex": "F"}
    return pa.table(
        {
            "person_id": persons,
            "urgent": urgent,
            "cost": np.full(len(persons), 5.0),
            "score": np.where(urgent, 0.0, -0.0),
        }
        | {name: pa.array([value]).take(np.zeros(len(persons), np.int64)) for name, value in columns.items()}
    )


@pytest.mark.parametrize("sql", QUERIES)
def test_the_rows_of_others_do_not_hang_on_one_person(nodes: dict[bool, LocalNode], sql: str) -> None:
    request = Request.new(sql, epsilon=1.0, delta=1e-9, nonce="0" * 32, expires_unix_s=2**40)
    fragment = PLANNER.plan(request).blocks[0].fragments["east"]
    [measure] = fragment.measures
    exact = {target: _only(node.exact(fragment)) for target, node in nodes.items()}
    assert abs(exact[True] - exact[False]) <= measure.sensitivity


def _only(exact: pa.Table) -> int:
    return int(exact.column("m0")[0].as_py() or 0)
