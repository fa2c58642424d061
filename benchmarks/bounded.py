"""Bounded queries end to end, over a prepared snapshot and over the files, against plain DuckDB and the textbook's SQL.

    python -m benchmarks.bounded --rows 20000000

One province. In `visits` a person has ten rows and several keys, and may count in three of them; in `people` each has
one row. All sides have the machine's cores and read the same rows.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

import weir
from benchmarks import machine
from benchmarks.report import Figure, Section, publish
from benchmarks.samples import in_turn, timed
from node.serve import prepare_snapshot
from weir.cli.steps import step_bar

BUILD = Path(__file__).parents[1] / "build" / "benchmarks"
ROWS_PER_PERSON, KEYS, MAX_ROWS, MAX_GROUPS, EPSILON = 10, 20, 8, 3, 0.1
CODES = ", ".join(f'"k{number}"' for number in range(KEYS))

CATALOG = f"""
[region]
name = "Bounded"
version = "1"
description = {{ en = "One province", zh = "一省" }}
provinces = ["east"]

[tables.visits]
access = "private"
description = {{ en = "Visits", zh = "就诊" }}
unit = "person"
unit_column = "person_id"
span = 1
max_rows = {MAX_ROWS}
max_groups = {MAX_GROUPS}

[tables.visits.columns]
person_id = {{ type = "BIGINT", description = {{ en = "Person", zh = "人员" }} }}
kind = {{ type = "VARCHAR", values = [{CODES}], description = {{ en = "Kind", zh = "类别" }} }}
sex = {{ type = "VARCHAR", values = ["F", "M"], fixed_per_unit = true, description = {{ en = "Sex", zh = "性别" }} }}
cost = {{ type = "DOUBLE", bounds = [0, 1000], grid = 0.01, description = {{ en = "Cost", zh = "费用" }} }}
day = {{ type = "DATE", range = [2023-01-01, 2024-12-31], description = {{ en = "Day", zh = "日期" }} }}

[tables.people]
access = "private"
description = {{ en = "People", zh = "人员" }}
unit = "person"
unit_column = "person_id"
span = 1
rows_per_unit = 1

[tables.people.columns]
person_id = {{ type = "BIGINT", description = {{ en = "Person", zh = "人员" }} }}
sex = {{ type = "VARCHAR", values = ["F", "M"], description = {{ en = "Sex", zh = "性别" }} }}
birth_year = {{ type = "INTEGER", bounds = [1930, 2019], description = {{ en = "Year of birth", zh = "出生年份" }} }}
"""

NODE = """
province = "east"
catalog = "../catalog.toml"
listen = "127.0.0.1:0"
ledger = "../state/east.ledger"

[engine]
memory_limit = "4GB"
threads = {cores}
large_tables = {large}

[budget]
epsilon_total = 1e6
epsilon_per_query = 2.0

[tables.visits]
files = ["../data/visits.parquet"]

[tables.people]
files = ["../data/people.parquet"]
"""

SNAPSHOTS = """
[snapshots]
folder = "../state/snapshots"

[snapshots.sums.visits]
keys = [["kind"]]
"""


COORDINATOR = """
catalog = "catalog.toml"
listen = "127.0.0.1:0"
deadline_s = 600

