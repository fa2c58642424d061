"""`kill -9` of a real node under load, at random moments: whatever clients received is charged, and nothing twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from coordinator import wire
from node.audit import show, verify
from node.exact import NANO
from privacy.errors import ConfigError
from privacy.fragment import MERGED
from privacy.planner import Planner
from privacy.request import Request
from protos.weir.v1 import node_pb2, node_pb2_grpc
from tests.node.makers import Folder, catalog, make_folder

ROOT = Path(__file__).parents[2]
SQL = "SELECT kind, COUNT(*) FROM visits GROUP BY kind"
CLIENTS = 3
LOAD_S = 0.25  # a daemon is killed within it, counted from when it serves
START_S = 0.3  # or, one time in five, within this from its birth
LIMIT_S = 60.0
KILLS = 20  # of one ledger


class Nursery:
    """Daemons, one at a time."""

    def __init__(self) -> None:
        command = f"import runpy; runpy.run_path({str(Path(__file__).with_name('nursery.py'))!r}, run_name='__main__')"
        self._process = subprocess.Popen(
            (sys.executable, "-c", command), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._lines: queue.Queue[dict[str, object]] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))

    def birth(self, config: Path) -> int:
        """The pid of a new daemon."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{config}\n")
        self._process.stdin.flush()
        while True:  # a daemon that was killed may have spoken last
            said = self._lines.get(timeout=LIMIT_S)
            if "pid" in said:
                return int(str(said["pid"]))

    def address(self) -> str:
        """Where it serves, as soon as it does."""
        return str(self._lines.get(timeout=LIMIT_S)["address"])

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=LIMIT_S)
        self._process.stdout.close()


@dataclass
class Clients:
    """What was asked and what came back; a question is known by its ε."""

    planner: Planner = field(default_factory=lambda: Planner(catalog()))
    asked: set[float] = field(default_factory=set)
    received: dict[float, bytes] = field(default_factory=dict)
    charged: dict[float, float] = field(default_factory=dict)
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def question(self) -> float:
        """A new one, or now and then one that was asked before."""
        with self.mutex:
            old = sorted(self.asked)
            if old and secrets.randbelow(4) == 0:
                return old[secrets.randbelow(len(old))]
            fresh = round(0.001 + len(old) * 1e-6, 6)
            self.asked.add(fresh)
            return fresh

    def message(self, epsilon: float) -> node_pb2.FragmentRequest:
        request = Request.new(
            SQL, epsilon=2 * epsilon, delta=0.0, nonce=secrets.token_hex(16), expires_unix_s=int(time.time()) + 600
        )
        return wire.fragment_request(
            request.encode(), MERGED, self.planner.plan(request).blocks[0].fragments["east"], catalog().digest
        )

    def ask(self, stub: node_pb2_grpc.NodeStub, epsilon: float) -> None:
        reply = stub.Release(self.message(epsilon), timeout=LIMIT_S)
        with self.mutex:
            assert self.received.setdefault(epsilon, reply.release) == reply.release
            self.charged[epsilon] = self.charged.get(epsilon, 0.0) + reply.epsilon_charged
            assert self.charged[epsilon] <= epsilon * (1 + 1e-9)

    def besiege(self, address: str, stop: threading.Event) -> None:
        """Ask until the node is dead."""
        with grpc.insecure_channel(address) as channel:
            stub = node_pb2_grpc.NodeStub(channel)
            while not stop.is_set():
                try:
                    self.ask(stub, self.question())
                except grpc.RpcError as fault:
                    if fault.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                    return  # it is dead


def siege(nursery: Nursery, folder: Folder, *, kills: int) -> Clients:
    """Kill the node of `folder` that often; look at its ledger after each time, and at all of it in the end."""
    clients = Clients()
    for _ in range(kills):
        _one_life(nursery, folder, clients)
        _check(folder, clients)
    _ask_all_again(nursery, folder, clients)
    return clients


def _one_life(nursery: Nursery, folder: Folder, clients: Clients) -> None:
    pid = nursery.birth(folder.config)
    if secrets.randbelow(5) == 0:
        time.sleep(_moment(START_S))
        os.kill(pid, signal.SIGKILL)
    else:
        address, stop = nursery.address(), threading.Event()
        threads = [threading.Thread(target=clients.besiege, args=(address, stop)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        time.sleep(_moment(LOAD_S))
        os.kill(pid, signal.SIGKILL)
        stop.set()
        for thread in threads:
            thread.join(timeout=LIMIT_S)
            assert not thread.is_alive()
    _wait_until_gone(pid)


def _moment(within_s: float) -> float:
    return within_s * secrets.randbelow(10**6) / 10**6


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + LIMIT_S
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.001)
        raise AssertionError("a killed daemon lives on")


def _check(folder: Folder, clients: Clients) -> None:
    """The journal holds at least what was received, and every charge once."""
    try:
        shown, _ = show(folder.config)
    except ConfigError:
        assert not clients.received  # killed before it made a ledger
        return
    contents = [one.entry.content for one in shown]
    settled = {content["answer_sha256"] for content in contents if "answer_sha256" in content}
    assert {hashlib.sha256(answer).hexdigest() for answer in clients.received.values()} <= settled
    charges = [content["epsilon_nano"] for content in contents if "delta_atto" in content]
    assert len(charges) == len(set(charges))  # a question is known by its ε, so a second charge would show
    assert {round(epsilon * NANO) for epsilon in clients.received} <= set(charges)
    assert set(charges) <= {round(epsilon * NANO) for epsilon in clients.asked}


def _ask_all_again(nursery: Nursery, folder: Folder, clients: Clients) -> None:
    """Every question is answered in the end, each charged once; those that were answered before get the same answer."""
    before, pid = dict(clients.received), nursery.birth(folder.config)
    with grpc.insecure_channel(nursery.address()) as channel:
        stub = node_pb2_grpc.NodeStub(channel)
        for epsilon in sorted(clients.asked):
            clients.ask(stub, epsilon)
        assert {epsilon: clients.received[epsilon] for epsilon in before} == before
        verdict = verify(folder.config)  # beside the running node
        assert verdict.charged == verdict.settled == len(clients.asked)
    os.kill(pid, signal.SIGKILL)
    _wait_until_gone(pid)
    _check(folder, clients)
    assert verify(folder.config, head=verdict.head) == verdict


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with contextlib.closing(Nursery()) as opened:
        yield opened


def _siege(nursery: Nursery, path: Path) -> Clients:
    folder = make_folder(path / "federation")
    folder.edit("epsilon_total = 5.0", "epsilon_total = 1e6")
    return siege(nursery, folder, kills=KILLS)


def test_a_node_killed_under_load_has_charged_what_was_received(nursery: Nursery, tmp_path: Path) -> None:
    assert len(_siege(nursery, tmp_path).received) >= KILLS


@pytest.mark.soak
@pytest.mark.parametrize("number", range(10))
def test_two_hundred_kills(nursery: Nursery, tmp_path: Path, number: int) -> None:
    assert len(_siege(nursery, tmp_path).received) >= KILLS
