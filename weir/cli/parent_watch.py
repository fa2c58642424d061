"""No orphans: a daemon whose stdin is a pipe from its parent stops when that pipe closes, however the parent ended."""

from __future__ import annotations

import os
import signal
import threading
import time

STOP_S = 15.0  # longer than a graceful stop takes; then the hard way


def stop_when_stdin_closes() -> None:
    """Start a thread that waits for the end of stdin and then stops this process."""
    threading.Thread(target=_watch, name="parent-watch", daemon=True).start()


def _watch() -> None:
    # os.read, not sys.stdin: a thread inside a buffered reader cannot be left behind when the interpreter ends.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_S)
    os._exit(1)
