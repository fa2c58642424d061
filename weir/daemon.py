"""One daemon as a child process: started, heard, stopped within a bound, never left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from privacy.errors import UnavailableError, WeirError

PROGRAM = (sys.executable, "-P", "-m", "weir")  # -P: a `node.py` where the user stands must not be taken for ours
STOP_S = 10.0  # after SIGTERM, before SIGKILL
LOG_LINES = 200  # of stderr, kept for the message when it dies


@dataclass(frozen=True)
class Ready:
    """What a daemon says once it serves."""

    address: str
    province: str | None


class Daemon:
    """A running child process that was told to serve and to stop with its parent.

    Args:
        name: for messages, for example `node shanghai`.
        command: the whole command line.
    """

    def __init__(self, name: str, command: tuple[str, ...]) -> None:
        self.name = name
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._first_line: Future[str] = Future()
        self._process = _started(name, command)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read_stdout, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_stderr, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """The last lines of its stderr."""
        return "\n".join(self._log)

    def ready(self, *, timeout_s: float) -> Ready:
        """Wait for the line that says that it serves.

        Raises:
            WeirError: the one that the daemon died of.
            UnavailableError: it died without a word of its own, or said nothing in time.
        """
        try:
            line = self._first_line.result(timeout=timeout_s)
        except FutureTimeout:
            raise UnavailableError(
                f"The {self.name} did not serve within {timeout_s:.0f} s.", remedy=self._last_words()
            ) from None
        said = _parsed(line)
        if "address" in said:
            province = said.get("province")
            return Ready(str(said["address"]), None if province is None else str(province))
        self.stop()
        if "failed" in said:
            fault = WeirError.from_json(json.dumps(said["failed"]))
            raise type(fault)(f"The {self.name} did not start: {fault.message}", remedy=fault.remedy)
        raise UnavailableError(f"The {self.name} stopped as it started.", remedy=self._last_words())

    def terminate(self) -> None:
        """Ask it to stop; `stop` waits for it."""
        if self.running:
            self._process.terminate()

    def stop(self, *, deadline_s: float | None = None) -> None:
        """Stop it: SIGTERM, and SIGKILL at the deadline (of `time.monotonic`)."""
        deadline_s = time.monotonic() + STOP_S if deadline_s is None else deadline_s
        self.terminate()
        try:
            self._process.wait(timeout=max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join(timeout=1.0)  # a grandchild could hold the pipe open
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _last_words(self) -> str:
        lines = [line for line in self._log if line.strip()][-8:]
        return "It said: " + "\n    ".join(lines) if lines else "It said nothing."

    def _read_stdout(self, stream: IO[bytes]) -> None:
        with stream:
            self._first_line.set_result(stream.readline().decode(errors="replace"))
            for _ in stream:
                pass  # nothing more is promised; reading on keeps the pipe from filling

    def _read_stderr(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._log.append(line.decode(errors="replace").rstrip())


def _started(name: str, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # its end of file is how an orphan learns that the parent is gone
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,  # Ctrl-C at the terminal reaches the parent alone, which then stops its daemons
        )
    except OSError as fault:
        raise UnavailableError(
            f"The {name} cannot be started: {fault.strerror}.", remedy="Check the installation and the system's limits."
        ) from None


def _parsed(line: str) -> dict[str, object]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _environment() -> dict[str, str]:
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    root = Path(__file__).resolve().parent.parent
    if (root / "pyproject.toml").exists():  # a checkout, perhaps not installed
        paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment
