"""The tables that are asked: generated visits, TPC-H, and records of real people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from benchmarks import bounded
from benchmarks.accuracy.cases import Case, Column, Measure, Subject
from examples.panel import prepare as panel
from tests.tpch import federation as tpch


@dataclass(frozen=True)
class PeerTable:
    """One table and the query over it.

    Attributes:
        write: the rows for a number of rows wanted, and where; the columns are unit, key and measure at least.
        enforced: its rows go beyond the limits, so that engines drop some, each in its own way.
    """

    title: str
    subject: Subject
    write: Callable[[Path, int], None]
    enforced: bool = False

    @property
    def case(self) -> Case:
        """COUNT, SUM and AVG by the key."""
        (key,), (measure,) = self.subject.keys, self.subject.measures
        columns = (Column("n", "COUNT", None), Column("s", "SUM", measure), Column("a", "AVG", measure))
        return Case(self.title, key, columns, self.subject.name)

    def made(self, folder: Path, rows: int) -> Path:
        """The file in `folder`, written where it is missing, and the same as CSV for peers that read no Parquet."""
        file = folder / f"{self.title}-{rows}" / f"{self.subject.name}.parquet"
        if not file.with_suffix(".csv").exists():  # written last
            file.parent.mkdir(parents=True, exist_ok=True)
            self.write(file, rows)
            columns = ", ".join((self.subject.unit, *self.subject.keys, *self.subject.measures))
            with duckdb.connect() as connection:
                connection.execute(f"COPY (SELECT {columns} FROM '{file}') TO '{file.with_suffix('.csv')}' (HEADER)")
        return file


def _visits(title: str, write: Callable[[Path, int], None], *, enforced: bool) -> PeerTable:
    kinds = tuple(f"k{number}" for number in range(bounded.KEYS))
    measures = {"cost": Measure(1000, 0.01)}
    subject = Subject("visits", "person_id", {"kind": kinds}, measures, bounded.MAX_ROWS, bounded.MAX_GROUPS)
    return PeerTable(title, subject, write, enforced)


def _write_any(file: Path, rows: int) -> None:
    bounded.generate(file.parent, rows)


def _write_within(file: Path, rows: int) -> None:
    """The same, but each person has three kinds of her own, and what is above the limit of rows is not there."""
    kind = f"'k' || hash(person_id * {bounded.MAX_GROUPS} + hash(cost, day) % {bounded.MAX_GROUPS}) % {bounded.KEYS}"
    with TemporaryDirectory() as folder:
        bounded.generate(Path(folder) / "data", rows)
        _copy(
            f"WITH few AS (SELECT person_id, {kind} AS kind, cost FROM '{folder}/data/visits.parquet') "
            f"FROM few QUALIFY row_number() OVER (PARTITION BY person_id, kind ORDER BY cost) <= {bounded.MAX_ROWS}",
            file,
        )


def _write_items(file: Path, rows: int) -> None:
    """TPC-H's lineitem with the customer of the order; its scale 1 has some 6 million."""
    with TemporaryDirectory() as folder, tpch.generate(Path(folder), scale=f"{rows / 6_000_000:.4g}") as connection:
        _copy(
            "SELECT l_custkey, l_returnflag, l_quantity::INTEGER AS l_quantity FROM lineitem",
            file,
            connection,
        )


def _write_panel(file: Path, rows: int) -> None:
    """rwm5yr as often as needed, each time as other people."""
    with TemporaryDirectory() as folder:
        panel.prepare(Path(folder))
        source = f"(SELECT id, edlevel, docvis FROM '{folder}/data/*/panel.parquet')"
        copies = f"range({max(1, round(rows / 19_609))}) AS copies(copy)"
        _copy(f"SELECT id::BIGINT + 100_000 * copy AS id, edlevel, docvis FROM {source}, {copies}", file)


def _copy(sql: str, file: Path, connection: duckdb.DuckDBPyConnection | None = None) -> None:
    with connection.cursor() if connection is not None else duckdb.connect() as cursor:
        cursor.execute(f"COPY ({sql}) TO '{file}' (FORMAT parquet)")


_LEVELS = ("below_high_school", "high_school", "university", "graduate_school")
TABLES = (
    _visits("visits", _write_any, enforced=True),
    _visits("visits within limits", _write_within, enforced=False),
    PeerTable(
        "TPC-H items",
        Subject("lineitem", "l_custkey", {"l_returnflag": ("A", "N", "R")}, {"l_quantity": Measure(50, 1)}, 100, 3),
        _write_items,
    ),
    PeerTable(
        "health panel",
        Subject("panel", "id", {"edlevel": _LEVELS}, {"docvis": Measure(121, 1)}, 5, 3),
        _write_panel,
    ),
)
