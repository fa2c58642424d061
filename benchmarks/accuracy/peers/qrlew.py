"""pyqrlew, its SQL run on DuckDB. Runs in its own environment: `python qrlew.py TASK [ANSWERS]`.

Limits: it clips the L2 norm of what one person adds to all groups; `max_multiplicity` is set to what 2 rows in each of
3 groups come to, 2 √3, the least that our limits allow, and `max_privacy_unit_groups` to 3. The number of rows in the
table is public to it. Keys have `possible_values`, so none is dropped. Budget: (ε, δ) of the whole query, of which it
makes Gaussian noise by the classical formula. DuckDB has the rows in memory.
"""

from __future__ import annotations

import math
from typing import Any

import duckdb
import sqlalchemy
from harness import Prepare, Query, run
from pyqrlew import Dialect
from pyqrlew.wrappers import Dataset, dataset_from_database


def open_peer(task: dict[str, Any]) -> Prepare:
    dataset, connection = _dataset(task), duckdb.connect()
    connection.execute(f"CREATE TABLE {task['name']} AS FROM '{task['table']}'")

    def answered(sql: str) -> list[list[float]]:
        rows = sorted(connection.execute(sql).fetchall())
        return [[float(value) for value in row[1:]] for row in rows]

    def prepare(case: dict[str, Any]) -> Query:
        sql = _rewritten(dataset, task, case)
        return Query(whole=lambda: answered(_rewritten(dataset, task, case)), again=lambda: answered(sql))

    return prepare


def _rewritten(dataset: Dataset, task: dict[str, Any], case: dict[str, Any]) -> str:
    private = dataset.relation(case["sql"].split(" ORDER BY ")[0], Dialect.PostgreSql)
    rewritten = private.rewrite_with_differential_privacy(
        dataset,
        [(task["name"], [], task["unit"])],
        {"epsilon": task["epsilon"], "delta": task["delta"]},
        max_multiplicity=task["max_rows"] * math.sqrt(task["max_groups"]),
        max_multiplicity_share=1.0,
        max_privacy_unit_groups=task["max_groups"],
    )
    return rewritten.relation().to_query()


def _dataset(task: dict[str, Any]) -> Dataset:
    """The table's schema; qrlew counts the rows for its size, so as many empty ones stand for them."""
    engine, metadata = sqlalchemy.create_engine("sqlite://"), sqlalchemy.MetaData()
    types = {name: sqlalchemy.Integer if grid == 1 else sqlalchemy.Float for name, grid in task["grid"].items()}
    types[task["unit"]] = sqlalchemy.BigInteger
    names = [task["unit"], *task["keys"], *task["grid"]]
    columns = [sqlalchemy.Column(name, types.get(name, sqlalchemy.String)) for name in names]
    sqlalchemy.Table(task["name"], metadata, *columns)
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO {task['name']} ({task['unit']}) WITH RECURSIVE numbers (i) AS "
            f"(SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {task['rows']}) SELECT i FROM numbers"
        )
    dataset = dataset_from_database("bench", engine)
    for name, highest in task["highest"].items():
        dataset = dataset.with_range(None, task["name"], name, 0, highest)
    for key, values in task["keys"].items():
        dataset = dataset.with_possible_values(None, task["name"], key, values)
    return dataset


if __name__ == "__main__":
    run("pyqrlew", open_peer)
