"""smartnoise-sql. Runs in its own environment: `python smartnoise.py TASK [ANSWERS]`.

Engine: SQLite with the rows in memory, which is what its reader of data frames makes of them for each frame.
Limits: `max_ids` rows a person in all (it knows no limit by group); at 2 rows in each of 3 groups that is 6. Its noise
is for 6 rows, as ours is. `row_privacy` and `censor_dims` are off; keys are those of the table. For further releases
the exact sums are computed once and handed in (`pre_aggregated`), as its API provides; that is exact where nobody has
more rows than the limit. Budget: `Privacy.epsilon` is for each sum it releases; it is set such that `get_privacy_cost`
says the whole is ε. COUNT is written COUNT(cost) beside measures of cost (no cost is NULL), because then it releases
one count for both.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import pandas as pd
from harness import Prepare, Query, run
from snsql import Privacy, from_connection


def open_peer(task: dict[str, Any]) -> Prepare:
    frame, metadata = pd.read_csv(task["table"].replace(".parquet", ".csv")), _metadata(task)
    connection = sqlite3.connect(":memory:")
    frame.to_sql(task["name"], connection, index=False)

    def reader(epsilon: float) -> Any:
        privacy = Privacy(epsilon=epsilon, delta=task["delta"])
        return from_connection(connection, metadata=metadata, privacy=privacy, engine="sqlite")

    def prepare(case: dict[str, Any]) -> Query:
        sql = _sql(case, task["name"])
        parts = round(reader(1.0).get_privacy_cost(sql)[0])
        peer = reader(task["epsilon"] / parts)
        exact: list[Any] = []

        def whole() -> list[list[float]]:
            return _values(reader(task["epsilon"] / parts).execute(sql))

        def again() -> list[list[float]]:
            if not exact:
                exact.append(peer.reader._execute_ast(peer._rewrite(sql)[0]))
            return _values(peer.execute(sql, pre_aggregated=exact[0]))

        return Query(whole, again)

    return prepare


def _values(answer: list[Any]) -> list[list[float]]:
    return [[float(value) for value in row[1:]] for row in sorted(answer[1:])]


def _sql(case: dict[str, Any], table: str) -> str:
    measured = next((column["of"] for column in case["columns"] if column["of"]), None)
    shown = ", ".join(f"{c['aggregate']}({c['of'] or measured or '*'}) AS {c['name']}" for c in case["columns"])
    return f"SELECT {case['key']}, {shown} FROM {table} GROUP BY {case['key']}"


def _metadata(task: dict[str, Any]) -> dict[str, Any]:
    table = {
        "row_privacy": False,
        "max_ids": task["max_rows"] * task["max_groups"],
        "sample_max_ids": True,
        "censor_dims": False,
        "clamp_counts": False,
        "clamp_columns": True,
        task["unit"]: {"name": task["unit"], "type": "int", "private_id": True},
        **{key: {"type": "string"} for key in task["keys"]},
    }
    for name, highest in task["highest"].items():
        number = int if task["grid"][name] == 1 else float
        table[name] = {"type": number.__name__, "lower": number(0), "upper": number(highest)}
    return {"": {"": {task["name"]: table}}}


if __name__ == "__main__":
    run("smartnoise-sql", open_peer)
