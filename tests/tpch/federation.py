"""TPC-H as a federation's folder: the generator's rows, divided over four nodes by customer."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import duckdb

HERE = Path(__file__).parent
SCALE = "0.01"  # 1,500 customers, 15,000 orders, 60,175 items
PRIVATE = ("customer", "orders", "lineitem")
PUBLIC = ("supplier", "part", "partsupp", "nation", "region")


def generate(folder: Path, *, scale: str = SCALE) -> duckdb.DuckDBPyConnection:
    """A DuckDB over the tables as the generator made them, in `folder`.

    TPC-H's lineitem has no customer. Here each node's own view adds the order's, as `l_custkey`.
    """
    program = Path(sys.executable).parent / "tpchgen-cli"
    made = [program, "parquet", "--scale-factor", scale, "--output-dir", folder, "--num-threads", "1", "--quiet"]
    subprocess.run(made, check=True)
    connection = duckdb.connect(":memory:")
    for table in (*PUBLIC, "customer", "orders"):
        connection.execute(f"CREATE TABLE {table} AS FROM '{folder}/{table}.parquet'")
    connection.execute(
        f"CREATE TABLE lineitem AS SELECT o_custkey AS l_custkey, l.* FROM '{folder}/lineitem.parquet' AS l "
        "JOIN orders ON o_orderkey = l_orderkey"
    )
    return connection


def catalog_toml(connection: duckdb.DuckDBPyConnection) -> str:
    """The standard: catalog.toml with the rows of the longer public tables."""
    text = (HERE / "catalog.toml").read_text()
    tables = tomllib.loads(text)["tables"]
    for name in (table for table in PUBLIC if "rows" not in tables[table]):
        columns = tables[name]["columns"]
        items = ", ".join(f"{column}::{known['type']}" for column, known in columns.items())
        rows = connection.execute(f"SELECT {items} FROM {name} ORDER BY ALL").fetchall()
        header = f"[tables.{name}]\n"
        text = text.replace(header, f"{header}rows = {json.dumps(rows)}\n")
    return text


def write_federation(folder: Path, connection: duckdb.DuckDBPyConnection) -> Path:
    """A federation's folder over the rows in `connection`, with a budget that lets noise vanish."""
    (folder / "nodes").mkdir(parents=True)
    catalog = catalog_toml(connection)
    (folder / "catalog.toml").write_text(catalog)
    nodes = tomllib.loads(catalog)["region"]["provinces"]
    addresses = "".join(f'{node} = "127.0.0.1:0"\n' for node in nodes)
    (folder / "coordinator.toml").write_text(
        f'catalog = "catalog.toml"\nlisten = "127.0.0.1:0"\ndeadline_s = 60\n[nodes]\n{addresses}'
    )
    for number, node in enumerate(nodes):
        data = folder / "data" / node
        data.mkdir(parents=True)
        tables = ""
        for table in PRIVATE:
            rows = f"SELECT * FROM {table} WHERE {table[0]}_custkey % {len(nodes)} = {number}"
            connection.execute(f"COPY ({rows}) TO '{data / table}.parquet' (FORMAT parquet)")
            tables += f'[tables.{table}]\nfiles = ["../data/{node}/{table}.parquet"]\n'
        (folder / "nodes" / f"{node}.toml").write_text(
            f'province = "{node}"\ncatalog = "../catalog.toml"\nlisten = "127.0.0.1:0"\n'
            f'ledger = "../state/{node}.ledger"\n[engine]\nthreads = 1\n'
            f"[budget]\nepsilon_total = 1e9\nepsilon_per_query = 1e7\n{tables}"
        )
    return folder
