"""Regions of any number of provinces: one small private table each, and real daemons over them."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from benchmarks import machine
from weir.daemon import PROGRAM, Daemon

START_S = 300.0
KINDS = ("a", "b", "c", "d", "e")

_CATALOG = """
[region]
name = "Scale"
version = "1"
description = {{ en = "A region of many provinces", zh = "多省区域" }}
provinces = [{provinces}]

[tables.visits]
access = "private"
description = {{ en = "Visits", zh = "就诊" }}
unit = "person"
unit_column = "person_id"
span = 1
max_rows = 4
max_groups = 3

[tables.visits.columns]
person_id = {{ type = "BIGINT", description = {{ en = "Person", zh = "人员" }} }}
kind = {{ type = "VARCHAR", values = [{kinds}], description = {{ en = "Kind", zh = "类别" }} }}
cost = {{ type = "DOUBLE", bounds = [0, 1000], grid = 0.01, description = {{ en = "Cost", zh = "费用" }} }}
"""

_NODE = """
province = "{province}"
catalog = "../catalog.toml"
listen = "127.0.0.1:0"
ledger = "../state/{province}.ledger"

[engine]
threads = 1
memory_limit = "{memory}"

[budget]
epsilon_total = 1e6
epsilon_per_query = 2.0

[tables.visits]
files = ["../data/{province}.parquet"]
"""


def provinces_of(number: int) -> tuple[str, ...]:
    """Their names."""
    return tuple(f"p{place:03d}" for place in range(number))


def write_region(folder: Path, *, provinces: int, rows: int, memory: str = "64MB") -> None:
    """Catalog, nodes and data.

    Args:
        rows: of each province; a person has ten.
        memory: the limit of each node's engine.
    """
    for name in ("nodes", "data"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    names = provinces_of(provinces)
    listed = {"provinces": names, "kinds": KINDS}
    quoted = {key: ", ".join(f'"{value}"' for value in values) for key, values in listed.items()}
    (folder / "catalog.toml").write_text(_CATALOG.format(**quoted), encoding="utf-8")
    with duckdb.connect() as connection:
        for place, name in enumerate(names):
            (folder / "nodes" / f"{name}.toml").write_text(_NODE.format(province=name, memory=memory))
            connection.execute(
                f"COPY (SELECT (hash(i) % {max(1, rows // 10)})::BIGINT AS person_id,"
                f" {list(KINDS)}[1 + (hash(i * 4 + 1) % {len(KINDS)})::BIGINT] AS kind,"
                " (hash(i * 4 + 2) % 100000) / 100 AS cost"
                f" FROM range({place * rows}, {(place + 1) * rows}) t(i)) TO '{folder / 'data' / name}.parquet'"
            )


@dataclass(frozen=True)
class Region:
    """The running nodes of one region.

    Attributes:
        addresses: by province.
        hosts: the processes that they run in; the last one has the `apart` provinces, if there are any.
        apart: provinces whose process has no others.
    """

    folder: Path
    addresses: dict[str, str]
    hosts: tuple[Daemon, ...]
    apart: tuple[str, ...]

    @contextmanager
    def coordinator(self, name: str, *, deadline_s: float, elsewhere: str = "") -> Iterator[tuple[Daemon, str]]:
        """A coordinator process, and its address.

        Args:
            name: of its configuration file.
            elsewhere: an address that it is told for the provinces `apart`, instead of theirs.
        """
        moved = dict.fromkeys(self.apart, elsewhere) if elsewhere else {}
        nodes = "".join(f'{name} = "{address}"\n' for name, address in (self.addresses | moved).items())
        config = self.folder / f"{name}.toml"
        config.write_text(
            f'catalog = "catalog.toml"\nlisten = "127.0.0.1:0"\ndeadline_s = {deadline_s}\n[nodes]\n{nodes}'
        )
        command = ("coordinator", "serve", "--config", str(config), "--stop-with-parent")
        daemon = Daemon("coordinator", (*PROGRAM, *command))
        try:
            yield daemon, daemon.ready(timeout_s=START_S).address
        finally:
            daemon.stop()


@contextmanager
def running(folder: Path, *, provinces: int, apart: int = 0) -> Iterator[Region]:
    """The nodes that `write_region` wrote, in as many processes as there are cores.

    Args:
        apart: how many of them get a process of their own together.
    """
    names = provinces_of(provinces)
    rest, alone = names[: provinces - apart], names[provinces - apart :]
    shares = [rest[place :: machine.cores()] for place in range(min(machine.cores(), len(rest)))]
    hosts: list[Daemon] = []
    try:
        shares += [alone] if alone else []
        files = [folder / f"addresses-{place}.json" for place in range(len(shares))]
        for file, share in zip(files, shares, strict=True):
            hosts.append(_host(folder, file, share))
        for host in hosts:
            host.ready(timeout_s=START_S)
        found = itertools.chain.from_iterable(json.loads(file.read_text()).items() for file in files)
        addresses = dict(found)
        yield Region(folder, {name: addresses[name] for name in names}, tuple(hosts), alone)
    finally:
        for host in hosts:
            host.terminate()
        for host in hosts:
            host.stop()


def _host(folder: Path, addresses: Path, provinces: Sequence[str]) -> Daemon:
    configs = [str(folder / "nodes" / f"{province}.toml") for province in provinces]
    command = (sys.executable, "-m", "benchmarks.many_nodes", str(addresses), *configs)
    return Daemon(f"host of {len(provinces)} nodes", command)
