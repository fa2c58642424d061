"""`python -m benchmarks.peers`: this part of `make bench` alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from benchmarks.accuracy.environments import PEERS
from benchmarks.peers import compare, plot, views
from benchmarks.peers.tables import TABLES
from benchmarks.report import RESULTS

_CONSOLE_COLUMNS = 180


def main() -> None:
    """Install peers where need be, measure, print, write, draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument("--tables", nargs="*", choices=[table.title for table in TABLES])
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON and the picture are written")
    parser.add_argument("--markdown", action="store_true", help="print the tables of docs/performance.md")
    given = parser.parse_args()
    tables = [table for table in TABLES if given.tables is None or table.title in given.tables]
    comparison = compare.measure(rows=given.rows, rounds=given.rounds, peers=given.peers, tables=tables)
    views.write(comparison, given.results)
    plot.draw(comparison, given.results)
    if given.markdown:
        print(views.markdown(comparison))
    else:
        views.show(comparison, Console(width=_CONSOLE_COLUMNS))


if __name__ == "__main__":
    main()
