"""The part of a query above the privacy line, in a DuckDB that can reach nothing.

What it sees is noisy already or public; the lock-down protects the coordinator, not people.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import duckdb

from privacy.errors import ConstructRefused, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

_LOCKED_DOWN: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "temp_directory": "",
}


class RestEngine:
    """One in-memory database; each run has a connection and temporary tables of its own, so runs may be concurrent."""

    def __init__(self, *, memory_limit: str = "2GB", threads: int = 2) -> None:
        settings = _LOCKED_DOWN | {"memory_limit": memory_limit, "threads": str(threads)}
        self._database = duckdb.connect(":memory:", config=settings)
        self._database.execute("SET lock_configuration = true")
        self._lock = threading.Lock()  # guards _running and the opening of connections
        self._running: set[duckdb.DuckDBPyConnection] = set()

    def run(self, sql: str, tables: Mapping[str, pa.Table], *, timeout_s: float) -> pa.Table:
        """The result of one SELECT over `tables`; blocks.

        Raises:
            ConstructRefused: it is no SELECT, or DuckDB cannot compute it.
            UnavailableError: it takes longer than `timeout_s`, or the coordinator stops.
        """
        with self._lock:
            connection = self._database.cursor()
            self._running.add(connection)
        alarm = threading.Timer(max(timeout_s, 0.0), connection.interrupt)
        alarm.start()
        try:
            _check_select(connection, sql)
            for name, table in tables.items():
                connection.register(name, table)
            return connection.sql(sql).to_arrow_table()
        except duckdb.InterruptException:
            raise UnavailableError(
                "The part of the query above the aggregates takes too long.", remedy="Ask for fewer groups."
            ) from None
        except duckdb.Error as fault:
            raise ConstructRefused(
                f"The part of the query above the aggregates cannot be computed ({type(fault).__name__}).",
                remedy="Check types and ranges of the expressions over aggregates.",
            ) from None
        finally:
            alarm.cancel()
            with self._lock:
                self._running.discard(connection)
            connection.close()

    def close(self) -> None:
        """Interrupt what runs."""
        with self._lock:
            for connection in self._running:
                connection.interrupt()


def _check_select(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    # Anything else could leave something behind in the shared database.
    kinds = [statement.type for statement in connection.extract_statements(sql)]
    if kinds != [duckdb.StatementType.SELECT]:
        raise ConstructRefused("The part of the query above the aggregates is no single SELECT.")
