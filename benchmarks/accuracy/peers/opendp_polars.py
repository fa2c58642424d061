"""OpenDP's Context over Polars. Runs in its own environment: `python opendp_polars.py TASK [ANSWERS]`.

Limits: `Bound(by=[key], per_group=2, num_groups=3)`, the same as ours, as a fact of the table: nothing is truncated.
To enforce them (`enforce_limits`), rows are sampled in each group and the first groups kept: a sample of groups fails
with a single key, and it keeps one group less than asked. Keys are given (`with_keys`). Numbers are whole steps of
their grid, because its noise on floating-point sums takes seconds a cell. An average beside others is the quotient of
its sum and count; budgets are split evenly, as it does by itself. Mechanism: of Laplace (ε) and Gaussian (ρ) the one
with less noise for so many measures: Laplace in all.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import opendp.prelude as dp
import polars as pl
from harness import Prepare, Query, Release, run

MOST_ROWS = 10_000_000  # in one group, public


def open_peer(task: dict[str, Any]) -> Prepare:
    warnings.simplefilter("ignore")  # of defaults that will change; we name ours
    dp.enable_features("contrib")
    steps = [(pl.col(name) * _steps(task, name)).round().cast(pl.Int64) for name in task["grid"]]
    frame = pl.scan_parquet(task["table"]).with_columns(*steps)

    def prepare(case: dict[str, Any]) -> Query:
        def ready() -> Release:
            return _release(frame, task, case)

        return Query(whole=lambda: ready()(), again=ready())

    return prepare


def _release(frame: pl.LazyFrame, task: dict[str, Any], case: dict[str, Any]) -> Release:
    key, measured = case["key"], sorted({c["of"] for c in case["columns"] if c["aggregate"] != "COUNT"})
    needs_count = any(column["aggregate"] != "SUM" for column in case["columns"])
    parts = [dp.len(signed=True).alias("rows")] if needs_count else []
    for name in measured:
        highest = round(task["highest"][name] * _steps(task, name))
        parts.append(pl.col(name).fill_null(0).dp.sum((0, highest)).alias(name))
    query = _context(frame, task, key, measures=len(parts)).query()
    if task["enforce_limits"]:
        query = query.truncate_per_group(task["max_rows"], by=[key])
        query = query.truncate_num_groups(task["max_groups"], by=[key], keep="first")
    keys = pl.DataFrame({key: task["keys"][key]})
    measurement = query.group_by(key).agg(*parts).with_keys(keys).resolve()

    def release() -> list[list[float]]:
        rows = measurement(frame).collect().sort(key).to_dicts()
        return [[_value(column, row, task) for column in case["columns"]] for row in rows]

    return release


def _context(frame: pl.LazyFrame, task: dict[str, Any], key: str, *, measures: int) -> Any:
    return dp.Context.compositor(
        data=frame,
        privacy_unit=_unit(task, key),
        privacy_loss=_loss(task, measures),
        split_evenly_over=1,
        margins=[
            dp.polars.Margin(by=[], max_length=MOST_ROWS, max_groups=1),
            dp.polars.Margin(by=[key], max_length=MOST_ROWS, max_groups=len(task["keys"][key])),
        ],
    )


def _unit(task: dict[str, Any], key: str) -> Any:
    if task["enforce_limits"]:
        return dp.unit_of(contributions=1, identifier=task["unit"])
    rows, groups = task["max_rows"], task["max_groups"]
    return dp.unit_of(
        contributions=[
            dp.polars.Bound(by=[], per_group=rows * groups),
            dp.polars.Bound(by=[key], per_group=rows, num_groups=groups),
        ]
    )


def _loss(task: dict[str, Any], measures: int) -> Any:
    laplace = math.sqrt(2) * task["max_groups"] * measures / task["epsilon"]
    gaussian = math.sqrt(task["max_groups"] * measures / (2 * task["rho"]))
    return dp.loss_of(epsilon=task["epsilon"]) if laplace <= gaussian else dp.loss_of(rho=task["rho"])


def _value(column: dict[str, Any], row: dict[str, Any], task: dict[str, Any]) -> float:
    if column["aggregate"] == "COUNT":
        return float(row["rows"])
    total = row[column["of"]] / _steps(task, column["of"])
    return total if column["aggregate"] == "SUM" else total / max(row["rows"], 1)


def _steps(task: dict[str, Any], name: str) -> int:
    """Steps of the grid in 1."""
    return round(1 / task["grid"][name])


if __name__ == "__main__":
    run("opendp", open_peer)
