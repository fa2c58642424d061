"""One node over one table, as a federation's folder: with a prepared snapshot, or reading the file at each question."""

from __future__ import annotations

from pathlib import Path

from benchmarks import bounded, machine
from benchmarks.accuracy.cases import Subject
from node.serve import prepare_snapshot

_WORDS = 'description = { en = "-", zh = "-" }'


def write_federation(folder: Path, subject: Subject, file: Path, *, prepared: bool) -> Path:
    """`folder` with catalog, coordinator and node, whose snapshot is made if it is `prepared`."""
    (folder / "nodes").mkdir(parents=True)
    (folder / "catalog.toml").write_text(catalog(subject), encoding="utf-8")
    (folder / "coordinator.toml").write_text(bounded.COORDINATOR)
    node = folder / "nodes" / "east.toml"
    node.write_text(_node(subject, file, prepared=prepared))
    if prepared:
        prepare_snapshot(node, on_step=lambda *_: None)
    return folder


def catalog(subject: Subject) -> str:
    """The regional standard: what all engines are told of the table."""
    keys = "".join(
        f'{name} = {{ type = "VARCHAR", values = {list(values)}, {_WORDS} }}\n' for name, values in subject.keys.items()
    )
    measures = "".join(
        f'{name} = {{ type = "{found.sql_type}", bounds = [0, {found.highest}], grid = {found.grid}, {_WORDS} }}\n'
        if found.sql_type == "DOUBLE"
        else f'{name} = {{ type = "{found.sql_type}", bounds = [0, {found.highest}], {_WORDS} }}\n'
        for name, found in subject.measures.items()
    )
    return f"""
[region]
name = "Peers"
version = "1"
{_WORDS}
provinces = ["east"]

[tables.{subject.name}]
access = "private"
{_WORDS}
unit = "unit"
unit_column = "{subject.unit}"
span = 1
max_rows = {subject.max_rows}
max_groups = {subject.max_groups}

[tables.{subject.name}.columns]
{subject.unit} = {{ type = "BIGINT", {_WORDS} }}
{keys}{measures}"""


def _node(subject: Subject, file: Path, *, prepared: bool) -> str:
    sums = f"[snapshots.sums.{subject.name}]\nkeys = {[[key] for key in subject.keys]}\n"
    snapshots = f'[snapshots]\nfolder = "../state/snapshots"\n{sums}' if prepared else ""
    return f"""
province = "east"
catalog = "../catalog.toml"
listen = "127.0.0.1:0"
ledger = "../state/east.ledger"

[engine]
threads = {machine.cores()}
large_tables = false

[budget]
epsilon_total = 1e6
epsilon_per_query = 2.0

[tables.{subject.name}]
files = ["{file.resolve()}"]

{snapshots}"""
