"""A coordinator that speaks the protocol perfectly and lies, to a real daemon over real data with unmistakable values.

Whatever it changes is refused and costs nothing; and nothing that leaves the daemon (replies, errors, its log) holds a
value of the data.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from coordinator.wire import fragment_request
from privacy.catalog import parse_catalog
from privacy.errors import (
    BudgetRefused,
    DataError,
    InternalError,
    MismatchRefused,
    QueryRefused,
    RequestRefused,
    WeirError,
)
from privacy.fragment import MERGED
from privacy.planner import Planner
from privacy.request import Request
from protos.weir.v1 import node_pb2, node_pb2_grpc
from tests.attacks.local_node import write_node
from tests.attacks.test_corpus_attacks import REFUSED
from tests.attacks.test_hostile_values import CATALOG, QUERIES, SCHEMA, _sound, _table

ROOT = Path(__file__).parents[2]
START = "import sys; from pathlib import Path; from node.serve import serve; serve(Path(sys.argv[1]))"
CANARY_PERSON = 7770001112223
# No text that leaves the node may hold any of these: the target's identifier, its values, its and all rows' number.
CANARIES = ("7770001112223", "CANARY", "987654", "8877665544332211", "1987-06-05", "0.123454321", "1013", "1021")
TWO_PROVINCES = CATALOG.replace('provinces = ["east"]', 'provinces = ["east", "west"]')
STANDARD = parse_catalog(TWO_PROVINCES, source="catalog.toml")
PLANNER = Planner(STANDARD)
SQL = "SELECT kind, COUNT(*), SUM(cost), AVG(age) FROM visits WHERE flag GROUP BY kind"


def canary_rows() -> pa.Table:
    """1021 rows, of which 1013 are the canary's."""
    canary = {
        "person_id": CANARY_PERSON,
        "age": 77,
        "cost": 987654.321,
        "amount": 8877665544332211,
        "wild": 0.123454321,
        "any_day": dt.date(1987, 6, 5),
        "note": "CANARY note",
    }
    rows = [_sound(CANARY_PERSON) | canary | {"kind": ["a", "CANARYKIND"][n % 2]} for n in range(1013)]
    return _table([*rows, *(_sound(person) for person in range(8))], SCHEMA)


@dataclass
class Daemon:
    """A node daemon, and everything that it ever said."""

    process: subprocess.Popen[str]
    stub: Any
    config: Path
    log: Path
    said: list[str] = field(default_factory=list)

    def ask(self, message: node_pb2.FragmentRequest, *, release: bool) -> WeirError | Any:
        """The reply, or the typed error; all of its text is kept."""
        try:
            reply = (self.stub.Release if release else self.stub.Prepare)(message, timeout=60)
        except grpc.RpcError as fault:
            metadata = dict(fault.trailing_metadata() or ())
            self.said += [str(fault.details()), str(fault.debug_error_string()), str(metadata)]
            return WeirError.from_json(metadata["weir-error-bin"].decode())
        self.said.append(str(reply) if not release else str(pa.ipc.open_stream(reply.release).read_all().schema))
        self.said.append(reply.snapshot if release else "")
        return reply

    @property
    def spent(self) -> float:
        return float(self.stub.GetBudget(node_pb2.BudgetRequest(), timeout=60).epsilon_spent)

    def assert_refused(self, message: node_pb2.FragmentRequest, *kinds: type[WeirError]) -> None:
        before = self.spent
        for release in (False, True):
            fault = self.ask(message, release=release)
            assert isinstance(fault, kinds), fault
            assert fault.remedy
        assert self.spent == before

    @property
    def data(self) -> Path:
        return self.config.parents[1] / "data" / "visits.parquet"