[nodes]
east = "127.0.0.1:1"
"""


@dataclass(frozen=True)
class Query:
    """What weir is asked, and the same without any protection."""

    name: str
    sql: str


QUERIES = (
    Query("at most 3 keys", "SELECT kind, COUNT(*) AS n, AVG(cost) AS mean FROM visits GROUP BY kind"),
    Query(
        "where on the key", "SELECT kind, COUNT(*) AS n, AVG(cost) AS mean FROM visits WHERE kind <> 'k3' GROUP BY kind"
    ),
    Query("where fixed", "SELECT kind, COUNT(*) AS n, AVG(cost) AS mean FROM visits WHERE sex = 'F' GROUP BY kind"),
    Query("fixed key", "SELECT sex, COUNT(*) AS n, AVG(cost) AS mean FROM visits GROUP BY sex"),
    Query("one row a person", "SELECT sex, COUNT(*) AS n, AVG(birth_year) AS mean FROM people GROUP BY sex"),
    Query("where on rows", "SELECT kind, COUNT(*) AS n, AVG(cost) AS mean FROM visits WHERE cost > 900 GROUP BY kind"),
)
# The textbook's form of the first query: sums of each person and key, then a window that chooses three keys.
TEXTBOOK = f"""
SELECT kind, SUM(LEAST(n, {MAX_ROWS})), SUM(CASE WHEN n > {MAX_ROWS} THEN s * {MAX_ROWS} // n ELSE s END) FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY HASH(person_id, kind, '5ec2e7'), kind) AS place FROM (
        SELECT person_id, kind, COUNT(*) AS n, SUM(CAST(ROUND(cost * 100) AS BIGINT) - 50000) AS s
        FROM visits GROUP BY person_id, kind)
) WHERE place <= {MAX_GROUPS} GROUP BY kind
"""


def measure(*, rows: int, rounds: int, build: Path = BUILD) -> Section:
    """Times of preparing, of each query over all sides, and their ratios to plain DuckDB.

    Args:
        build: where the data lie between runs; they are made where they are missing.
    """
    before = machine.load()
    data = build / f"bounded-{rows}"
    generate(data, rows)
    with TemporaryDirectory() as folder, ExitStack() as held:
        prepared, live = (Path(folder) / name for name in ("prepared", "live"))
        # Without sums, looking for persons with many rows pays where most have few: here all of them have many.
        _federation(prepared, data, NODE.format(cores=machine.cores(), large="true") + SNAPSHOTS)
        _federation(live, data, NODE.format(cores=machine.cores(), large="false"))
        with step_bar() as on_step:
            seconds = timed(partial(prepare_snapshot, prepared / "nodes" / "east.toml", on_step=on_step))
        figures = [Figure("preparing the snapshot, a visit", "µs", seconds / rows * 1e6)]
        size = sum(file.stat().st_size for file in (prepared / "state" / "snapshots").glob("*.duckdb"))
        source = sum(file.stat().st_size for file in data.glob("*.parquet"))
        figures.append(Figure("size of the snapshot: of that of the files", "×", size / source))
        sides = {
            name: held.enter_context(weir.up(folder, start_timeout_s=900))
            for name, folder in (("prepared", prepared), ("live", live))
        }
        plain = held.enter_context(_plain(data))
        figures += [figure for query in QUERIES for figure in _compared(query, sides, plain, rounds)]
        figures += _against_the_textbook(sides["live"], plain, rounds)
    return Section(
        f"bounded-{rows}",
        f"{rows:,} rows, at most {MAX_GROUPS} keys a person",
        tuple(figures),
        (before, machine.load()),
    )


def generate(data: Path, rows: int) -> None:
    """visits.parquet and people.parquet in `data`, where they are missing: so many rows each."""
    if (data / "people.parquet").exists():  # written last
        return
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    people = max(1, rows // ROWS_PER_PERSON)
    person = f"(hash(i * 4 + 1) % {people})::BIGINT"
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT {person} AS person_id, 'k' || (hash(i * 4 + 2) % {KEYS}) AS kind,"
            f" ['F', 'M'][1 + {person} % 2] AS sex, (hash(i * 4 + 3) % 100000) / 100 AS cost,"
            " DATE '2023-01-01' + (hash(i * 4) % 730)::INTEGER AS day"
            f" FROM range({rows}) t(i)) TO '{data / 'visits.parquet'}'"
        )
        connection.execute(
            "COPY (SELECT i AS person_id, ['F', 'M'][1 + i % 2] AS sex, (1930 + hash(i) % 90)::INTEGER AS birth_year"
            f" FROM range({rows}) t(i)) TO '{data / 'people.parquet'}'"
        )


def _federation(folder: Path, data: Path, node: str) -> None:
    (folder / "nodes").mkdir(parents=True)
    (folder / "data").symlink_to(data.resolve(), target_is_directory=True)
    (folder / "catalog.toml").write_text(CATALOG, encoding="utf-8")
    (folder / "nodes" / "east.toml").write_text(node)
    (folder / "coordinator.toml").write_text(COORDINATOR)


def _plain(data: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:")
    connection.execute(f"SET threads = {machine.cores()}")
    for table in ("visits", "people"):
        connection.execute(f"CREATE VIEW {table} AS FROM '{data / table}.parquet'")
    return connection


def _compared(
    query: Query, sides: dict[str, weir.Connection], plain: duckdb.DuckDBPyConnection, rounds: int
) -> Iterator[Figure]:
    cases: dict[str, Callable[[], None]] = {"plain DuckDB": partial(_by_duckdb, plain, query.sql)}
    fresh = itertools.count(1)  # another ε each time: a repeat would come from the ledger
    cases |= {name: partial(_by_weir, con, query.sql, fresh) for name, con in sides.items()}
    taken = in_turn(cases, rounds=rounds)
    for name in cases:
        yield Figure(f"{query.name}: {name}", "s", taken[name])
    for name in sides:
        yield Figure(f"{query.name}: {name} over plain", "×", taken[name].over(taken["plain DuckDB"]))


def _against_the_textbook(live: weir.Connection, plain: duckdb.DuckDBPyConnection, rounds: int) -> Iterator[Figure]:
    fresh = itertools.count(10**6)
    cases = {"textbook": partial(_by_duckdb, plain, TEXTBOOK), "live": partial(_by_weir, live, QUERIES[0].sql, fresh)}
    taken = in_turn(cases, rounds=max(1, rounds // 2))
    yield Figure("at most 3 keys: the textbook's SQL by hand", "s", taken["textbook"])
    yield Figure("at most 3 keys: live over the textbook", "×", taken["live"].over(taken["textbook"]))


def _by_weir(con: weir.Connection, sql: str, fresh: Iterator[int]) -> None:
    con.sql(sql, epsilon=EPSILON + next(fresh) * 1e-8)


def _by_duckdb(plain: duckdb.DuckDBPyConnection, sql: str) -> None:
    plain.sql(sql).fetchall()


def main() -> None:
    """Measure one size, print it, and write it beside the other results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bounded", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    publish(measure(rows=given.rows, rounds=given.rounds))


if __name__ == "__main__":
    main()
