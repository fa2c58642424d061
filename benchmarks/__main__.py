"""`make bench`: everything that is measured, in one table and as JSON in benchmarks/results."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from benchmarks import bounded, concurrency, noise, overhead, planning, report, scale, visits
from benchmarks.accuracy import compare, views
from benchmarks.peers import compare as peers
from benchmarks.peers import plot as peers_plot
from benchmarks.peers import views as peers_views

WIDE_COLUMNS = 180


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--visits", type=int, default=10_000_000, help="how many visits are generated")
    parser.add_argument("--rounds", type=int, default=60, help="how often a cheap query is asked")
    parser.add_argument("--results", type=Path, default=report.RESULTS, help="where the JSON is written")
    given = parser.parse_args()
    sections = [
        overhead.measure(rounds=given.rounds),
        planning.measure(rounds=3),
        noise.measure(),
        visits.measure(visits=given.visits, rounds=7),
        bounded.measure(rows=2 * given.visits, rounds=3),
        scale.measure(provinces=(4, 20, 100), rounds=3, cut_s=10.0),
        concurrency.measure(rows=given.visits // 10, rounds=2),
    ]
    for section in sections:
        report.write(section, given.results)
    report.show(sections, Console(width=report.CONSOLE_COLUMNS))
    compared = compare.measure()
    views.write(compared, given.results)
    views.show(compared, Console(width=report.CONSOLE_COLUMNS))
    timed = peers.measure(rows=given.visits // 10, rounds=3)
    peers_views.write(timed, given.results)
    peers_plot.draw(timed, given.results)
    peers_views.show(timed, Console(width=WIDE_COLUMNS))


if __name__ == "__main__":
    main()