def _started(config: Path, log: Path) -> subprocess.Popen[str]:
    with log.open("w") as errors:
        command = (sys.executable, "-c", START, str(config))
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Stopped at the end, and then all that it said is searched for canaries."""
    folder = tmp_path_factory.mktemp("hostile")
    config = write_node(
        folder / "node",
        TWO_PROVINCES,
        {"visits": canary_rows()},
        province="east",
        epsilon_total=100.0,
        epsilon_per_query=1.0,
    )
    log = folder / "stderr.txt"
    process = _started(config, log)
    try:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        with grpc.insecure_channel(address) as channel:
            yield Daemon(process, node_pb2_grpc.NodeStub(channel), config, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def request(sql: str = SQL, *, epsilon: float = 1.0, **fields: Any) -> Request:
    return Request.new(sql, epsilon=epsilon, nonce="0" * 32, expires_unix_s=int(time.time()) + 3600, **fields)


def honest(sql: str = SQL, *, province: str = "east", **fields: Any) -> node_pb2.FragmentRequest:
    asked = request(sql, **fields)
    return fragment_request(asked.encode(), MERGED, PLANNER.plan(asked).blocks[0].fragments[province], STANDARD.digest)


def with_json(message: node_pb2.FragmentRequest, **changes: Any) -> node_pb2.FragmentRequest:
    changed = node_pb2.FragmentRequest()
    changed.CopyFrom(message)
    changed.request = json.dumps(json.loads(message.request) | changes).encode()
    return changed


def with_bytes(raw: bytes) -> node_pb2.FragmentRequest:
    message = honest()
    message.request = raw
    return message


# Every field that travels


def _mutations(message: Message) -> Iterator[tuple[str, Callable[[Message], None]]]:
    """The path of every field below `message`, and what changes it to something near."""
    for descriptor in message.DESCRIPTOR.fields:
        name = descriptor.name
        if descriptor.is_repeated:
            yield f"{name} without its last", lambda m, name=name: getattr(m, name).pop() if getattr(m, name) else None
            yield f"{name} twice the first", lambda m, name=name: getattr(m, name).extend(list(getattr(m, name))[:1])
            for place, item in enumerate(getattr(message, name)):
                for path, change in _mutations(item) if isinstance(item, Message) else ():
                    yield (
                        f"{name}[{place}].{path}",
                        lambda m, name=name, place=place, change=change: change(getattr(m, name)[place]),
                    )
        elif descriptor.type == FieldDescriptor.TYPE_MESSAGE:
            for path, change in _mutations(getattr(message, name)):
                yield f"{name}.{path}", lambda m, name=name, change=change: change(getattr(m, name))
        else:
            for number, value in enumerate(_near(descriptor, getattr(message, name))):
                yield f"{name} {number}", lambda m, name=name, value=value: setattr(m, name, value)


def _near(descriptor: FieldDescriptor, value: Any) -> list[Any]:
    if descriptor.type == FieldDescriptor.TYPE_STRING:
        return [value + " ", "person_id", value.replace("flag", "TRUE") + ("" if "flag" in value else "x")]
    if descriptor.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        return [value * 1.5 + 1, value / 2 - 1, float("nan"), float("inf")]
    if descriptor.type == FieldDescriptor.TYPE_BOOL:
        return [not value]
    if descriptor.type == FieldDescriptor.TYPE_ENUM:
        return [(value + 1) % 3, 0, 77]
    return [value + 1, 2**30]


@pytest.mark.parametrize("delta", [0.0, 1e-4], ids=["laplace", "gaussian"])
@pytest.mark.parametrize(
    "sql",
    [
        SQL,
        "SELECT DATE_TRUNC('month', day) AS m, MEDIAN(age // 20) FROM visits GROUP BY m",
        "SELECT day, COUNT(*) FROM visits GROUP BY ROLLUP (day)",
    ],
)
def test_every_field_that_is_forged_is_refused(daemon: Daemon, sql: str, delta: float) -> None:
    """Fields that are added to the protocol later are forged here too."""
    message = honest(sql, delta=delta)
    assert not isinstance(daemon.ask(message, release=False), WeirError)
    before, forged = daemon.spent, 0
    for path, change in _mutations(message.fragment):
        lie = node_pb2.FragmentRequest()
        lie.CopyFrom(message)
        change(lie.fragment)
        if lie == message:
            continue
        forged += 1
        assert isinstance(daemon.ask(lie, release=True), MismatchRefused), path
    assert forged > 60
    assert daemon.spent == before


REQUESTS: dict[str, tuple[Callable[[], node_pb2.FragmentRequest], tuple[type[WeirError], ...]]] = {
    "more ε than the fragment": (lambda: with_json(honest(), epsilon=0.9), (MismatchRefused,)),
    "less ε than the fragment": (lambda: with_json(honest(), epsilon=1e-6), (MismatchRefused,)),
    "more ε than one query may": (lambda: honest(epsilon=1e6), (RequestRefused,)),
    "a δ that hides the cost": (lambda: honest(epsilon=20.0, delta=1e-3), (RequestRefused,)),
    "no ε": (lambda: with_json(honest(), epsilon=0), (RequestRefused,)),
    "ε below zero": (lambda: with_json(honest(), epsilon=-1.0), (RequestRefused,)),
    "ε that is no number": (lambda: with_json(honest(), epsilon=float("nan")), (RequestRefused,)),
    "infinite ε": (lambda: with_json(honest(), epsilon=float("inf")), (RequestRefused,)),
    "ε as text": (lambda: with_json(honest(), epsilon="1"), (RequestRefused,)),
    "other limits": (lambda: with_json(honest(), options={"max_rows": 1}), (MismatchRefused,)),
    "limits below one": (lambda: with_json(honest(), options={"max_rows": 0}), (RequestRefused,)),
    "an unknown option": (lambda: with_json(honest(), options={"noise": False}), (RequestRefused,)),
    "an unknown field": (lambda: with_json(honest(), trusted=True), (RequestRefused,)),
    "another question": (lambda: with_json(honest(), sql="SELECT COUNT(*) FROM visits"), (MismatchRefused,)),
    "a question for rows": (lambda: with_json(honest(), sql="SELECT * FROM visits"), (QueryRefused,)),
    "expired": (lambda: with_json(honest(), expires_unix_s=int(time.time()) - 5), (RequestRefused,)),
    "another planner": (lambda: with_json(honest(), planner_version=999), (MismatchRefused,)),
    "another province's": (lambda: honest(province="west"), (MismatchRefused,)),
    "a question to the other province": (
        lambda: honest("SELECT COUNT(*) FROM visits WHERE province = 'west'", province="west"),
        (MismatchRefused,),
    ),
    "no JSON": (lambda: with_bytes(b"\xff\xfe"), (RequestRefused,)),
    "JSON that is no request": (lambda: with_bytes(b"[[[[1]]]]"), (RequestRefused,)),
    "deep JSON": (lambda: with_bytes(b"[" * 100_000), (RequestRefused,)),
    "no request": (lambda: with_bytes(b""), (RequestRefused,)),
    "nothing at all": (node_pb2.FragmentRequest, (MismatchRefused,)),
    "deep SQL": (
        lambda: with_json(honest(), sql=f"SELECT COUNT(*) FROM visits WHERE {'(' * 3000}flag"),
        (QueryRefused,),
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_every_other_lie_is_refused_and_costs_nothing(daemon: Daemon, name: str) -> None:
    make, kinds = REQUESTS[name]
    daemon.assert_refused(make(), *kinds)


@pytest.mark.parametrize("changes", [{"sql": f"EXPLAIN {SQL}"}, {"explains": True}])
def test_what_was_asked_as_an_explanation_cannot_be_released(daemon: Daemon, changes: dict[str, Any]) -> None:
    explained, spent = with_json(honest(), **changes), daemon.spent
    assert not isinstance(daemon.ask(explained, release=False), WeirError)
    assert isinstance(daemon.ask(explained, release=True), RequestRefused)
    assert daemon.spent == spent


def test_another_catalog_is_refused(daemon: Daemon) -> None:
    message = honest()
    message.catalog_digest = "0" * 64
    daemon.assert_refused(message, MismatchRefused)


@pytest.mark.parametrize("sql", REFUSED)
def test_what_is_no_question_is_refused_by_the_daemon_too(daemon: Daemon, sql: str) -> None:
    daemon.assert_refused(with_json(honest(), sql=sql), QueryRefused)


def test_limits_can_only_be_tightened(daemon: Daemon) -> None:
    """Wider ones than the catalog's are the catalog's: the fragment is the same, and is paid as it is."""
    wider = with_json(honest(), options={"max_rows": 1000, "max_groups": 1000})
    assert not isinstance(daemon.ask(wider, release=False), WeirError)


def test_replays_buy_nothing_new(daemon: Daemon) -> None:
    first = daemon.ask(honest(), release=True)
    spent = daemon.spent
    for changes in ({}, {"nonce": "f" * 32}, {"expires_unix_s": int(time.time()) + 9}):
        again = daemon.ask(with_json(honest(), **changes), release=True)
        assert (again.release, again.epsilon_charged, again.already_released) == (first.release, 0.0, True)
    assert daemon.spent == spent


# What the daemon says


def test_honest_questions_say_nothing_of_values(daemon: Daemon) -> None:
    for sql in QUERIES:
        for release in (False, True):
            assert not isinstance(daemon.ask(honest(sql), release=release), WeirError), sql
    assert_silent(daemon)


def _broken_promise(rows: pa.Table) -> pa.Table:
    return rows.set_column(rows.column_names.index("age"), "age", pa.array(["CANARY"] * rows.num_rows))


def _lost_column(rows: pa.Table) -> pa.Table:
    return rows.drop_columns(["cost"])


@pytest.mark.parametrize("change", [_broken_promise, _lost_column], ids=lambda change: change.__name__)
def test_data_that_went_bad_are_refused_in_words_without_values(
    daemon: Daemon, change: Callable[[pa.Table], pa.Table]
) -> None:
    with kept(daemon.data):
        pq.write_table(change(canary_rows()), daemon.data)
        daemon.assert_refused(honest("SELECT AVG(cost) FROM visits"), DataError)
    assert_silent(daemon)


def test_files_that_break_are_refused_in_words_without_values(daemon: Daemon) -> None:
    with kept(daemon.data):
        daemon.data.write_bytes(daemon.data.read_bytes()[:-200])
        daemon.assert_refused(honest("SELECT AVG(cost) FROM visits"), DataError)
        daemon.data.unlink()
        daemon.assert_refused(honest("SELECT AVG(cost) FROM visits"), DataError)
    assert_silent(daemon)


def test_a_file_that_breaks_under_the_engine_says_nothing_of_values(daemon: Daemon) -> None:
    """Pages overwritten under the same name, size and time: the engine fails, after the charge, or reads what it had."""
    with kept(daemon.data):
        status, content = daemon.data.stat(), bytearray(daemon.data.read_bytes())
        assert not isinstance(daemon.ask(honest(), release=False), WeirError)  # verified as it is
        content[4 : len(content) // 3] = b"CANARY" * (len(content) // 3 // 6) + b"\x00" * ((len(content) // 3 - 4) % 6)
        with daemon.data.open("r+b") as file:
            file.write(content[: status.st_size])
        os.utime(daemon.data, ns=(status.st_atime_ns, status.st_mtime_ns))
        reply = daemon.ask(honest("SELECT kind, SUM(cost + age) FROM visits GROUP BY kind"), release=True)
        assert isinstance(reply, InternalError | DataError | node_pb2.ReleaseReply)
    assert_silent(daemon)


def test_a_budget_that_is_spent_says_only_what_is_left(daemon: Daemon) -> None:
    for number in range(2000):
        reply = daemon.ask(
            honest(f"SELECT COUNT(*) FROM visits WHERE age > {number % 100}", epsilon=1.0 - number / 1e5, delta=0.0),
            release=True,
        )
        if isinstance(reply, WeirError):
            assert isinstance(reply, BudgetRefused)
            break
    else:
        raise AssertionError("never refused")
    assert_silent(daemon)


class kept:
    """Puts a file back as it was, with another time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._copy = path.with_name("kept.copy")

    def __enter__(self) -> None:
        shutil.copy2(self._path, self._copy)

    def __exit__(self, *_: object) -> None:
        shutil.move(self._copy, self._path)
        os.utime(self._path)


def assert_silent(daemon: Daemon) -> None:
    """Nothing that was said so far, over gRPC or in the log, holds a value of the data."""
    said = "\n".join([*daemon.said, daemon.log.read_text()])
    assert daemon.process.poll() is None
    assert len(daemon.said) > 2
    assert [canary for canary in CANARIES if canary in said] == []
    assert "Traceback" not in said
