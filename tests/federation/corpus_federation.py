"""The corpus federation as a folder: its rows, made by tests/corpus/rows.py, and its configuration.

Tests start daemons on it in conftest.py, benchmarks in benchmarks/overhead.py.
"""

import importlib.util
import shutil
from pathlib import Path

import duckdb

HERE = Path(__file__).parent
CORPUS = HERE.parent / "corpus"
PROVINCES = ("shanghai", "jiangsu", "zhejiang", "anhui")
PEOPLE = 2000
# No node knows who is in the others: in each a person is another one (see corpus/README.md).
BY_NODE = "SELECT * REPLACE (person_id * 10 + ascii(province[1]) % 10 AS person_id) FROM rows"


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
