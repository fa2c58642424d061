"""One coordinator over more and more provinces: time of a query, the coordinator's memory and processor time, bytes.

    python -m benchmarks.scale --provinces 4 20 100 500

Every node is a real one (benchmarks/many_nodes.py says what those in one process share), and so is the coordinator. All
regions run at once and are asked in turn. The largest is also asked through coordinators for which 1 % of its nodes are
dead or come to a halt. One machine has the work of all nodes, which a region divides: the coordinator's own processor
time is what grows with the region.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc

import weir
from benchmarks import machine
from benchmarks.regions import Region, running, write_region
from benchmarks.report import Figure, Section, publish
from benchmarks.samples import Sample, in_turn, timed
from coordinator.node_link import MESSAGE_BYTES
from coordinator.wire import fragment_request
from privacy.catalog import parse_catalog
from privacy.planner import Planner
from privacy.request import Request
from protos.weir.v1 import coordinator_pb2, node_pb2_grpc
from protos.weir.v1.coordinator_pb2_grpc import CoordinatorStub
from weir.asking import PROJECT, new_request
from weir.progress import Progress, Started

FURTHER_PROVINCES = 50  # fewer take less memory than two processes of one kind may differ by
PROVINCES = (4, 20, 100, 500)
PLOT = Path(__file__).parents[1] / "docs" / "scale.svg"
ROWS, EPSILON, DEADLINE_S = 200, 1.0, 60.0
SQL = "SELECT kind, COUNT(*) AS n, AVG(cost) AS mean FROM visits WHERE cost > -{n} GROUP BY kind"
BY_PROVINCE = "SELECT province, COUNT(*) AS n FROM visits WHERE cost > -{n} GROUP BY province"


@dataclass(frozen=True)
class _Asked:
    """A region, its coordinator's process and a connection to it."""

    region: Region
    process_id: int
    con: weir.Connection
    fresh: Iterator[int]

    def query(self, sql: str = SQL, *, missing: int = 0, on_progress: Callable[[Progress], None] | None = None) -> None:
        """A question that no node had before.

        Args:
            missing: how many provinces must be named as missing; all others must have answered.
        """
        answer = self.con.sql(sql.format(n=next(self.fresh)), epsilon=EPSILON, on_progress=on_progress)
        assert isinstance(answer, weir.Answer)
        expected = len(self.region.addresses) - missing
        assert (len(answer.charges), len(answer.missing)) == (expected, missing), answer.missing[:3]


