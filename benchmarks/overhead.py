"""What coordinator, gRPC and four idle nodes cost beside a query that is cheap: the corpus federation on loopback.

The parts from outside are true stretches of one call, told by its progress events. The parts from inside are what one
node and the coordinator do for the same questions, in this process and alone.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

import weir
from benchmarks import machine
from benchmarks.insides import coordinator_parts, node_parts
from benchmarks.report import Figure, Section
from benchmarks.samples import Sample, samples, timed
from tests.federation.corpus_federation import PEOPLE, fill, write_federation
from weir.progress import NodeDone, Progress, Started

QUERIES = {
    "one row a person": "SELECT sex, COUNT(*) AS n FROM residents WHERE birth_year > -{n} GROUP BY sex",
    "bounded per person": "SELECT kind, COUNT(*) AS n, AVG(cost) AS c FROM visits WHERE cost > -{n} GROUP BY kind",
}
EPSILON = 0.5


def measure(*, rounds: int, people: int = PEOPLE) -> Section:
    """Whole calls and their parts.

    Args:
        rounds: of each kind of call.
        people: in the federation, over all four nodes.
    """
    before = machine.load()
    with TemporaryDirectory() as folder:
        federation = _federation(Path(folder) / "federation", people)
        with weir.up(federation) as con:
            outside = [*_calls(con, rounds), *_processor(con, rounds), *_floor(con, rounds)]
        inside = [
            *coordinator_parts(federation, QUERIES, EPSILON, rounds),
            *node_parts(federation, QUERIES, EPSILON, rounds),
        ]
    title = f"overhead: cheap queries, {people:,} people, 4 nodes"
    return Section("overhead", title, (*outside, *inside), (before, machine.load()))


def _federation(folder: Path, people: int) -> Path:
    with duckdb.connect() as connection:
        fill(connection, people)
        return write_federation(folder, connection, epsilon_total=1e9, epsilon_per_query=1e7)


def _calls(con: weir.Connection, rounds: int) -> Iterator[Figure]:
    """Each kind of call in turn: a constant that no question had before makes it a fresh release to plan anew.

    With another ε it is a fresh release too, of a question that all have read before.
    """
    fresh = itertools.count(1)
    taken: dict[str, list[float]] = {}
    for number in range(rounds + 2):
        for name, sql in QUERIES.items():
            cold, watched, known = (sql.format(n=next(fresh)) for _ in range(3))
            con.explain(known, epsilon=EPSILON)
            times = {
                f"{name}: fresh": _asked(con, cold),
                **{f"{name}: {part}": seconds for part, seconds in _stretches(con, watched).items()},
                f"{name}: explained before": _asked(con, known),
                f"{name}: with another ε": _asked(con, cold, epsilon=EPSILON / 2),
                f"{name}: free repeat": _asked(con, cold),
            }
            if number >= 2:  # connections, caches and imports are warm by then
                for part, seconds in times.items():
                    taken.setdefault(part, []).append(seconds)
    yield from (Figure(name, "ms", sample) for name, sample in samples(taken).items())


def _asked(con: weir.Connection, sql: str, *, epsilon: float = EPSILON) -> float:
    return timed(lambda: con.sql(sql, epsilon=epsilon))


def _stretches(con: weir.Connection, sql: str) -> dict[str, float]:
    """A fresh release, and the stretches of its time: until all nodes were ready, had released, and the answer."""
    marks: dict[str, float] = {}

    def note(progress: Progress) -> None:
        if isinstance(progress, Started):
            marks["started"] = time.perf_counter()
        elif isinstance(progress, NodeDone):
            marks["released"] = time.perf_counter()

    start = time.perf_counter()
    con.sql(sql, epsilon=EPSILON, on_progress=note)
    end = time.perf_counter()
    return {
        "fresh, with progress": end - start,
        "  client, plan, Prepare at 4 nodes": marks["started"] - start,
        "  Release at 4 nodes": marks["released"] - marks["started"],
        "  merge, rest, error bars, client": end - marks["released"],
    }


def _processor(con: weir.Connection, rounds: int) -> Iterator[Figure]:
    """Processor time of each kind of call, on average: what its time is on a machine with one free core."""
    assert con.federation is not None
    daemons = con.federation.process_ids
    nodes = [number for name, number in daemons.items() if name != "coordinator"]
    groups = {"the client": [os.getpid()], "the coordinator": [daemons["coordinator"]], "each of 4 nodes": nodes}
    for start, (name, sql) in enumerate(QUERIES.items(), start=1):
        asked = [sql.format(n=start * 1_000_000 + number) for number in range(rounds)]
        kinds = {
            "fresh": [(text, EPSILON) for text in asked],
            "with another ε": [(asked[0], EPSILON * (1 + (number + 1) / 1e3)) for number in range(rounds)],
            "free repeat": [(asked[0], EPSILON)] * rounds,
        }
        for kind, calls in kinds.items():
            before = {group: machine.processor_s(numbers) for group, numbers in groups.items()}
            for text, epsilon in calls:
                con.sql(text, epsilon=epsilon)
            for group, numbers in groups.items():
                spent_s = (machine.processor_s(numbers) - before[group]) / rounds / len(numbers)
                yield Figure(f"{name}: {kind}, processor time of {group}", "ms", spent_s * 1e3)


def _floor(con: weir.Connection, rounds: int) -> Iterator[Figure]:
    """What a call costs that does nothing."""
    taken = [timed(con.budget) for _ in range(rounds + 2)][2:]
    yield Figure("gRPC alone: client → coordinator → 4 nodes → back (budgets)", "ms", Sample(tuple(taken)))
