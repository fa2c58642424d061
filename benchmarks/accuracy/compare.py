"""All engines over all cases: root mean square errors, and peers' over weir's."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from benchmarks.accuracy import peer, weir_engine
from benchmarks.accuracy.cases import CASES, DELTA, EPSILON, MAX_GROUPS, MAX_ROWS, Case
from benchmarks.accuracy.environments import PEERS
from benchmarks.accuracy.errors import Estimate, geometric_mean, rmse
from benchmarks.accuracy.table import row_count, truth, write_table
from benchmarks.accuracy.task import Answers, task

WEIR_REPETITIONS, PEER_REPETITIONS = 400, 200
SECONDS_PER_CASE = 6.0
_AT_ONCE = 2  # peers; nothing here is timed


@dataclass(frozen=True)
class Row:
    """A column of the answer of one case, or the geometric mean of its columns.

    Attributes:
        own: weir's error; None for a mean.
        ratios: by engine, its error over weir's; None where it gave no answer.
    """

    case: Case
    column: str
    own: Estimate | None
    ratios: dict[str, Estimate | None]

    @property
    def best(self) -> Estimate | None:
        """The ratio of the peer that errs least."""
        known = [ratio for ratio in self.ratios.values() if ratio is not None]
        return min(known, key=lambda ratio: ratio.value, default=None)


@dataclass(frozen=True)
class Comparison:
    """What was measured.

    Attributes:
        failures: engine, case and reason of what was not answered.
    """

    title: str
    engines: tuple[str, ...]
    rows: tuple[Row, ...]
    failures: tuple[tuple[str, str, str], ...]


def measure(
    *,
    peers: Sequence[str] = PEERS,
    repetitions: int = WEIR_REPETITIONS,
    peer_repetitions: int = PEER_REPETITIONS,
    seconds_per_case: float = SECONDS_PER_CASE,
) -> Comparison:
    """Errors of weir and `peers`, which are installed first where need be.

    Args:
        seconds_per_case: that one peer may take for one case, if it makes fewer repetitions by then.
    """
    with TemporaryDirectory() as folder:
        table = Path(folder) / "visits.parquet"
        write_table(table)
        _write_text(table)
        rows, exact = row_count(table), truth(table)
        asked = task(table, rows, repetitions=peer_repetitions, seconds_per_case=seconds_per_case)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            others = list(pool.map(lambda name: peer.measured(name, asked), peers))
        own = weir_engine.measured(table, repetitions=repetitions)
    title = f"accuracy: {rows:,} rows, ε = {EPSILON:g}, δ ≤ {DELTA:g}, {MAX_ROWS} rows in each of {MAX_GROUPS} groups"
    failures = [
        (other.engine, name, found.failure)
        for other in others
        for name, found in other.cases.items()
        if found.failure is not None
    ]
    compared = [row for case in CASES for row in _compared(case, own, others, exact[case.name])]
    return Comparison(title, tuple(other.engine for other in others), tuple(compared), tuple(failures))


def _write_text(table: Path) -> None:
    """The same rows as CSV, for peers without a reader of Parquet."""
    with duckdb.connect() as connection:
        connection.execute(f"COPY (FROM '{table}') TO '{table.with_suffix('.csv')}' (FORMAT csv, HEADER)")


def _compared(case: Case, own: Answers, others: Sequence[Answers], exact: Sequence[Sequence[float]]) -> list[Row]:
    errors = rmse(own.cases[case.name], exact)
    theirs = {
        other.engine: None if other.cases[case.name].failure else rmse(other.cases[case.name], exact)
        for other in others
    }
    rows = [
        Row(case, column.sql, errors[place], {name: _ratio(found, errors, place) for name, found in theirs.items()})
        for place, column in enumerate(case.columns)
    ]
    return [*rows, _mean(case, rows)] if len(rows) > 1 else rows


def _ratio(theirs: Sequence[Estimate] | None, own: Sequence[Estimate], place: int) -> Estimate | None:
    return None if theirs is None else theirs[place].over(own[place])


def _mean(case: Case, rows: Sequence[Row]) -> Row:
    def mean(engine: str) -> Estimate | None:
        known = [ratio for row in rows if (ratio := row.ratios[engine]) is not None]
        return geometric_mean(known) if known else None

    return Row(case, "all columns", None, {engine: mean(engine) for engine in rows[0].ratios})
