"""Child of test_kill.py: forks a node daemon whenever a line comes in, so that 200 starts do not take 200 imports.

Each daemon is a process of its own that runs `node.serve.serve` from start-up on. Nothing of gRPC or DuckDB is used before the
fork; imports alone start none of their threads.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from node.serve import serve


def born(config: Path) -> None:
    """The daemon."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        serve(config)
    finally:
        os._exit(1)  # a daemon of this test is killed; it never comes to an end of its own


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            born(Path(line.strip()))
        print(json.dumps({"pid": pid}), flush=True)
