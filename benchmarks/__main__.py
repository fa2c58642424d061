"""`make bench`: everything that is measured, in one table and as JSON in benchmarks/results."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from benchmarks import bounded, concurrency, noise, overhead, planning, report, scale, visits
from benchmarks.accuracy import compare, views
from benchmarks.peers import compare as peers
from benchmarks.peers import plot as peers_plot
from benchmarks.peers import views as peers_views

MeasuredT = TypeVar("MeasuredT")
WIDE_COLUMNS = 180


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--visits", type=int, default=10_000_000, help="how many visits are generated")
    parser.add_argument("--rounds", type=int, default=40, help="how often a cheap query is asked")
    parser.add_argument("--results", type=Path, default=report.RESULTS, help="where the JSON is written")
    given = parser.parse_args()
    console, start = Console(width=report.CONSOLE_COLUMNS), time.monotonic()

    def said(name: str, measure: Callable[[], MeasuredT]) -> MeasuredT:
        console.print(f"{_minutes(time.monotonic() - start)}  {name} …", style="dim")
        return measure()

    sections = [
        said("overhead", lambda: overhead.measure(rounds=given.rounds)),
        said("planning", lambda: planning.measure(rounds=3)),
        said("noise", noise.measure),
        said("visits", lambda: visits.measure(visits=given.visits, rounds=5)),
        said("bounded", lambda: bounded.measure(rows=2 * given.visits, rounds=3)),
        said("scale", lambda: scale.measure(provinces=(4, 20, 100), rounds=3, cut_s=10.0)),
        said("concurrency", lambda: concurrency.measure(rows=given.visits // 10, rounds=2)),
    ]
    for section in sections:
        report.write(section, given.results)
    report.show(sections, console)
    compared = said("accuracy", compare.measure)
    views.write(compared, given.results)
    views.show(compared, console)
    timed = said("peers", lambda: peers.measure(rows=given.visits // 10, rounds=3))
    peers_views.write(timed, given.results)
    peers_plot.draw(timed, given.results)
    peers_views.show(timed, Console(width=WIDE_COLUMNS))
    console.print(f"{_minutes(time.monotonic() - start)}  done", style="dim")


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60:2}:{int(seconds) % 60:02}"


if __name__ == "__main__":
    main()
