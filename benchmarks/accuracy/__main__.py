"""`python -m benchmarks.accuracy`: this part of `make bench` alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from benchmarks.accuracy import compare, views
from benchmarks.accuracy.environments import PEERS
from benchmarks.report import RESULTS

_CONSOLE_COLUMNS = 160


def main() -> None:
    """Install peers where need be, measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument(
        "--seconds", type=float, default=compare.SECONDS_PER_CASE, help="of one peer and query, at most"
    )
    parser.add_argument(
        "--repetitions", type=int, default=compare.WEIR_REPETITIONS, help="of weir's answers; of a peer's half as many"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON is written")
    parser.add_argument("--markdown", action="store_true", help="print the table of docs/accuracy.md")
    given = parser.parse_args()
    comparison = compare.measure(
        peers=given.peers,
        repetitions=given.repetitions,
        peer_repetitions=given.repetitions // 2,
        seconds_per_case=given.seconds,
    )
    views.write(comparison, given.results)
    if given.markdown:
        print(views.markdown(comparison))
    else:
        views.show(comparison, Console(width=_CONSOLE_COLUMNS))


if __name__ == "__main__":
    main()
