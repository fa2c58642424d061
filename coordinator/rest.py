"""The part of a query above the privacy line, in a DuckDB that can reach nothing.

What it sees is noisy already or public; the lock-down protects the coordinator, not people.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb
import numpy as np

from privacy.errors import ConstructRefused, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

_LOCKED_DOWN: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "temp_directory": "",
}
_WATCH_S = 0.1  # between looks at what is late
_REMEMBERED = 1_000  # statements that were bound


class RestEngine:
    """One in-memory database; each session has a connection and temporary tables of its own, so many may be open."""

    def __init__(self, *, memory_limit: str = "2GB", threads: int = 2) -> None:
        settings = _LOCKED_DOWN | {"memory_limit": memory_limit, "threads": str(threads)}
        self._database = duckdb.connect(":memory:", config=settings)
        self._database.execute("SET lock_configuration = true")
        self._lock = threading.Lock()  # guards what follows and the opening of connections
        self._open: dict[duckdb.DuckDBPyConnection, float] = {}  # and when each is late, of time.monotonic()
        self._bound: set[tuple[str, tuple[tuple[str, pa.Schema], ...]]] = set()
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="rest-watch", daemon=True).start()

    @contextmanager
    def session(self, *, timeout_s: float) -> Iterator[Session]:
        """Statements that together may take `timeout_s`; for one thread."""
        with self._lock:
            connection = self._database.cursor()
            self._open[connection] = time.monotonic() + timeout_s
        try:
            yield Session(connection)
        finally:
            with self._lock:
                del self._open[connection]
                connection.close()

    def bind(self, sql: str, tables: Mapping[str, pa.Schema], *, timeout_s: float) -> None:
        """Check names and types of one SELECT over `tables`; once, for queries differ mostly below the line.

        Raises:
            ConstructRefused: DuckDB cannot bind it, or it is no SELECT.
        """
        known = (sql, tuple(tables.items()))
        if known in self._bound:
            return
        with self.session(timeout_s=timeout_s) as session:
            session.bind(sql, **{name: schema.empty_table() for name, schema in tables.items()})
        with self._lock:
            if len(self._bound) >= _REMEMBERED:
                self._bound.clear()
            self._bound.add(known)

    def _watch(self) -> None:
        """Interrupt what is late. One thread for all: to start one for each session takes longer than to bind."""
        while not self._closed.wait(_WATCH_S):
            now = time.monotonic()
            with self._lock:
                for connection, late in self._open.items():
                    if now > late:
                        connection.interrupt()

    def close(self) -> None:
        """Interrupt what runs."""
        self._closed.set()
        with self._lock:
            for connection in self._open:
                connection.interrupt()


class Session:
    """One connection. Its methods block, and raise

    ConstructRefused: the SQL is no SELECT, or DuckDB cannot bind or compute it.
    UnavailableError: the session's time is over, or the coordinator stops.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def bind(self, sql: str, **tables: pa.Table) -> None:
        """Check names and types of one SELECT over `tables`, without computing anything."""
        with _typed_errors():
            self._bound(sql, tables)

    def run(self, sql: str, **tables: pa.Table) -> pa.Table:
        """The result of one SELECT over `tables`."""
        with _typed_errors():
            return self._bound(sql, tables).to_arrow_table()

    def numbers(self, sql: str, **tables: pa.Table) -> list[NDArray[np.float64]]:
        """The columns of one SELECT of numbers over `tables`; NaN for NULL.

        `run` has DuckDB bind the statement twice, the second time to describe it as Arrow.
        """
        with _typed_errors():
            found = self._connection.execute(self._select(sql, tables)).fetchnumpy()
        return [np.ma.filled(np.ma.asarray(column, dtype=np.float64), np.nan) for column in found.values()]

    def _bound(self, sql: str, tables: Mapping[str, pa.Table]) -> duckdb.DuckDBPyRelation:
        return self._connection.sql(self._select(sql, tables))

    def _select(self, sql: str, tables: Mapping[str, pa.Table]) -> duckdb.Statement:
        # Anything but a SELECT could leave something behind in the shared database.
        statements = self._connection.extract_statements(sql)
        if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
            raise ConstructRefused("The part of the query above the aggregates is no single SELECT.")
        for name, table in tables.items():
            self._connection.register(name, table)
        return statements[0]


@contextmanager
def _typed_errors() -> Iterator[None]:
    try:
        yield
    except duckdb.InterruptException:
        raise UnavailableError(
            "The part of the query above the aggregates takes too long.", remedy="Ask for fewer groups."
        ) from None
    except duckdb.Error as fault:  # its text may repeat values
        raise ConstructRefused(
            f"The part of the query above the aggregates cannot be computed ({type(fault).__name__}).",
            remedy="Check types and ranges of the expressions over aggregates.",
        ) from None
