"""The corpus federation: four real nodes and a coordinator over the rows of tests/corpus, for the tests of this folder."""

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import weir

HERE = Path(__file__).parent
CORPUS = HERE.parent / "corpus"
PROVINCES = ("shanghai", "jiangsu", "zhejiang", "anhui")
PEOPLE = 2000


def fill(connection: duckdb.DuckDBPyConnection, people: int = PEOPLE) -> None:
    """Create the union of all nodes' rows, as tests/corpus/rows.py makes them."""
    spec = importlib.util.spec_from_file_location("corpus_rows", CORPUS / "rows.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.rows(connection, people)


def write_federation(
    folder: Path, connection: duckdb.DuckDBPyConnection, *, epsilon_total: float, epsilon_per_query: float
) -> Path:
    """A federation's folder over the rows in `connection`."""
    (folder / "nodes").mkdir(parents=True)
    shutil.copy(HERE / "corpus_catalog.toml", folder / "catalog.toml")
    addresses = "".join(f'{province} = "127.0.0.1:0"\n' for province in PROVINCES)
    (folder / "coordinator.toml").write_text(
        f'catalog = "catalog.toml"\nlisten = "127.0.0.1:0"\ndeadline_s = 60\n[nodes]\n{addresses}'
    )
    for province in PROVINCES:
        data = folder / "data" / province
        data.mkdir(parents=True)
        for table in ("visits", "residents"):
            rows = f"SELECT * EXCLUDE (province) FROM {table} WHERE province = '{province}'"
            connection.execute(f"COPY ({rows}) TO '{data / table}.parquet' (FORMAT parquet)")
        (folder / "nodes" / f"{province}.toml").write_text(
            f'province = "{province}"\ncatalog = "../catalog.toml"\nlisten = "127.0.0.1:0"\n'
            f'ledger = "../state/{province}.ledger"\n[engine]\nthreads = 1\n[budget]\nepsilon_total = {epsilon_total}\n'
            f"epsilon_per_query = {epsilon_per_query}\n"
            f'[tables.visits]\nfiles = ["../data/{province}/visits.parquet"]\n'
            f'[tables.residents]\nfiles = ["../data/{province}/residents.parquet"]\n'
        )
    return folder


@pytest.fixture(scope="session")
def union() -> Iterator[duckdb.DuckDBPyConnection]:
    """Plain DuckDB over the union of the nodes."""
    with duckdb.connect(":memory:") as connection:
        fill(connection)
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
