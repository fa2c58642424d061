"""The table that all engines read: some 180,000 rows of 55,000 people, made the same way each time."""

from __future__ import annotations

from pathlib import Path

import duckdb

from benchmarks.accuracy.cases import CASES, HIGHEST_COST, MAX_GROUPS, MAX_ROWS, Case
from tests.federation.corpus_federation import fill

PEOPLE = 60_000


def write_table(file: Path) -> None:
    """Columns person_id, kind, hospital, age, cost, of rows that the limits leave whole.

    The corpus draws costs evenly, so that their mean is the middle of their range, which no cost in life does and
    where weir's averages err least. Here they are cubed: the mean is a quarter of the highest.
    """
    with duckdb.connect() as connection:
        fill(connection, PEOPLE)
        connection.execute(f"COPY ({_rows()}) TO '{file}' (FORMAT parquet)")


def _rows() -> str:
    def first(most: int, rank: str, order: str) -> str:
        return f"{rank}() OVER (PARTITION BY person_id{order}) <= {most}"

    return f"""
    WITH skewed AS (
        SELECT person_id, kind, hospital, age, round({HIGHEST_COST} * power(cost / {HIGHEST_COST}, 3), 2) AS cost
        FROM visits
    ), kinds AS (FROM skewed QUALIFY {first(MAX_GROUPS, "dense_rank", " ORDER BY kind")}
    ), hospitals AS (FROM kinds QUALIFY {first(MAX_GROUPS, "dense_rank", " ORDER BY hospital")}
    ), of_kind AS (FROM hospitals QUALIFY {first(MAX_ROWS, "row_number", ", kind ORDER BY hospital, cost")}
    )
    FROM of_kind QUALIFY {first(MAX_ROWS, "row_number", ", hospital ORDER BY kind, cost")}
    ORDER BY person_id, kind, hospital, cost"""


def row_count(file: Path) -> int:
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT COUNT(*) FROM '{file}'").fetchone()
    assert found is not None
    return int(found[0])


def truth(file: Path) -> dict[str, list[list[float]]]:
    """By case, one list a key (in order of the keys) of the exact values of the columns."""
    with duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW visits AS FROM '{file}'")
        return {case.name: _exact(connection, case) for case in CASES}


def _exact(connection: duckdb.DuckDBPyConnection, case: Case) -> list[list[float]]:
    return [[float(value) for value in row[1:]] for row in connection.execute(case.sql).fetchall()]
