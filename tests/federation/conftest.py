"""The corpus federation as real daemons, four nodes and a coordinator, for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import weir
from tests.federation.corpus_federation import BY_NODE, fill, write_federation


@pytest.fixture(scope="session")
def union() -> Iterator[duckdb.DuckDBPyConnection]:
    """Plain DuckDB over the union of the nodes."""
    with duckdb.connect(":memory:") as connection:
        fill(connection)
        yield connection


@pytest.fixture(scope="session")
def by_node(union: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """The same, where a person is another one in each node: no node knows who is in the others (see corpus/README.md)."""
    with duckdb.connect(":memory:") as connection:
        for table in ("visits", "residents", "hospitals"):
            rows = union.table(table).to_arrow_table()
            connection.execute(f"CREATE TABLE {table} AS {'FROM rows' if table == 'hospitals' else BY_NODE}")
            del rows
        yield connection


@pytest.fixture(scope="session")
def rich(union: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[weir.Connection]:
    """A federation whose budget lets noise vanish: ε = 1e6 a query."""
    folder = tmp_path_factory.mktemp("rich") / "federation"
    with weir.up(write_federation(folder, union, epsilon_total=1e9, epsilon_per_query=1e7)) as connection:
        yield connection


@pytest.fixture
def poor(union: duckdb.DuckDBPyConnection, tmp_path: Path) -> Iterator[weir.Connection]:
    """A fresh federation with a small budget: ε = 2 in all, 1 a query, at each node."""
    with weir.up(
        write_federation(tmp_path / "federation", union, epsilon_total=2.0, epsilon_per_query=1.0)
    ) as connection:
        yield connection
