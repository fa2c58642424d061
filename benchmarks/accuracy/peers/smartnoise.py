"""smartnoise-sql. Runs in its own environment: `python smartnoise.py TASK ANSWERS`.

Limits: `max_ids` rows a person in all (it knows no limit by group); at 2 rows in each of 3 groups that is 6. Its noise
is for 6 rows, as ours is. `row_privacy` and `censor_dims` are off; keys are those of the table. No row is dropped:
nobody has more than 6, so the exact sums are computed once and handed in (`pre_aggregated`), as its API provides.
Budget: `Privacy.epsilon` is for each sum it releases; it is set such that `get_privacy_cost` says the whole is ε. COUNT
is written COUNT(cost) beside measures of cost (no cost is NULL), because then it releases one count for both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from harness import Prepare, run
from snsql import Privacy, from_df


def open_peer(task: dict[str, Any]) -> Prepare:
    frame, metadata = pd.read_csv(task["table"].replace(".parquet", ".csv")), _metadata(task)

    def reader(epsilon: float) -> Any:
        return from_df(frame, metadata=metadata, privacy=Privacy(epsilon=epsilon, delta=task["delta"]))

    def prepare(case: dict[str, Any]) -> Callable[[], list[list[float]]]:
        sql = _sql(case)
        parts = round(reader(1.0).get_privacy_cost(sql)[0])
        peer = reader(task["epsilon"] / parts)
        subquery, _ = peer._rewrite(sql)
        exact = peer.reader._execute_ast(subquery)

        def release() -> list[list[float]]:
            rows = peer.execute(sql, pre_aggregated=exact)[1:]
            return [[float(value) for value in row[1:]] for row in sorted(rows)]

        return release

    return prepare


def _sql(case: dict[str, Any]) -> str:
    measured = next((column["of"] for column in case["columns"] if column["of"]), None)
    shown = ", ".join(f"{c['aggregate']}({c['of'] or measured or '*'}) AS {c['name']}" for c in case["columns"])
    return f"SELECT {case['key']}, {shown} FROM bench.visits GROUP BY {case['key']}"


def _metadata(task: dict[str, Any]) -> dict[str, Any]:
    visits = {
        "row_privacy": False,
        "max_ids": task["max_rows"] * task["max_groups"],
        "sample_max_ids": True,
        "censor_dims": False,
        "clamp_counts": False,
        "clamp_columns": True,
        "person_id": {"name": "person_id", "type": "int", "private_id": True},
        "age": {"type": "int", "lower": 0, "upper": task["highest"]["age"]},
        "cost": {"type": "float", "lower": 0.0, "upper": float(task["highest"]["cost"])},
        **{key: {"type": "string"} for key in task["keys"]},
    }
    return {"": {"bench": {"visits": visits}}}


if __name__ == "__main__":
    run("smartnoise-sql", open_peer)
