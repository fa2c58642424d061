"""All sides over all tables: times and processor times in turn, and how far the answers are from the truth."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

import weir
from benchmarks import machine
from benchmarks.accuracy.cases import Subject
from benchmarks.accuracy.environments import PEERS
from benchmarks.accuracy.errors import Estimate, rmse
from benchmarks.accuracy.task import Releases, task
from benchmarks.insides import coordinator_parts, node_parts
from benchmarks.peers.federation import write_federation
from benchmarks.peers.sides import Peer, Plain, Reply, Side, SideError, Weir, peer_side
from benchmarks.peers.tables import TABLES, PeerTable
from benchmarks.report import Figure
from benchmarks.samples import Sample

BUILD = Path(__file__).parents[2] / "build" / "peers"
PLAIN, PREPARED, LIVE, ENFORCED = "plain DuckDB", "weir, prepared", "weir, live files", "limits enforced"
SECONDS_OF_ERRORS, MOST_ANSWERS = 4.0, 60


@dataclass
class Taken:
    """What one side did; lists are by round.

    Attributes:
        values: of all answers, timed or not, within the limits; of the timed ones alone beyond them.
        failure: why there are no more.
    """

    engine: str
    seconds: list[float] = field(default_factory=list)
    processor_s: list[dict[str, float]] = field(default_factory=list)
    values: list[list[list[float]]] = field(default_factory=list)
    failure: str | None = None

    def note(self, reply: Reply) -> None:
        self.seconds.append(reply.seconds)
        self.processor_s.append(reply.processor_s)
        self.values.append(reply.values)

    @property
    def time(self) -> Sample:
        return Sample(tuple(self.seconds))

    @property
    def processor_time(self) -> Sample:
        return Sample(tuple(sum(spent.values()) for spent in self.processor_s))


@dataclass(frozen=True)
class OfTable:
    """One table: what each side did, and each side's error by column; None where there is no answer."""

    table: PeerTable
    rows: int
    taken: dict[str, Taken]
    errors: dict[str, list[Estimate] | None]


@dataclass(frozen=True)
class Comparison:
    """What was measured.

    Attributes:
        inside: parts of weir's time over the first table's prepared snapshot.
        load: the machine's load averages before and after.
    """

    title: str
    tables: tuple[OfTable, ...]
    inside: tuple[Figure, ...]
    load: tuple[float, float]


def measure(
    *,
    rows: int,
    rounds: int,
    peers: Sequence[str] = PEERS,
    tables: Sequence[PeerTable] = TABLES,
    seconds_of_errors: float = SECONDS_OF_ERRORS,
    build: Path = BUILD,
) -> Comparison:
    """Install `peers` where need be, and ask all sides in turn.

    Args:
        seconds_of_errors: that a side may take, after the rounds, for further answers that only its error is taken of.
        build: where the tables lie between runs; they are made where they are missing.
    """
    before = machine.load()
    with TemporaryDirectory() as folder:
        found = [_of_table(table, Path(folder), rows, rounds, peers, seconds_of_errors, build) for table in tables]
        inside = tuple(_inside(Path(folder) / tables[0].title / "prepared", tables[0], rounds))
    title = f"some {rows:,} rows each: COUNT, SUM, AVG by a public key, one node"
    return Comparison(title, tuple(found), inside, (before, machine.load()))


def _of_table(
    table: PeerTable, folder: Path, rows: int, rounds: int, peers: Sequence[str], seconds_of_errors: float, build: Path
) -> OfTable:
    file = table.made(build, rows)
    taken: dict[str, Taken] = {}
    with ExitStack() as held:
        plain = Plain(held.enter_context(_duckdb(table.subject, file)), table.case.sql)
        sides: dict[str, Side] = {PLAIN: plain}
        for name in (PREPARED, LIVE):
            place = folder / table.title / name.split()[1]
            write_federation(place, table.subject, file, prepared=name == PREPARED)
            sides[name] = Weir(held.enter_context(weir.up(place, start_timeout_s=900)), table.case.sql)
        count = plain.connection.execute(f"SELECT COUNT(*) FROM {table.subject.name}").fetchall()[0][0]
        for name, side in _peers(table, file, count, peers, held):
            if isinstance(side, str):
                taken[name] = Taken(name, failure=side)
            else:
                sides[name] = side
        taken = {name: Taken(side.engine) for name, side in sides.items()} | taken
        for number in range(1 + rounds):  # the first is to warm up
            for name, side in sides.items():
                _ask(side, taken[name], warm=number > 0)
        truth = plain.whole().values
        if not table.enforced:
            for name in sides.keys() - {PLAIN, LIVE}:  # the live side plans the same noise as the prepared one
                _further(sides[name], taken[name], seconds_of_errors)
    errors = {name: _errors(found, truth) for name, found in taken.items() if name != PLAIN}
    return OfTable(table, count, taken, errors)


@contextmanager
def _duckdb(subject: Subject, file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {machine.cores()}")
        connection.execute(f"CREATE VIEW {subject.name} AS FROM '{file}'")
        yield connection


def _peers(
    table: PeerTable, file: Path, rows: int, peers: Sequence[str], held: ExitStack
) -> Iterator[tuple[str, Peer | str]]:
    """Each peer, or why it cannot answer. OpenDP takes limits as a fact; where rows go beyond, it is also asked to
    enforce them."""
    wanted = [(name, name, False) for name in peers]
    if table.enforced:
        wanted += [(f"{name}, {ENFORCED}", name, True) for name in peers if name == "opendp_polars"]
    for shown, name, enforce in wanted:
        asked = task(
            file,
            rows,
            repetitions=0,
            seconds_per_case=0,
            subject=table.subject,
            cases=[table.case],
            enforce_limits=enforce,
        )
        try:
            yield shown, held.enter_context(peer_side(name, asked))
        except SideError as fault:
            yield shown, str(fault)


def _ask(side: Side, taken: Taken, *, warm: bool) -> None:
    if taken.failure is not None:
        return
    try:
        reply = side.whole()
    except SideError as fault:
        taken.failure = str(fault)
        return
    if warm:
        taken.note(reply)


def _further(side: Side, taken: Taken, seconds: float) -> None:
    end = time.monotonic() + seconds
    while taken.failure is None and len(taken.values) < MOST_ANSWERS and time.monotonic() < end:
        try:
            taken.values.append(side.again().values)
        except SideError as fault:
            taken.failure = str(fault)


def _errors(taken: Taken, truth: Sequence[Sequence[float]]) -> list[Estimate] | None:
    return rmse(Releases(taken.values), truth) if len(taken.values) > 1 else None


def _inside(federation: Path, table: PeerTable, rounds: int) -> Iterator[Figure]:
    """Where weir's time goes: the same question with a condition on the key that all rows meet, another each time."""
    (key,) = table.subject.keys
    sql = table.case.sql.replace(" GROUP BY", f" WHERE {key} <> 'none {{n}}' GROUP BY")
    for parts in (coordinator_parts, node_parts):
        yield from parts(federation, {"prepared": sql}, 1.0, rounds)
