"""Runs one peer's script in its environment."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.accuracy.cases import CASES
from benchmarks.accuracy.environments import HERE, NotInstalledError, python_of
from benchmarks.accuracy.task import Answers, Releases, answers

_TIMEOUT_S = 900.0


def measured(peer: str, task: dict[str, Any]) -> Answers:
    """What `peer` answers; where it cannot be installed or fails, every case says so."""
    try:
        python = python_of(peer)
    except NotInstalledError as fault:
        return _failed(peer, f"not installed: {fault}")
    with TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "task.json", Path(folder) / "answers.json"
        asked.write_text(json.dumps(task))
        command = [str(python), str(HERE / "peers" / f"{peer}.py"), str(asked), str(answered)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            return _failed(peer, f"not done after {_TIMEOUT_S:.0f} s")
        if done.returncode:
            return _failed(peer, (done.stderr.strip().splitlines() or ["no message"])[-1])
        return answers(json.loads(answered.read_text()))


def _failed(peer: str, why: str) -> Answers:
    return Answers(peer, {case.name: Releases([], why) for case in CASES})
