"""Who answers: each side is asked for one fresh answer at a time, and says what it cost."""

from __future__ import annotations

import itertools
import json
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, Protocol

import duckdb

import weir
from benchmarks import machine
from benchmarks.accuracy.cases import EPSILON
from benchmarks.accuracy.environments import HERE, NotInstalledError, python_of

_START_S, _ANSWER_S = 300.0, 120.0


class SideError(Exception):
    """A side cannot answer; its text says why."""


@dataclass(frozen=True)
class Reply:
    """One answer: for each key in order, the values of the columns.

    Attributes:
        processor_s: of all processes that took part, by process.
    """

    values: list[list[float]]
    seconds: float
    processor_s: dict[str, float]


class Side(Protocol):
    """`whole` is what is timed; `again` may be cheaper, and its values are as good."""

    engine: str

    def whole(self) -> Reply: ...

    def again(self) -> Reply: ...


@dataclass(frozen=True)
class Plain:
    """DuckDB over the file, without any protection."""

    connection: duckdb.DuckDBPyConnection
    sql: str
    engine: str = f"duckdb {duckdb.__version__}"

    def whole(self) -> Reply:
        start, worked = time.perf_counter(), time.process_time()
        rows = self.connection.execute(self.sql).fetchall()
        spent = {"engine": time.process_time() - worked}
        return Reply([[float(value) for value in row[1:]] for row in rows], time.perf_counter() - start, spent)

    again = whole


@dataclass(frozen=True)
class Weir:
    """A client of a coordinator and a node."""

    con: weir.Connection
    sql: str
    engine: str = "weir"
    _fresh: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def whole(self) -> Reply:
        """A repeat would come from the ledger, so each question has another ε."""
        assert self.con.federation is not None
        daemons = {name.split()[0]: number for name, number in self.con.federation.process_ids.items()}
        before = {name: machine.processor_s([number]) for name, number in daemons.items()}
        start, worked = time.perf_counter(), time.process_time()
        table = self.con.sql(self.sql, epsilon=EPSILON + next(self._fresh) * 1e-8).arrow()
        spent = {"client": time.process_time() - worked}
        seconds = time.perf_counter() - start
        spent |= {name: machine.processor_s([number]) - before[name] for name, number in daemons.items()}
        columns = [column.to_pylist() for column in table.columns[1:]]
        return Reply([[float(value) for value in row] for row in zip(*columns, strict=True)], seconds, spent)

    again = whole


@dataclass(frozen=True)
class Peer:
    """A peer's script, serving."""

    process: subprocess.Popen[bytes]
    engine: str

    def whole(self) -> Reply:
        return self._asked("whole")

    def again(self) -> Reply:
        return self._asked("again")

    def _asked(self, word: str) -> Reply:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n".encode())
        self.process.stdin.flush()
        told = heard(self.process, _ANSWER_S)
        return Reply(told["values"], told["seconds"], {"peer": told["processor_s"]})


@contextmanager
def peer_side(name: str, task: dict[str, Any], *, python: Callable[[str], Path] = python_of) -> Iterator[Peer]:
    """The script of peer `name`, with its data open.

    Raises:
        SideError: not installed, or cannot do this query.
    """
    try:
        interpreter = python(name)
    except NotInstalledError as fault:
        raise SideError(f"not installed: {fault}") from fault
    with TemporaryDirectory() as folder, TemporaryFile() as complaints:
        asked = Path(folder) / "task.json"
        asked.write_text(json.dumps(task))
        command = [str(interpreter), str(HERE / "peers" / f"{name}.py"), str(asked)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=complaints, bufsize=0) as process:
            try:
                yield Peer(process, heard(process, _START_S)["engine"])
            finally:
                process.kill()


def heard(process: subprocess.Popen[bytes], timeout_s: float) -> dict[str, Any]:
    """The next line of JSON.

    Raises:
        SideError: it says that it failed, is gone, or says nothing for `timeout_s`.
    """
    assert process.stdout is not None
    text, end = b"", time.monotonic() + timeout_s
    while not text.endswith(b"\n"):
        if not select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
            raise SideError(f"no answer after {timeout_s:.0f} s")
        part = process.stdout.read(1 << 16)
        if not part:
            raise SideError("ended without an answer")
        text += part
    told: dict[str, Any] = json.loads(text)
    if "failure" in told:
        raise SideError(told["failure"])
    return told
