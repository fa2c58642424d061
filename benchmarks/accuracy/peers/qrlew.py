"""pyqrlew, its SQL run on DuckDB. Runs in its own environment: `python qrlew.py TASK ANSWERS`.

Limits: it clips the L2 norm of what one person adds to all groups; `max_multiplicity` is set to what 2 rows in each of
3 groups come to, 2 √3, the least that our limits allow, and `max_privacy_unit_groups` to 3. The number of rows in the
table is public to it. Keys have `possible_values`, so none is dropped. Budget: (ε, δ) of the whole query, of which it
makes Gaussian noise by the classical formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import duckdb
import sqlalchemy
from harness import Prepare, run
from pyqrlew import Dialect
from pyqrlew.wrappers import Dataset, dataset_from_database


def open_peer(task: dict[str, Any]) -> Prepare:
    dataset, connection = _dataset(task), duckdb.connect()
    connection.execute(f"CREATE TABLE visits AS FROM '{task['table']}'")

    def prepare(case: dict[str, Any]) -> Callable[[], list[list[float]]]:
        private = dataset.relation(case["sql"].split(" ORDER BY ")[0], Dialect.PostgreSql)
        rewritten = private.rewrite_with_differential_privacy(
            dataset,
            [("visits", [], "person_id")],
            {"epsilon": task["epsilon"], "delta": task["delta"]},
            max_multiplicity=task["max_rows"] * math.sqrt(task["max_groups"]),
            max_multiplicity_share=1.0,
            max_privacy_unit_groups=task["max_groups"],
        )
        sql = rewritten.relation().to_query()

        def release() -> list[list[float]]:
            rows = sorted(connection.execute(sql).fetchall())
            return [[float(value) for value in row[1:]] for row in rows]

        return release

    return prepare


def _dataset(task: dict[str, Any]) -> Dataset:
    """The table's schema; qrlew counts the rows for its size, so as many empty ones stand for them."""
    engine, metadata = sqlalchemy.create_engine("sqlite://"), sqlalchemy.MetaData()
    types = {"person_id": sqlalchemy.BigInteger, "age": sqlalchemy.Integer, "cost": sqlalchemy.Float}
    names = ["person_id", *task["keys"], "age", "cost"]
    columns = [sqlalchemy.Column(name, types.get(name, sqlalchemy.String)) for name in names]
    table = sqlalchemy.Table("visits", metadata, *columns)
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(table.insert(), [{"person_id": number} for number in range(task["rows"])])
    dataset = dataset_from_database("bench", engine)
    for name, highest in task["highest"].items():
        dataset = dataset.with_range(None, "visits", name, 0, highest)
    for key, values in task["keys"].items():
        dataset = dataset.with_possible_values(None, "visits", key, values)
    return dataset


if __name__ == "__main__":
    run("pyqrlew", open_peer)
