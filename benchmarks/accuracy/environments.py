"""An environment for each peer, under build/ and kept from run to run: their dependencies exclude each other."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE.parent.parent / "build" / "accuracy"
PEERS = tuple(sorted(file.stem for file in (HERE / "requirements").glob("*.txt")))
_TIMEOUT_S = 600.0


class NotInstalledError(Exception):
    """A peer's packages cannot be installed here; its text says why."""


def python_of(peer: str) -> Path:
    """The interpreter of the peer's environment, which is made where it is not there or its requirements changed.

    Raises:
        NotInstalledError: no index, no such version, no wheel for this interpreter.
    """
    requirements = HERE / "requirements" / f"{peer}.txt"
    folder = BUILD / peer
    python, ready = folder / "bin" / "python", folder / ".ready"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not ready.is_file() or ready.read_text() != wanted:
        for command in _commands(folder, python, requirements):
            _run(command)
        ready.write_text(wanted)
    return python


def _commands(folder: Path, python: Path, requirements: Path) -> list[list[str]]:
    uv = shutil.which("uv")
    if uv is not None:
        return [
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--quiet", "--python", str(python), "--requirement", str(requirements)],
        ]
    return [
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)],
    ]


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise NotInstalledError(str(fault)) from fault
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()]
        raise NotInstalledError(last[-1] if last else f"exit code {done.returncode}")
