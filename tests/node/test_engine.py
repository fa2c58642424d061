from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from node.config import load_config
from node.engine import Engine
from privacy.errors import DataError, InternalError, WeirError
from tests.node.makers import Folder

ENDLESS = "SELECT count(*) FROM range(1000000000) a, range(1000000) b WHERE hash(a.range, b.range) = 1"


@pytest.fixture
def engine(folder: Folder) -> Iterator[Engine]:
    opened = Engine.open(load_config(folder.config))
    for table in opened.types:
        opened.create_view(table, drop_null_units=False)
    yield opened
    opened.close()


def test_a_select_over_views_and_public_tables_is_answered(engine: Engine) -> None:
    assert engine.run("SELECT count(*) AS n FROM visits").to_pydict() == {"n": [400]}
    assert engine.run("SELECT sum(level) AS s FROM hospitals").to_pydict() == {"s": [3]}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM read_parquet('{other}')",
        "SELECT * FROM '{other}'",
        "SELECT * FROM 'http://127.0.0.1/x.parquet'",
        "SET memory_limit = '1TB'",
        "SET enable_external_access = true",
        "RESET allowed_paths",
        "PRAGMA threads = 64",
        "COPY visits TO '{other}.csv'",
        "COPY visits TO '{temp}/out.csv'",
        "EXPORT DATABASE '{temp}'",
        "ATTACH '{other}.duckdb'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CREATE TABLE stolen AS SELECT * FROM visits",
        "DROP VIEW visits",
        "INSERT INTO hospitals VALUES ('C', 3)",
        "SELECT 1; SELECT 2",
        "EXPLAIN SELECT 1",
        "CALL pragma_version()",
        "SELECT * FROM secret_frame",
        "SELECT getenv('HOME')",
        "not SQL",
        "",
    ],
)
def test_nothing_else_gets_through(engine: Engine, folder: Folder, sql: str) -> None:
    secret_frame = {"a": [1]}  # DuckDB's Python client would find it by name
    other = folder.data / "other.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT 1 AS a) TO '{other}'")
    before = _files(folder.path)
    with pytest.raises(InternalError, match="could not finish"):
        engine.run(sql.format(other=other, temp=folder.path / "state" / "east.ledger.tmp"))
    assert _files(folder.path) == before
    assert secret_frame


def _files(path: Path) -> set[Path]:
    return set(path.rglob("*"))


def test_error_texts_carry_no_data(engine: Engine) -> None:
    with pytest.raises(InternalError) as caught:
        engine.run("SELECT CAST(kind AS INTEGER) FROM visits")
    assert "patient" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_the_time_limit_interrupts(folder: Folder) -> None:
    config = load_config(folder.config)
    engine = Engine.open(replace(config, engine=config.engine.model_copy(update={"time_limit_s": 0.2})))
    start = time.monotonic()
    with pytest.raises(InternalError):
        engine.run(ENDLESS)
    assert time.monotonic() - start < 20
    assert engine.run("SELECT 1 AS a").num_rows == 1
    engine.close()


def test_stopping_interrupts_and_starts_nothing_more(engine: Engine) -> None:
    caught: list[WeirError] = []

    def run() -> None:
        try:
            engine.run(ENDLESS)
        except WeirError as fault:
            caught.append(fault)

    worker = threading.Thread(target=run)
    worker.start()
    deadline = time.monotonic() + 30
    while worker.is_alive() and time.monotonic() < deadline:
        engine.interrupt()  # again, in case the query had not begun
        worker.join(timeout=0.05)
    assert [type(fault) for fault in caught] == [InternalError]
    with pytest.raises(InternalError):
        engine.run("SELECT 1")


def test_a_broken_source_is_a_data_error(folder: Folder) -> None:
    (folder.data / "visits.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="`visits` cannot be read"):
        Engine.open(load_config(folder.config))


def test_a_duckdb_file_is_read_only(folder: Folder) -> None:
    database = folder.data / "local.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE TABLE people AS SELECT 7 AS person_id, true AS insured")
    folder.edit('files = ["../data/residents.parquet"]', 'database = "../data/local.duckdb"\ntable = "people"')
    engine = Engine.open(load_config(folder.config))
    engine.create_view("residents", drop_null_units=False)
    assert engine.run("SELECT * FROM residents").to_pylist() == [{"person_id": 7, "insured": True}]
    with pytest.raises(InternalError):
        engine.run("INSERT INTO source_residents.people VALUES (8, false)")
    engine.close()


def test_a_duckdb_file_without_the_table_is_a_data_error(folder: Folder) -> None:
    database = folder.data / "local.duckdb"
    duckdb.connect(str(database)).close()
    folder.edit('files = ["../data/residents.parquet"]', 'database = "../data/local.duckdb"\ntable = "people"')
    with pytest.raises(DataError, match="residents"):
        Engine.open(load_config(folder.config))


def test_a_file_that_is_no_database_is_a_data_error(folder: Folder) -> None:
    (folder.data / "local.duckdb").write_bytes(b"x" * 5000)
    folder.edit('files = ["../data/residents.parquet"]', 'database = "../data/local.duckdb"\ntable = "people"')
    with pytest.raises(DataError, match="cannot be opened"):
        Engine.open(load_config(folder.config))


@pytest.mark.parametrize(
    "sql",
    [
        "SET threads = 1",
        "RESET memory_limit",
        "ATTACH '{other}'",
        "COPY visits TO '{other}'",
        "INSTALL x",
        "LOAD httpfs",
    ],
)
def test_the_lock_holds_below_the_check_of_statements_too(engine: Engine, folder: Folder, sql: str) -> None:
    cursor = engine._connection.cursor()
    with pytest.raises(duckdb.Error, match=r"locked|disabled"):
        cursor.execute(sql.format(other=folder.data / "other.parquet"))


def test_only_the_columns_that_a_query_needs_are_read(engine: Engine) -> None:
    explained = engine._connection.cursor().execute("EXPLAIN SELECT kind, sum(cost) FROM visits GROUP BY kind")
    plan = str(explained.fetchall())
    assert "cost" in plan
    assert "person_id" not in plan
    assert "age" not in plan
