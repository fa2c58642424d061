"""`weir node prepare`: the sources of a node → a snapshot laid out for bounded queries.

One DuckDB file: the rows of each private table as the standard has them, sorted by unit, and the sums of each unit that
node.toml names (privacy/unit_sums.py). What the guarantee rests on is verified on the way, so a daemon that serves a
snapshot starts at once.

The file grows under another name, a step at a time, each in a transaction that also notes the step: what was done
before an interruption is not done again. It gets its own name when it is whole, and then the manifest names it.

Where the sources are those of the current snapshot and more files, the new one is a copy of it to which the rows of the
new files are added; sums are made anew for the units in these files alone.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from node.config import FileSource, NodeConfig, PreparedPlace, Source
from node.data import prepare_view
from node.engine import Engine
from node.finding import refuse_errors_by_place
from node.manifest import Identity, Manifest, layout_digest, read_manifest, write_manifest
from node.promises import broken_promises
from node.snapshot import digest_of, identity_of
from node.sources import identifier, literal
from privacy.catalog import PrivateTable
from privacy.errors import ConfigError, DataError
from privacy.layout import Stored, layout
from privacy.unit_sums import unit_sums_sql

OnStep = Callable[[str, int, int], None]  # what is being done, which step it is, of how many
_NO_LIMIT_S = 30 * 86_400.0


def prepare(config: NodeConfig, *, secret: str, on_step: OnStep = lambda step, number, of: None) -> Manifest:
    """Make the snapshot of the sources as they are now; nothing is done where it is there.

    Raises:
        ConfigError: a key or an aggregate that is to be ready cannot be.
        DataError: the sources do not meet the standard, or they changed meanwhile.
    """
    place = config.prepared
    if place is None:
        raise ConfigError(
            "node.toml has no [snapshots].", remedy='Add it: folder = "…" says where prepared snapshots go.'
        )
    place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = source_files(config)
    digest = digest_of((file for name in files for file in config.sources[name].files), secret=secret)
    made_of = layout_digest(config, secret=secret)
    current = current_manifest(place.folder, made_of)
    if current is not None and current.digest == digest:
        return current
    stored = _layout(config, place)
    sums = tuple(one.sums for one in stored)
    file = f"{digest[:32]}{made_of[:16]}.duckdb"
    manifest = Manifest(file=file, digest=digest, layout=made_of, files=files, sums=sums)
    base = current if current is not None and _is_more(current.files, files, config.sources) else None
    part = _part(place.folder, manifest, base)
    work = _Work(manifest.file, config, stored, secret, base)
    work.do(part, on_step)
    if source_files(config) != files:
        raise DataError("The source files changed while the snapshot was made.", remedy="Prepare again.")
    part.replace(place.folder / manifest.file)
    write_manifest(place.folder, manifest)
    _forget_old(place, manifest)
    return manifest


def current_manifest(folder: Path, made_of: str) -> Manifest | None:
    """The current snapshot, if it is one of this layout and its file is there.

    Raises:
        DataError: the manifest cannot be read.
    """
    found = read_manifest(folder)
    return found if found is not None and found.layout == made_of and (folder / found.file).is_file() else None


def source_files(config: NodeConfig) -> dict[str, tuple[Identity, ...]]:
    """By table, what tells whether a source file is the same.

    Raises:
        DataError: one is gone.
    """
    return {name: tuple(map(identity_of, config.sources[name].files)) for name in sorted(config.sources)}


def _layout(config: NodeConfig, place: PreparedPlace) -> tuple[Stored, ...]:
    tables = config.catalog.private_tables
    return tuple(
        stored
        for name, sums in sorted(place.sums.items())
        if tables[name].rows_per_unit is None
        for stored in layout(
            config.catalog, province=config.province, table=name, keys=sums.keys, aggregates=sums.aggregates
        )
    )


def _is_more(
    before: dict[str, tuple[Identity, ...]], now: dict[str, tuple[Identity, ...]], sources: dict[str, Source]
) -> bool:
    """Whether every file of before is there as it was, beside new ones of tables that are files."""
    return all(
        set(before[name]) <= set(now[name]) and (isinstance(source, FileSource) or before[name] == now[name])
        for name, source in sources.items()
    )


def _part(folder: Path, manifest: Manifest, base: Manifest | None) -> Path:
    """The file to work on: what an interrupted run left, a copy of `base`, or one that is not there yet."""
    part = folder / f"{manifest.file}.part"
    for other in folder.glob("*.duckdb.*"):
        if not other.name.startswith(part.name):
            other.unlink()  # of sources that are no more
    if base is not None and not part.exists():
        copy = part.with_name(f"{part.name}.copy")
        shutil.copyfile(folder / base.file, copy)
        copy.replace(part)
    return part


def _forget_old(place: PreparedPlace, manifest: Manifest) -> None:
    """Delete all but the newest `keep` of the older snapshots; a daemon that has one open reads it to the end."""
    older = [file for file in place.folder.glob("*.duckdb") if file.name != manifest.file]
    for file in sorted(older, key=lambda file: file.stat().st_mtime_ns, reverse=True)[place.keep :]:
        file.unlink()


@dataclass(frozen=True)
class _Step:
    """Something to look at, each time, or statements to run once."""

    name: str
    look: Callable[[], None] | None = None
    statements: tuple[str, ...] = ()
    places: pa.Table | None = None


@dataclass(frozen=True)
class _Work:
    """The steps that make one file.

    Attributes:
        file: the name that it will have; what tells its steps from those of the snapshot that it began as a copy of.
        base: that snapshot.
    """

    file: str
    config: NodeConfig
    stored: tuple[Stored, ...]
    secret: str
    base: Manifest | None

    def do(self, part: Path, on_step: OnStep) -> None:
        read = self.config.sources if self.base is None else self._new_sources(self.base)
        unlimited = self.config.engine.model_copy(update={"time_limit_s": _NO_LIMIT_S})
        config = replace(self.config, engine=unlimited, sources=read)
        with contextlib.closing(Engine.open(config, makes=part)) as engine:
            part.chmod(0o600)
            engine.make(f"CREATE TABLE IF NOT EXISTS {_DONE} (file VARCHAR, step VARCHAR)")
            found = engine.run(f"SELECT step FROM {_DONE} WHERE file = {literal(self.file)}")
            done = set(found.column("step").to_pylist())
            steps = [step for name in sorted(read) for step in self._steps(engine, read[name])]
            for number, step in enumerate(steps, start=1):
                on_step(step.name, number, len(steps))
                if step.look is not None:
                    step.look()
                elif step.name not in done:
                    note = f"INSERT INTO {_DONE} VALUES ({literal(self.file)}, {literal(step.name)})"
                    engine.make(*step.statements, note, places=step.places)

    def _new_sources(self, base: Manifest) -> dict[str, Source]:
        """The files that `base` does not have."""
        found: dict[str, Source] = {}
        for name, source in self.config.sources.items():
            new = tuple(file for file in source.files if identity_of(file) not in base.files[name])
            if new and isinstance(source, FileSource):
                found[name] = replace(source, files=new)
        return found

    def _steps(self, engine: Engine, source: Source) -> Iterator[_Step]:
        name = source.table
        table = self.config.catalog.private_tables[name]
        unit, view, rows = identifier(table.unit_column), identifier(name), f"made.{identifier(name)}"
        ordered = f"SELECT * FROM {view} ORDER BY {unit}"
        sums = [stored for stored in self.stored if stored.sums.table == name]
        yield _Step(f"{name}: verify the sources", look=partial(_verify, engine, source, table))
        if self.base is None:
            yield _Step(f"{name}: sort the rows by {table.unit}", statements=(f"CREATE TABLE {rows} AS {ordered}",))
            for stored in sums:
                yield self._sum(stored, rows)
            return
        touched = f"made.{identifier(f'#touched_{name}')}"
        units = f"CREATE TABLE {touched} AS SELECT DISTINCT {unit} FROM {view}"
        yield _Step(f"{name}: add the new rows", statements=(units, f"INSERT INTO {rows} {ordered}"))
        theirs = f"SELECT * FROM {rows} WHERE {unit} IN (FROM {touched})"
        yield _Step(f"{name}: verify whom they touch", look=partial(_verify_again, engine, table, name, theirs))
        for stored in sums:
            yield self._sum_again(stored, f"({theirs})", touched)
        yield _Step(f"{name}: tidy up", statements=(f"DROP TABLE {touched}",))

    def _sum(self, stored: Stored, rows: str) -> _Step:
        sums = stored.sums.within("made")
        made = f"CREATE TABLE {sums.name} AS {unit_sums_sql(sums, rows=rows, secret=self.secret)}"
        places = (f'CREATE TABLE {sums.places} AS FROM "#places"',) if sums.places is not None else ()
        return _Step(f"{sums.table}: {sums.reason}", statements=(*places, made), places=stored.places)

    def _sum_again(self, stored: Stored, rows: str, touched: str) -> _Step:
        sums = stored.sums.within("made")
        gone = f'DELETE FROM {sums.name} WHERE "#unit" IN (FROM {touched})'
        anew = f"INSERT INTO {sums.name} {unit_sums_sql(sums, rows=rows, secret=self.secret)}"
        return _Step(f"{sums.table}: {sums.reason}", statements=(gone, anew))


_DONE = 'made."#done"'


def _verify(engine: Engine, source: Source, table: PrivateTable) -> None:
    """Make the view of what is read, if it meets the standard."""
    refuse_errors_by_place(prepare_view(engine, source, table))


def _verify_again(engine: Engine, table: PrivateTable, name: str, rows: str) -> None:
    """Whether the promises hold for all rows of the units that new rows touch."""
    engine.make(f"CREATE OR REPLACE VIEW {identifier(name)} AS {rows}")
    refuse_errors_by_place(broken_promises(engine, name, table))
