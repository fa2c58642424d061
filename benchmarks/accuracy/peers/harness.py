"""What the scripts of all peers share; it runs in their environments, so it imports the standard library alone."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

# A case → a function that makes one release: for each key in order, the values of the columns.
Prepare = Callable[[dict[str, Any]], Callable[[], list[list[float]]]]


def run(package: str, open_peer: Callable[[dict[str, Any]], Prepare]) -> None:
    """Read the task that argv names, answer its cases, write what argv names second."""
    task = json.loads(Path(sys.argv[1]).read_text())
    prepare = open_peer(task)
    cases = {case["name"]: _answered(prepare, case, task) for case in task["cases"]}
    content = {"engine": f"{package} {version(package)}", "cases": cases}
    Path(sys.argv[2]).write_text(json.dumps(content))


def _answered(prepare: Prepare, case: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
    try:
        release = prepare(case)
        release()  # warm; and what a first call alone does is not on the clock
        values, end = [], time.monotonic() + task["seconds_per_case"]
        while len(values) < task["repetitions"] and (time.monotonic() < end or len(values) < 2):
            values.append(release())
    except Exception as fault:  # a peer that cannot do a query is reported so
        return {"failure": f"{type(fault).__name__}: {fault}".splitlines()[0][:200]}
    return {"values": values}
