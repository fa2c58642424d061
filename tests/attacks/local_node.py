"""A node in this process, wired as the daemon wires it, over Parquet files that a test writes.

Shared by tests/attacks and tests/statistics.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from node import wire
from node.config import load_config
from node.engine import Engine
from node.guard import Asked
from node.prepare import prepare
from node.prepared import PreparedData
from node.release import Released, Releases
from node.serve import open_engine, open_ledger, open_releases
from privacy.bounding import bounded_sql
from privacy.fragment import Fragment
from privacy.unit_sums import UnitSums

SECRET = "5ec2e7"  # of the choice of groups; both of two neighbouring nodes must have the same


@dataclass(frozen=True)
class LocalNode:
    """The parts of a node that a test asks.

    Attributes:
        releases: guard, ledger, engine and noise, as `weir node serve` puts them together.
        stored: the sums that its snapshot holds ready.
    """

    releases: Releases
    engine: Engine
    stored: tuple[UnitSums, ...] = ()

    def exact(self, fragment: Fragment, *, sql_of: Fragment | None = None, large: bool = False) -> pa.Table:
        """The exact statistics behind a release, through the node's own SQL, views and engine.

        Args:
            sql_of: the fragment whose bounding is to be used instead, to plant a bug.
            large: the SQL that nodes of large tables run.
        """
        return self.engine.run(bounded_sql(sql_of or fragment, secret=SECRET, large=large, stored=self.stored))

    def release(self, asked: Asked) -> Released:
        return self.releases.release(asked)

    @property
    def epsilon_spent(self) -> float:
        return float(wire.budget(self.releases.budget()).epsilon_spent)


def write_node(
    folder: Path,
    catalog: str,
    tables: Mapping[str, pa.Table | bytes],
    *,
    province: str,
    epsilon_total: float = 1e6,
    epsilon_per_query: float = 1e5,
) -> Path:
    """node.toml with everything that it names, below `folder`.

    Args:
        tables: rows of each private table, or the bytes of a CSV file.
    """
    for part in ("nodes", "data"):
        (folder / part).mkdir(parents=True)
    (folder / "catalog.toml").write_text(catalog, encoding="utf-8")
    sources = ""
    for name, rows in tables.items():
        file = folder / "data" / (f"{name}.csv" if isinstance(rows, bytes) else f"{name}.parquet")
        if isinstance(rows, bytes):
            file.write_bytes(rows)
        else:
            pq.write_table(rows, file)
        sources += f'[tables.{name}]\nfiles = ["../data/{file.name}"]\n'
    config = folder / "nodes" / f"{province}.toml"
    config.write_text(
        f'province = "{province}"\ncatalog = "../catalog.toml"\nlisten = "127.0.0.1:0"\n'
        f'ledger = "../state/{province}.ledger"\n[engine]\nthreads = 1\nmemory_limit = "500MB"\n'
        f"[budget]\nepsilon_total = {epsilon_total}\nepsilon_per_query = {epsilon_per_query}\n{sources}"
    )
    return config


@contextlib.contextmanager
def opened(config_path: Path) -> Iterator[LocalNode]:
    """The node of `config_path`, its data verified."""
    config = load_config(config_path)
    with contextlib.ExitStack() as held:
        ledger = held.enter_context(contextlib.closing(open_ledger(config)))
        engine = held.enter_context(contextlib.closing(Engine.open(config)))
        yield LocalNode(open_releases(config, ledger, engine), engine)


@contextlib.contextmanager
def prepared_node(
    folder: Path, catalog: str, tables: Mapping[str, pa.Table | bytes], *, province: str, sums: str
) -> Iterator[LocalNode]:
    """Write a node, prepare its snapshot with the `[snapshots.sums]` of `sums`, and open it over that."""
    path = write_node(folder, catalog, tables, province=province)
    with path.open("a") as file:
        file.write(f'[snapshots]\nfolder = "../state/snapshots"\n{sums}')
    config = load_config(path)
    with contextlib.ExitStack() as held:
        ledger = held.enter_context(contextlib.closing(open_ledger(config)))
        prepare(config, secret=ledger.secret)
        releases = open_releases(config, ledger, held.enter_context(contextlib.closing(open_engine(config))))
        prepare(config, secret=SECRET)
        engine = held.enter_context(contextlib.closing(open_engine(config)))
        data = PreparedData(engine, config, secret=SECRET)
        data.verify(data.snapshot())
        yield LocalNode(releases, engine, data.stored)


@contextlib.contextmanager
def local_node(
    folder: Path, catalog: str, tables: Mapping[str, pa.Table | bytes], *, province: str, **budget: float
) -> Iterator[LocalNode]:
    """Write a node and open it."""
    with opened(write_node(folder, catalog, tables, province=province, **budget)) as node:
        yield node
