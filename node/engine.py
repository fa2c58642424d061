"""The embedded engine: one locked-down DuckDB that sees the configured sources and nothing else.

Open → describe the sources → make the views → run SELECTs. After `open` no setting can be changed, no other file
be read or written, no extension be loaded and no Python variable be seen.

Where snapshots are prepared, the one that serves sees their folder and no source; the one that prepares sees the
sources and the file that it makes.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from node.config import DatabaseSource, NodeConfig, Source
from node.sources import Types, alias, describe, identifier, literal, scan
from node.views import engine_type, view
from privacy.catalog import Catalog, PublicTable
from privacy.errors import ConfigError, DataError, InternalError

_FIXED = (
    "SET python_enable_replacements = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET allow_community_extensions = false",
    "SET allow_persistent_secrets = false",
    "SET TimeZone = 'UTC'",
)
_WATCH_S = 0.1  # between looks at what is late
# DuckDB 2.0 makes of TRY_CAST over CSV a conversion by the reader, which fails on the first row that does not convert.
_UNSOUND_OPTIMIZERS = frozenset({"type_pushdown"})
_LOCK = ("SET enable_external_access = false", "SET lock_configuration = true")


class Engine:
    """Use `open`; `run` may be called from several threads at once.

    Attributes:
        name: of the engine and its version.
        types: for each private table, the local columns and their types.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        config: NodeConfig,
        sources: dict[str, Source],
        types: dict[str, Types],
    ) -> None:
        self.name = f"DuckDB {duckdb.__version__}"
        self.types = types
        self._connection = connection
        self._catalog = config.catalog
        self._sources = sources
        self._time_limit_s = config.engine.time_limit_s
        self._mutex = threading.Lock()
        self._running: dict[duckdb.DuckDBPyConnection, float] = {}  # and when each is late, of time.monotonic()
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="engine-watch", daemon=True).start()

    @staticmethod
    def open(config: NodeConfig, *, makes: Path | None = None) -> Engine:
        """A locked engine over the sources of `config`, without views yet.

        Args:
            makes: a DuckDB file that it may write to, as the database `made`.

        Raises:
            DataError: a source cannot be read as what it is configured to be.
            ConfigError: a setting or a public table that DuckDB cannot take.
        """
        attached = {
            f"The database of table `{source.table}`": f"{literal(str(source.database))} AS {identifier(alias(source))}"
            " (READ_ONLY)"
            for source in config.sources.values()
            if isinstance(source, DatabaseSource)
        }
        if makes is not None:
            attached["The new snapshot"] = f"{literal(str(makes))} AS made"
        files = [literal(str(file)) for source in config.sources.values() for file in source.files]
        return _opened(config, config.sources, attached, f"SET allowed_paths = [{', '.join(files)}]")

    @staticmethod
    def over_snapshots(config: NodeConfig, folder: Path) -> Engine:
        """A locked engine that can `attach` the files in `folder`, and sees no source.

        Raises:
            ConfigError: as `open`.
        """
        return _opened(config, {}, {}, f"SET allowed_directories = [{literal(str(folder))}]")

    def describe_again(self) -> dict[str, Types]:
        """The columns and types that the sources have now."""
        with self._cursor() as cursor:
            return {name: describe(cursor, source) for name, source in self._sources.items()}

    def scan(self, table: str) -> str:
        """What stands behind FROM to read the local rows of `table` as they are."""
        return scan(self._sources[table], self.types[table])

    def create_view(self, table: str, *, drop_null_units: bool) -> None:
        """Make or replace the view of a private table whose structure is sound."""
        source, standard = self._sources[table], self._catalog.private_tables[table]
        scanned = self.scan(table)
        statement = view(table, standard, source.columns, self.types[table], scanned, drop_null_units=drop_null_units)
        with self._cursor() as cursor, _fixed_error():
            cursor.execute(statement)

    def attach(self, file: Path, name: str) -> None:
        """Let queries see the tables of a DuckDB file as `name.…`, and those of the standard as views over them.

        Raises:
            InternalError: it cannot be read.
        """
        with self._cursor() as cursor, _fixed_error():
            cursor.execute(f"ATTACH {literal(str(file))} AS {identifier(name)} (READ_ONLY)")
            for table in self._catalog.private_tables:
                rows = f"SELECT * FROM {identifier(name)}.{identifier(table)}"
                cursor.execute(f"CREATE OR REPLACE VIEW {identifier(table)} AS {rows}")

    def detach(self, name: str) -> None:
        """Forget what `attach` brought; not while it is read."""
        with self._cursor() as cursor, _fixed_error():
            cursor.execute(f"DETACH {identifier(name)}")

    def make(self, *statements: str, places: pa.Table | None = None) -> None:
        """Change the database `made`, all statements or none; they can read `places` as `"#places"`.

        Raises:
            InternalError: as `run`.
        """
        with self._cursor() as cursor, _fixed_error(), self._interruptible(cursor):
            if places is not None:
                cursor.register("#places", places)
            cursor.execute("BEGIN TRANSACTION")
            for statement in statements:
                cursor.execute(statement)
            cursor.execute("COMMIT")

    def run(self, sql: str, *, long: bool = False) -> pa.Table:
        """The result of one SELECT.

        Args:
            long: it may have thousands of rows.

        Raises:
            InternalError: anything went wrong, or it took too long; the text says nothing of the data.
        """
        with self._cursor() as cursor, _fixed_error(), self._interruptible(cursor):
            statements = cursor.extract_statements(sql)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise ValueError("not one SELECT")
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            if long:
                return cursor.sql(statements[0]).to_arrow_table()
            # cursor.sql() binds the statement once to describe it and once to run it, a third of a small query.
            cursor.execute(statements[0])
            return _fetched(cursor)

    def interrupt(self) -> None:
        """Stop every query that runs, and start none any more."""
        with self._mutex:
            self._closed.set()
            for cursor in self._running:
                cursor.interrupt()

    def close(self) -> None:
        self.interrupt()
        self._connection.close()

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._mutex:
            if self._closed.is_set():
                raise InternalError("The node is stopping.")
            cursor = self._connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    @contextlib.contextmanager
    def _interruptible(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
        with self._mutex:
            self._running[cursor] = time.monotonic() + self._time_limit_s
        try:
            yield
        finally:
            with self._mutex:
                del self._running[cursor]

    def _watch(self) -> None:
        """Interrupt what is late. One thread for all: to start one for each query costs as much as planning it."""
        while not self._closed.wait(_WATCH_S):
            now = time.monotonic()
            with self._mutex:
                for cursor, late in self._running.items():
                    if now > late:
                        cursor.interrupt()


def _fetched(cursor: duckdb.DuckDBPyConnection) -> pa.Table:
    """The result as Arrow, by way of Python; sums may exceed 64 bits."""
    rows = cursor.fetchall()
    columns = {}
    for place, (name, kind, *_) in enumerate(cursor.description or ()):
        wide = pa.decimal128(38, 0) if str(kind) == "HUGEINT" else None
        columns[str(name)] = pa.array([row[place] for row in rows], wide)
    return pa.table(columns)


@contextlib.contextmanager
def _fixed_error() -> Iterator[None]:
    """Engine messages quote values ("could not convert 'Zhang San' …"): none of their text gets further."""
    try:
        yield
    except Exception:
        raise InternalError(
            "The node's engine could not finish the query.",
            remedy="Ask the node's operator to run `weir node check` and to look at the engine's limits.",
        ) from None


def _opened(config: NodeConfig, sources: dict[str, Source], attached: dict[str, str], allowed: str) -> Engine:
    config.temp_directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # spilled rows lie there
    connection = duckdb.connect(":memory:")
    try:
        for what, database in attached.items():
            _attach(connection, what, database)
        _configure(connection, config, allowed)
        _create_public_tables(connection, config.catalog)
        types = {name: describe(connection, source) for name, source in sources.items()}
    except BaseException:
        connection.close()
        raise
    return Engine(connection, config, sources, types)


def _configure(connection: duckdb.DuckDBPyConnection, config: NodeConfig, allowed: str) -> None:
    try:
        for statement in (*_FIXED, *_without_unsound(connection), *_settings(config), allowed, *_LOCK):
            connection.execute(statement)
    except duckdb.Error as fault:
        raise ConfigError(f"`engine`: DuckDB refuses a setting: {fault}") from None


def _without_unsound(connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """The statement that switches off what this version of DuckDB gets wrong."""
    there = {name for (name,) in connection.execute("SELECT name FROM duckdb_optimizers()").fetchall()}
    unsound = sorted(_UNSOUND_OPTIMIZERS & there)
    return (f"SET disabled_optimizers = {literal(','.join(unsound))}",) if unsound else ()


def _settings(config: NodeConfig) -> tuple[str, ...]:
    return (
        f"SET memory_limit = {literal(config.engine.memory_limit)}",
        f"SET threads = {config.engine.threads}",
        f"SET temp_directory = {literal(str(config.temp_directory))}",
    )


def _attach(connection: duckdb.DuckDBPyConnection, what: str, database: str) -> None:
    try:
        connection.execute(f"ATTACH {database}")
    except duckdb.Error:
        raise DataError(
            f"{what} cannot be opened.",
            remedy="Check that it is a DuckDB database and that no other process has it open for writing.",
        ) from None


def _create_public_tables(connection: duckdb.DuckDBPyConnection, catalog: Catalog) -> None:
    for name, table in catalog.public_tables.items():
        try:
            _create_public_table(connection, name, table)
        except duckdb.Error as fault:
            raise ConfigError(f"The public table `{name}` of the catalog cannot be made: {fault}") from None


def _create_public_table(connection: duckdb.DuckDBPyConnection, name: str, table: PublicTable) -> None:
    columns = ", ".join(f"{identifier(column)} {engine_type(spec)}" for column, spec in table.columns.items())
    places = ", ".join("?" for _ in table.columns)
    connection.execute(f"CREATE TABLE {identifier(name)} ({columns})")
    rows = [[value + 0.0 if isinstance(value, float) else value for value in row] for row in table.rows]  # no −0.0
    connection.executemany(f"INSERT INTO {identifier(name)} VALUES ({places})", rows)
