"""weir at one node, in this process: plan, bounded SQL on DuckDB, noise, and the rest above the privacy line."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa

from benchmarks.accuracy.cases import (
    CASES,
    DELTA,
    EPSILON,
    HIGHEST_AGE,
    HIGHEST_COST,
    KEYS,
    MAX_GROUPS,
    MAX_ROWS,
    Case,
)
from benchmarks.accuracy.task import Answers, Releases
from coordinator.above import computed
from coordinator.rest import RestEngine
from privacy.bounding import bounded_sql
from privacy.catalog import parse_catalog
from privacy.fragment import MERGED, Plan
from privacy.noise import noisy
from privacy.planner import Planner
from privacy.request import Request

_PROVINCE = "region"
_TIMEOUT_S = 60.0
_KEY_COLUMNS = "\n".join(
    f'{key} = {{ type = "VARCHAR", values = {list(values)}, description = {{ en = "-", zh = "-" }} }}'
    for key, values in KEYS.items()
)
_CATALOG = f"""
[region]
name = "Accuracy"
version = "1"
description = {{ en = "-", zh = "-" }}
provinces = ["{_PROVINCE}"]

[tables.visits]
access = "private"
description = {{ en = "-", zh = "-" }}
unit = "person"
unit_column = "person_id"
span = 1
max_rows = {MAX_ROWS}
max_groups = {MAX_GROUPS}

[tables.visits.columns]
person_id = {{ type = "BIGINT", description = {{ en = "-", zh = "-" }} }}
age = {{ type = "INTEGER", bounds = [0, {HIGHEST_AGE}], description = {{ en = "-", zh = "-" }} }}
cost = {{ type = "DOUBLE", bounds = [0, {HIGHEST_COST}], grid = 0.01, description = {{ en = "-", zh = "-" }} }}
{_KEY_COLUMNS}
"""


def measured(table: Path, *, repetitions: int) -> Answers:
    """`repetitions` releases of every case, each with fresh noise."""
    planner = Planner(parse_catalog(_CATALOG, source="accuracy"))
    with closing(RestEngine()) as rest, duckdb.connect() as engine:
        engine.execute(f"CREATE TABLE visits AS FROM '{table}'")
        cases = {case.name: Releases(_releases(case, planner, engine, rest, repetitions)) for case in CASES}
    return Answers("weir", cases)


def _releases(
    case: Case, planner: Planner, engine: duckdb.DuckDBPyConnection, rest: RestEngine, repetitions: int
) -> list[list[list[float]]]:
    request = Request.new(case.sql, epsilon=EPSILON, delta=DELTA, nonce="0" * 32, expires_unix_s=2**40)
    planned = planner.plan(request)
    plan = replace(planned, rest=replace(planned.rest, error_sql=""))  # error bars take time and change no answer
    exact = engine.sql(bounded_sql(plan.blocks[0].fragments[_PROVINCE], secret="00")).to_arrow_table()
    return [_release(plan, exact, rest) for _ in range(repetitions)]


def _release(plan: Plan, exact: pa.Table, rest: RestEngine) -> list[list[float]]:
    releases = {_PROVINCE: {MERGED: noisy(plan.blocks[0].fragments[_PROVINCE], exact)}}
    rows = computed(rest, plan, releases, seed=0, timeout_s=_TIMEOUT_S).rows
    columns = [column.to_pylist() for column in rows.columns[1:]]
    return [[float(value) for value in row] for row in zip(*columns, strict=True)]
