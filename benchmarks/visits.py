"""One aggregate over generated visits: four real nodes against plain DuckDB over the same files, in turn.

    python -m benchmarks.visits --visits 100000000

Both sides have the machine's cores. Peak memory is that of all daemons together, sampled while they answer.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

import weir
from benchmarks import machine
from benchmarks.report import Figure, Section, publish
from benchmarks.samples import in_turn, samples, timed
from weir.demo_data import generate
from weir.demo_data.federation_files import LOCAL_NAMES

BUILD = Path(__file__).parents[1] / "build" / "benchmarks"
EPSILON = 0.1
SAMPLED_EVERY_S = 0.02
QUERIES = {
    "bounded per person": "SELECT kind, COUNT(*) AS n, AVG(cost) AS mean FROM visits GROUP BY kind",
    "and in some groups only": "SELECT hospital, COUNT(*) AS n, AVG(cost) AS mean FROM visits GROUP BY hospital",
    "one row a person": "SELECT sex, COUNT(*) AS n, AVG(birth_year) AS mean FROM residents GROUP BY sex",
}


def measure(*, visits: int, rounds: int, build: Path = BUILD) -> Section:
    """Times of both sides and their ratios, start-up of the nodes, memory.

    Args:
        build: where the data lie between runs; they are made where they are missing.
    """
    before = machine.load()
    data = build / f"visits-{visits}"
    figures = list(_generated(data, visits))
    with TemporaryDirectory() as folder, _plain(data) as plain:
        federation = Path(folder)
        _borrow(data, federation)
        started: list[weir.Connection] = []
        start_s = timed(lambda: started.append(weir.up(federation, start_timeout_s=900)))
        figures.append(Figure("start-up of 4 nodes side by side, with verification of their data", "s", start_s))
        with started[0] as con, _peak_memory(con) as peak:
            figures += _compared(con, plain, rounds)
    figures.append(Figure("peak memory of all daemons together", "GiB", max(peak) / 2**30))
    title = f"visits: {visits:,} over 4 nodes against plain DuckDB"
    return Section(f"visits-{visits}", title, tuple(figures), (before, machine.load()))


def _generated(data: Path, visits: int) -> Iterator[Figure]:
    if (data / "catalog.toml").exists():  # written last
        return
    shutil.rmtree(data, ignore_errors=True)
    seconds = timed(lambda: generate(data, visits=visits))
    yield Figure("generation of the data", "visits/s", visits / seconds)


def _borrow(data: Path, federation: Path) -> None:
    """The same federation with ledgers of its own, so that every run has the whole budget and no answer is known."""
    for name in ("catalog.toml", "coordinator.toml", "nodes"):
        copy = shutil.copytree if (data / name).is_dir() else shutil.copy
        copy(data / name, federation / name)
    (federation / "data").symlink_to((data / "data").resolve(), target_is_directory=True)


@contextmanager
def _plain(data: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Plain DuckDB over the files of all provinces, under the names of the standard."""
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"SET threads = {machine.cores()}")
        for table in ("visits", "residents"):
            parts = (_province(data, province, table) for province in LOCAL_NAMES)
            connection.execute(f"CREATE VIEW {table} AS {' UNION ALL BY NAME '.join(parts)}")
        yield connection


def _province(data: Path, province: str, table: str) -> str:
    names = LOCAL_NAMES[province] if table == "visits" else {}
    renamed = ", ".join(f"{local} AS {standard}" for standard, local in names.items())
    return f"SELECT *{f' RENAME ({renamed})' if renamed else ''} FROM '{data / 'data' / province / table}-*.parquet'"


def _compared(con: weir.Connection, plain: duckdb.DuckDBPyConnection, rounds: int) -> Iterator[Figure]:
    assert con.federation is not None
    processes = list(con.federation.process_ids.values())
    fresh = itertools.count(1)  # another ε each time: a repeat would come from the ledger
    for name, sql in QUERIES.items():
        ours, theirs = partial(_by_weir, con, sql, fresh), partial(_by_duckdb, plain, sql)
        processor: dict[str, list[float]] = {"ours": [], "theirs": []}
        sides = {
            "theirs": partial(_noting, theirs, time.process_time, processor["theirs"]),
            "ours": partial(_noting, ours, partial(machine.processor_s, processes), processor["ours"]),
        }
        taken = in_turn(sides, rounds=rounds)
        worked = samples({side: seconds[-rounds:] for side, seconds in processor.items()})  # without the warm-up
        yield Figure(f"{name}: plain DuckDB", "s", taken["theirs"])
        yield Figure(f"{name}: four nodes", "s", taken["ours"])
        yield Figure(f"{name}: ratio of time", "×", taken["ours"].over(taken["theirs"]))
        yield Figure(f"{name}: ratio of processor time", "×", worked["ours"].over(worked["theirs"]))


def _by_weir(con: weir.Connection, sql: str, fresh: Iterator[int]) -> None:
    con.sql(sql, epsilon=EPSILON + next(fresh) * 1e-6)


def _by_duckdb(plain: duckdb.DuckDBPyConnection, sql: str) -> None:
    plain.sql(sql).fetchall()


def _noting(work: Callable[[], None], processor_s: Callable[[], float], spent: list[float]) -> None:
    """Do `work` and note the processor time that it took, which a busy machine changes less than the clock's."""
    before = processor_s()
    work()
    spent.append(processor_s() - before)


@contextmanager
def _peak_memory(con: weir.Connection) -> Iterator[list[int]]:
    """Bytes of all daemons together, the greatest so far last."""
    assert con.federation is not None
    processes, done, peak = list(con.federation.process_ids.values()), threading.Event(), [0]

    def watch() -> None:
        while not done.wait(SAMPLED_EVERY_S):
            peak.append(max(peak.pop(), machine.resident_bytes(processes)))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def main() -> None:
    """Measure one size, print it, and write it beside the other results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.visits", description=__doc__)
    parser.add_argument("--visits", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    publish(measure(visits=given.visits, rounds=given.rounds))


if __name__ == "__main__":
    main()