def measure(
    *,
    provinces: Sequence[int] = PROVINCES,
    rounds: int,
    cut_s: float,
    plot: Path | None = None,
) -> Section:
    """The curve over `provinces`, ascending, and what dead and halted nodes do to the last.

    Args:
        cut_s: the longest that a query with halted nodes may take, at the coordinator that is asked it.
        plot: where the curve is drawn.
    """
    before = machine.load()
    with TemporaryDirectory() as name, ExitStack() as held:
        asked: dict[int, _Asked] = {}
        figures: list[Figure] = []
        for number in provinces:
            folder = Path(name) / str(number)
            write_region(folder, provinces=number, rows=ROWS)
            apart = max(1, number // 100) if number == provinces[-1] else 0
            region = held.enter_context(running(folder, provinces=number, apart=apart))
            asked[number] = _through(held, region, "coordinator", DEADLINE_S)
        curve = [*_curve(asked, rounds)]
        figures += [*curve, *_memory(asked), *_bytes(asked)]
        figures += _with_the_dead(held, asked[provinces[-1]], rounds)
        figures += _with_halted(held, asked[provinces[-1]].region, cut_s)
    if plot is not None:
        _draw({figure.name: figure for figure in figures}, provinces, plot)
    title = f"scale: {', '.join(map(str, provinces))} provinces of {ROWS} rows, one coordinator"
    return Section(f"scale-{provinces[-1]}", title, tuple(figures), (before, machine.load()))


def _through(held: ExitStack, region: Region, name: str, deadline_s: float, elsewhere: str = "") -> _Asked:
    daemon, address = held.enter_context(region.coordinator(name, deadline_s=deadline_s, elsewhere=elsewhere))
    return _Asked(region, daemon.pid, held.enter_context(weir.connect(address)), itertools.count(_first(name)))


def _first(name: str) -> int:
    """Where the constants of a coordinator's questions start: each asks what the others did not."""
    return 1 + 1_000 * ("coordinator", "dead", "halted").index(name)


def _curve(asked: Mapping[int, _Asked], rounds: int) -> Iterator[Figure]:
    """Fresh queries in turn; ratios to the smallest region, round by round."""
    spent: dict[int, list[float]] = {number: [] for number in asked}
    cases = {str(number): partial(_noting, one.process_id, one.query, spent[number]) for number, one in asked.items()}
    taken = in_turn(cases, rounds=rounds)
    smallest = taken[str(min(asked))]
    for number in asked:
        yield Figure(f"{number} provinces: fresh query", "ms", taken[str(number)])
    for number in list(asked)[1:]:
        yield Figure(f"{number} provinces: over {min(asked)}", "×", taken[str(number)].over(smallest))
    for number in asked:
        share = Sample(tuple(seconds / number for seconds in spent[number][-rounds:]))
        yield Figure(f"{number} provinces: the coordinator's processor time, a province", "ms", share)
    located = in_turn({str(number): partial(one.query, BY_PROVINCE) for number, one in asked.items()}, rounds=rounds)
    for number in asked:
        yield Figure(f"{number} provinces: fresh query by province", "ms", located[str(number)])


def _noting(process_id: int, work: Callable[[], None], spent: list[float]) -> None:
    before = machine.processor_s([process_id])
    work()
    spent.append(machine.processor_s([process_id]) - before)


def _memory(asked: Mapping[int, _Asked]) -> Iterator[Figure]:
    """Of the coordinator, after all these queries; of the nodes, all that one machine holds."""
    found = {number: machine.resident_bytes([one.process_id]) for number, one in asked.items()}
    for number, size in found.items():
        yield Figure(f"{number} provinces: the coordinator's resident memory", "MiB", size / 2**20)
    few, many = min(found), max(found)
    if many - few >= FURTHER_PROVINCES:
        further = (found[many] - found[few]) / (many - few)
        yield Figure("the coordinator's resident memory: for each further province", "KiB", further / 2**10)
    nodes = machine.resident_bytes([host.pid for host in asked[many].region.hosts]) / many
    yield Figure(f"{many} provinces: resident memory of the nodes, a province", "MiB", nodes / 2**20)


def _bytes(asked: Mapping[int, _Asked]) -> Iterator[Figure]:
    """Of the messages of one query: between the coordinator and one node, and from the coordinator to the client."""
    for number, one in asked.items():
        yield Figure(f"{number} provinces: bytes to and from one node", "B", float(_node_bytes(one)))
        yield Figure(f"{number} provinces: bytes to the client", "B", float(_client_bytes(one)))


def _node_bytes(one: _Asked) -> int:
    """The same messages that the coordinator exchanges: Prepare and Release, sent to one node once more."""
    catalog = parse_catalog((one.region.folder / "catalog.toml").read_text(encoding="utf-8"), source="catalog.toml")
    request = _released()
    province, blocks = next(iter(Planner(catalog).plan(request).asked.items()))
    total = 0
    with grpc.insecure_channel(one.region.addresses[province]) as channel:
        stub = node_pb2_grpc.NodeStub(channel)
        for block, fragment in blocks.items():
            message = fragment_request(request.encode(), block, fragment, catalog.digest)
            total += sum(message.ByteSize() + call(message).ByteSize() for call in (stub.Prepare, stub.Release))
    return total


def _released() -> Request:
    """The first question of every region, which costs nothing any more."""
    return new_request(SQL.format(n=1), epsilon=EPSILON, delta=None, project=PROJECT)


def _client_bytes(one: _Asked) -> int:
    request = _released()
    with grpc.insecure_channel(one.con.address, options=(("grpc.max_receive_message_length", MESSAGE_BYTES),)) as to:
        events = CoordinatorStub(to).Query(coordinator_pb2.QueryRequest(request=request.encode()))
        return sum(event.ByteSize() for event in events)


def _with_the_dead(held: ExitStack, well: _Asked, rounds: int) -> Iterator[Figure]:
    """Nodes at whose address nothing listens, in turn with the same query where all are well."""
    gone = len(well.region.apart)
    with socket.socket() as taken:  # bound and not listening: refused at once
        taken.bind(("127.0.0.1", 0))
        nowhere = f"127.0.0.1:{taken.getsockname()[1]}"
        dead = _through(held, well.region, "dead", DEADLINE_S, elsewhere=nowhere)
        taken_s = in_turn({"well": well.query, "dead": partial(dead.query, missing=gone)}, rounds=rounds)
    ratio = taken_s["dead"].over(taken_s["well"])
    yield Figure(f"{len(well.region.addresses)} provinces: {gone} dead, over all well", "×", ratio)


def _with_halted(held: ExitStack, region: Region, cut_s: float) -> Iterator[Figure]:
    """Nodes whose process is stopped: while they release, and before they are asked, for the first time and again."""
    asked, gone, host = _through(held, region, "halted", cut_s), len(region.apart), region.hosts[-1].pid
    asked.query()  # connections are there

    def halt(progress: Progress | None = None) -> None:
        if progress is None or isinstance(progress, Started):
            os.kill(host, signal.SIGSTOP)

    cases = {
        "halted as they release": partial(asked.query, missing=gone, on_progress=halt),
        "halted, asked again": partial(asked.query, missing=gone),
    }
    try:
        for name, case in cases.items():
            yield Figure(f"{len(region.addresses)} provinces: {gone} {name}", "s", Sample((timed(case),)))
    finally:
        os.kill(host, signal.SIGCONT)
    asked.query()  # and all of them are back


def _draw(figures: Mapping[str, Figure], provinces: Sequence[int], file: Path) -> None:
    from matplotlib.figure import Figure as Drawing  # only where it is drawn: it takes a second to load

    def values(name: str, scale: float = 1.0) -> list[float]:
        found = (figures[f"{number} provinces: {name}"].value for number in provinces)
        return [(value.median if isinstance(value, Sample) else value) * scale for value in found]

    drawing = Drawing(figsize=(9, 3.2), layout="constrained")
    parts = (
        ("fresh query, median, s", values("fresh query")),
        ("the coordinator's resident memory, MiB", values("the coordinator's resident memory")),
        ("bytes to and from one node", values("bytes to and from one node")),
    )
    for place, (title, heights) in enumerate(parts, start=1):
        axes = drawing.add_subplot(1, len(parts), place)
        axes.plot(list(provinces), heights, marker="o", color="#1f5a82")
        axes.set(xscale="log", xlabel="provinces", title=title, ylim=(0, 1.15 * max(heights)))
        axes.title.set_fontsize(9)
        axes.set_xticks(list(provinces), [str(number) for number in provinces])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    file.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(file, metadata={"Date": None})  # drawn again it differs in what was measured alone


def main() -> None:
    """Measure, print, draw, and write it beside the other results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--provinces", type=int, nargs="+", default=PROVINCES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cut", type=float, default=30.0, help="seconds after which halted nodes are left out")
    given = parser.parse_args()
    publish(measure(provinces=given.provinces, rounds=given.rounds, cut_s=given.cut, plot=PLOT))


if __name__ == "__main__":
    main()
