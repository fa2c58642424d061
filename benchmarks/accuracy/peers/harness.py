"""What the scripts of all peers share; it runs in their environments, so it imports the standard library alone."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

Release = Callable[[], list[list[float]]]  # for each key in order, the values of the columns


class Query(NamedTuple):
    """One case, ready to be asked.

    Attributes:
        whole: all that a peer does for a question that it has not seen, with its data open: rewriting, engine, noise.
        again: a further release of the same question, as cheaply as the peer's interface allows.
    """

    whole: Release
    again: Release


Prepare = Callable[[dict[str, Any]], Query]  # of a case


def run(package: str, open_peer: Callable[[dict[str, Any]], Prepare]) -> None:
    """Read the task that argv names. Answer its cases into the file that argv names second, or serve the first."""
    task = json.loads(Path(sys.argv[1]).read_text())
    engine = f"{package} {version(package)}"
    if len(sys.argv) == 2:
        _serve(engine, open_peer, task)
        return
    prepare = open_peer(task)
    cases = {case["name"]: _answered(prepare, case, task) for case in task["cases"]}
    Path(sys.argv[2]).write_text(json.dumps({"engine": engine, "cases": cases}))


def _answered(prepare: Prepare, case: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
    try:
        release = prepare(case).again
        release()  # warm; and what a first call alone does is not on the clock
        values, end = [], time.monotonic() + task["seconds_per_case"]
        while len(values) < task["repetitions"] and (time.monotonic() < end or len(values) < 2):
            values.append(release())
    except Exception as fault:  # a peer that cannot do a query is reported so
        return {"failure": _told(fault)}
    return {"values": values}


def _serve(engine: str, open_peer: Callable[[dict[str, Any]], Prepare], task: dict[str, Any]) -> None:
    """For each line on stdin, `whole` or `again`, a line of JSON: the values, and the seconds that they took."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what packages print is no answer
    try:
        query = open_peer(task)(task["cases"][0])
        print(json.dumps({"engine": engine}), file=answers)
        for line in sys.stdin:
            work = query._asdict()[line.strip()]
            start, worked = time.perf_counter(), time.process_time()
            values = work()
            spent = {"seconds": time.perf_counter() - start, "processor_s": time.process_time() - worked}
            print(json.dumps({"values": values, **spent}), file=answers)
    except Exception as fault:
        print(json.dumps({"engine": engine, "failure": _told(fault)}), file=answers)


def _told(fault: Exception) -> str:
    return f"{type(fault).__name__}: {fault}".splitlines()[0][:200]
