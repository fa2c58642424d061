"""OpenDP's Context over Polars. Runs in its own environment: `python opendp_polars.py TASK ANSWERS`.

Limits: `Bound(by=[key], per_group=2, num_groups=3)`, the same as ours; the rows are within them, so nothing is
truncated. Keys are given (`with_keys`). Costs are whole hundredths, because its noise on floating-point sums takes
seconds a cell. An average beside others is the quotient of its sum and count; budgets are split evenly, as it does by
itself. Mechanism: of Laplace (ε) and Gaussian (ρ) the one with less noise for so many measures: Laplace in all.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import opendp.prelude as dp
import polars as pl
from harness import Prepare, run

CENTS = 100
MOST_ROWS = 1_000_000  # in one group, public


def open_peer(task: dict[str, Any]) -> Prepare:
    warnings.simplefilter("ignore")  # of defaults that will change; we name ours
    dp.enable_features("contrib")
    frame = pl.read_parquet(task["table"]).with_columns(
        (pl.col("cost") * CENTS).round().cast(pl.Int64), pl.col("age").cast(pl.Int64)
    )

    def prepare(case: dict[str, Any]) -> Callable[[], list[list[float]]]:
        key, measured = case["key"], sorted({c["of"] for c in case["columns"] if c["aggregate"] != "COUNT"})
        needs_count = any(column["aggregate"] != "SUM" for column in case["columns"])
        highest = {"cost": task["highest"]["cost"] * CENTS, "age": task["highest"]["age"]}
        parts = [dp.len(signed=True).alias("rows")] if needs_count else []
        parts += [pl.col(name).fill_null(0).dp.sum((0, highest[name])).alias(name) for name in measured]
        context = _context(frame.lazy(), task, key, measures=len(parts))
        keys = pl.DataFrame({key: task["keys"][key]})
        measurement = context.query().group_by(key).agg(*parts).with_keys(keys).resolve()

        def release() -> list[list[float]]:
            rows = measurement(frame.lazy()).collect().sort(key).to_dicts()
            return [[_value(column, row) for column in case["columns"]] for row in rows]

        return release

    return prepare


def _context(frame: pl.LazyFrame, task: dict[str, Any], key: str, *, measures: int) -> Any:
    rows, groups = task["max_rows"], task["max_groups"]
    return dp.Context.compositor(
        data=frame,
        privacy_unit=dp.unit_of(
            contributions=[
                dp.polars.Bound(by=[], per_group=rows * groups),
                dp.polars.Bound(by=[key], per_group=rows, num_groups=groups),
            ]
        ),
        privacy_loss=_loss(task, measures),
        split_evenly_over=1,
        margins=[
            dp.polars.Margin(by=[], max_length=MOST_ROWS, max_groups=1),
            dp.polars.Margin(by=[key], max_length=MOST_ROWS, max_groups=len(task["keys"][key])),
        ],
    )


def _loss(task: dict[str, Any], measures: int) -> Any:
    laplace = math.sqrt(2) * task["max_groups"] * measures / task["epsilon"]
    gaussian = math.sqrt(task["max_groups"] * measures / (2 * task["rho"]))
    return dp.loss_of(epsilon=task["epsilon"]) if laplace <= gaussian else dp.loss_of(rho=task["rho"])


def _value(column: dict[str, Any], row: dict[str, Any]) -> float:
    if column["aggregate"] == "COUNT":
        return float(row["rows"])
    total = row[column["of"]] / (CENTS if column["of"] == "cost" else 1)
    return total if column["aggregate"] == "SUM" else total / max(row["rows"], 1)


if __name__ == "__main__":
    run("opendp", open_peer)
