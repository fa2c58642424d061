"""Random queries: no crash, nothing accepted that DuckDB refuses, and the plain answer where noise vanishes.

A part runs with every `make test`; `make soak` runs 20,000.
"""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

from privacy.errors import WeirError
from privacy.fragment import Plan
from tests.federation.compare import assert_same_answer
from tests.fuzz.grammar import queries
from tests.fuzz.region import Region
from tests.privacy.corpus_planner import plan

EPSILON = 1e9


@pytest.fixture(scope="module")
def region() -> Region:
    return Region(people=400)


def check(region: Region, sql: str) -> None:
    planned = planned_or_refused(sql)
    if planned is None:
        return
    try:
        plain = region.plain.sql(sql).df()
    except duckdb.Error as fault:
        raise AssertionError(f"accepted, but DuckDB refuses it: {fault}") from None
    answer = region.answer(planned)
    # The sum of no rows is 0 here, and NULL in DuckDB.
    assert_same_answer(replace(answer, rows=without_null_values(answer.rows)), without_null_values(plain), sql)


def planned_or_refused(sql: str) -> Plan | None:
    try:
        return plan(sql, epsilon=EPSILON)
    except WeirError as fault:
        refused = fault
    assert refused.remedy
    return None


def without_null_values(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with 0 for NULL in columns that are no keys: the grammar calls keys `k…` and `test`."""
    values = [name for name in frame.select_dtypes("number") if not name.startswith(("k", "test"))]
    return frame.assign(**{name: frame[name].fillna(0) for name in values})


_QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much]


@given(sql=queries())
@settings(max_examples=100, deadline=None, suppress_health_check=_QUIET, derandomize=True)
def test_random_queries(region: Region, sql: str) -> None:
    check(region, sql)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@given(sql=queries())
@settings(max_examples=20_000, deadline=None, suppress_health_check=_QUIET)
def test_twenty_thousand_random_queries(region: Region, sql: str) -> None:
    check(region, sql)
