"""node.toml: where the data lie, which standard they are held to, and how much may be learnt of them."""

from __future__ import annotations

import glob
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NoReturn, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from node.exact import ATTO, NANO, rounded_down
from node.periods import Length
from node.policy import BudgetPolicy
from privacy.catalog import Catalog, parse_catalog
from privacy.errors import ConfigError, MismatchRefused
from privacy.located_toml import line_of, parse_toml
from privacy.request import DELTA, PROJECT

FileFormat = Literal["parquet", "csv"]
_FORMATS: dict[str, FileFormat] = {".parquet": "parquet", ".csv": "csv"}
_WILDCARDS = frozenset("*?[]{}")
_Epsilon = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
_Delta = Annotated[float, Field(ge=0, le=1e-3, allow_inf_nan=False)]
_Project = Annotated[str, Field(pattern=PROJECT)]
_Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]  # shorter than a digest, which has 64


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EngineSettings(_Model):
    """Limits of the embedded engine; memory and threads are shared by the queries that run at once."""

    memory_limit: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5} ?(MB|GB|TB|MiB|GiB|TiB)$")] = "2GB"
    threads: Annotated[int, Field(ge=1, le=1024)] = 2
    temp_directory: str | None = None
    time_limit_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    concurrent_queries: Annotated[int, Field(ge=1, le=64)] = 2
    large_tables: bool = False  # the operator's word and not a count of rows: callers see the SQL and the time it takes


class PeriodSettings(_Model):
    """How much may be spent in each calendar period (UTC)."""

    length: Length
    epsilon: _Epsilon


class ProjectSettings(_Model):
    """How much one project may spend."""

    epsilon: _Epsilon


class BudgetSettings(_Model):
    """How much the node gives in all, in a period, to a project and to one query; all hold at once."""

    epsilon_total: _Epsilon
    delta_total: _Delta = 1e-6
    epsilon_per_query: _Epsilon
    delta_per_query: _Delta = DELTA
    period: PeriodSettings | None = None
    project: ProjectSettings | None = None
    projects: dict[_Project, ProjectSettings] = {}

    def policy(self) -> BudgetPolicy:
        """In whole numbers, rounded down."""
        return BudgetPolicy(
            epsilon_total_nano=rounded_down(self.epsilon_total, NANO),
            delta_total_atto=rounded_down(self.delta_total, ATTO),
            period_length=self.period.length if self.period else None,
            period_epsilon_nano=rounded_down(self.period.epsilon, NANO) if self.period else 0,
            project_epsilon_nano=rounded_down(self.project.epsilon, NANO) if self.project else None,
            projects={name: rounded_down(project.epsilon, NANO) for name, project in self.projects.items()},
        )


class SumsSettings(_Model):
    """Which sums of each unit a prepared snapshot of one table holds ready (privacy/layout.py)."""

    keys: tuple[Annotated[tuple[str, ...], Field(min_length=1)], ...] = ()
    aggregates: tuple[str, ...] = ()


class SnapshotSettings(_Model):
    """Where prepared snapshots lie, how many older ones are kept, and what they hold ready beside the rows."""

    folder: str
    keep: Annotated[int, Field(ge=0, le=1000)] = 1
    sums: dict[str, SumsSettings] = {}


class _TableSettings(_Model):
    files: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    database: str | None = None
    table: str | None = None
    columns: dict[str, str] = {}

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.files is None) == (self.database is None):
            raise ValueError("give `files`, or `database` and `table`")
        if (self.database is None) != (self.table is None):
            raise ValueError("`database` and `table` go together")
        return self


class _NodeFile(_Model):
    province: str
    catalog: str
    catalog_digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    listen: str
    ledger: str
    signing_key: str | None = None
    snapshot: _Label | None = None
    engine: EngineSettings = EngineSettings()
    budget: BudgetSettings
    snapshots: SnapshotSettings | None = None
    tables: dict[str, _TableSettings]


@dataclass(frozen=True)
class FileSource:
    """A table in files of one format; `columns` maps every standard name to the local one."""

    table: str
    format: FileFormat
    files: tuple[Path, ...]
    columns: dict[str, str]


@dataclass(frozen=True)
class DatabaseSource:
    """A table `local_table` of a DuckDB database; `columns` maps every standard name to the local one."""

    table: str
    database: Path
    local_table: str
    columns: dict[str, str]

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.database,)


Source = FileSource | DatabaseSource


@dataclass(frozen=True)
class PreparedPlace:
    """Where prepared snapshots go.

    Attributes:
        keep: how many older ones stay.
        sums: by private table.
    """

    folder: Path
    keep: int
    sums: dict[str, SumsSettings]


@dataclass(frozen=True)
class LedgerPlace:
    """Where the ledger of which province is, and the key that signs it where that is not beside it."""

    province: str
    ledger: Path
    signing_key: Path | None


@dataclass(frozen=True)
class NodeConfig:
    """node.toml with the catalog read and every path resolved.

    Attributes:
        snapshot: the operator's name for the data as they are; None to go by the identities of the files.
        prepared: None where queries read the sources themselves.
    """

    province: str
    catalog: Catalog
    listen: str
    ledger: Path
    signing_key: Path | None
    snapshot: str | None
    temp_directory: Path
    engine: EngineSettings
    budget: BudgetSettings
    sources: dict[str, Source]
    prepared: PreparedPlace | None = None


def load_config(path: Path) -> NodeConfig:
    """The node configuration in the TOML file `path`.

    Raises:
        ConfigError: a key, a path or a table is wrong; names the key and the line.
        MismatchRefused: the catalog is not the pinned one.
    """
    return _Reader(path).config()


def load_ledger_place(path: Path) -> LedgerPlace:
    """Where the ledger is, from the TOML file `path`; catalog and data need not be there.

    Raises:
        ConfigError: as `load_config`.
    """
    return _Reader(path).ledger_place()


def loopback(listen: str) -> str:
    """`listen` if it is HOST:PORT on this machine alone.

    Raises:
        ConfigError: it is not; names `listen`.
    """
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f"`listen`: {listen!r} is not HOST:PORT.", remedy='Write for example "127.0.0.1:0".')
    if host != "localhost" and not _is_loopback(host.removeprefix("[").removesuffix("]")):
        raise ConfigError(
            f"`listen`: {host!r} is not a loopback address, and this version has no TLS yet.",
            remedy='Write "127.0.0.1:0" and put the coordinator on the same machine.',
        )
    return listen


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _text_of(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{what} {path} cannot be read.", remedy="Check the path and its permissions.") from None


class _Reader:
    """One reading of one file: keeps text and folder at hand for messages and relative paths."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._folder = path.resolve().parent
        self._text = _text_of(path, "The node configuration")
        self._file = parse_toml(self._text, _NodeFile, source=path.name)

    def ledger_place(self) -> LedgerPlace:
        key = self._file.signing_key
        ledger = self._resolved(self._file.ledger)
        return LedgerPlace(self._file.province, ledger, self._resolved(key) if key is not None else None)

    def config(self) -> NodeConfig:
        file, catalog = self._file, self._catalog()
        if file.province not in catalog.region.provinces:
            self._refuse(("province",), f"{file.province!r} is no province of the catalog")
        try:
            listen = loopback(file.listen)
        except ConfigError as fault:
            self._refuse(("listen",), fault.message.removeprefix("`listen`: "), fault.remedy)
        place = self.ledger_place()
        temp = file.engine.temp_directory
        return NodeConfig(
            province=file.province,
            catalog=catalog,
            listen=listen,
            ledger=place.ledger,
            signing_key=place.signing_key,
            snapshot=file.snapshot,
            temp_directory=self._resolved(temp) if temp else place.ledger.with_name(place.ledger.name + ".tmp"),
            engine=file.engine,
            budget=file.budget,
            sources=self._sources(catalog),
            prepared=self._prepared(catalog),
        )

    def _prepared(self, catalog: Catalog) -> PreparedPlace | None:
        settings = self._file.snapshots
        if settings is None:
            return None
        for name in settings.sums:
            table = catalog.private_tables.get(name)
            if table is None:
                self._refuse(("snapshots", "sums", name), "is no private table of the catalog")
            if table.rows_per_unit is not None:
                self._refuse(("snapshots", "sums", name), "has `rows_per_unit`: its rows need no sums; leave it out")
        sums = {name: settings.sums.get(name, SumsSettings()) for name in catalog.private_tables}
        return PreparedPlace(self._resolved(settings.folder), settings.keep, sums)

    def _catalog(self) -> Catalog:
        path = self._resolved(self._file.catalog)
        if not path.is_file():
            self._refuse(("catalog",), f"{self._file.catalog!r} is not a file")
        catalog = parse_catalog(_text_of(path, "The catalog"), source=path.name)
        if self._file.catalog_digest not in (None, catalog.digest):
            raise MismatchRefused(
                f"{self._name}: the catalog's digest is {catalog.digest}, not the pinned `catalog_digest`.",
                remedy="Read what changed in the catalog; pin the new digest only if you accept it.",
            )
        return catalog

    def _sources(self, catalog: Catalog) -> dict[str, Source]:
        configured = self._file.tables
        for name in configured:
            if name in catalog.public_tables:
                self._refuse(("tables", name), "is public: its rows are in the catalog, so it has no local source")
            if name not in catalog.private_tables:
                self._refuse(("tables", name), "is no table of the catalog")
        for name in catalog.private_tables:
            if name not in configured:
                self._refuse(("tables",), f"the private table `{name}` of the catalog is missing")
        return {name: self._source(name, configured[name], list(catalog.tables[name].columns)) for name in configured}

    def _source(self, name: str, settings: _TableSettings, standard: list[str]) -> Source:
        for column in settings.columns:
            if column not in standard:
                self._refuse(("tables", name, "columns", column), "is no column of that table in the catalog")
        columns = {column: settings.columns.get(column, column) for column in standard}
        if settings.database is not None and settings.table is not None:
            database = self._existing(("tables", name, "database"), settings.database)
            return DatabaseSource(name, database[0], settings.table, columns)
        key = ("tables", name, "files")
        files = tuple(dict.fromkeys(f for pattern in settings.files or () for f in self._existing(key, pattern)))
        formats = {_FORMATS.get(file.suffix) for file in files}
        only = formats.pop() if len(formats) == 1 else None
        if only is None:
            self._refuse(key, "all files of a table must end in .parquet, or all in .csv")
        return FileSource(name, only, files, columns)

    def _existing(self, key: tuple[str, ...], pattern: str) -> list[Path]:
        found = [Path(p).resolve() for p in sorted(glob.glob(str(self._folder / pattern), recursive=True))]
        files = [file for file in found if file.is_file()]
        if not files:
            self._refuse(key, f"no file matches {pattern!r}")
        for file in files:
            if _WILDCARDS & set(str(file)):
                self._refuse(key, f"the path of {file.name!r} holds a wildcard character; rename it")
        return files

    def _resolved(self, path: str) -> Path:
        return (self._folder / path).resolve()

    def _refuse(self, key: tuple[str, ...], reason: str, remedy: str = "") -> NoReturn:
        place = f"{self._name}, line {line_of(self._text, key)}"
        raise ConfigError(
            f"{place}: `{'.'.join(key)}`: {reason.removesuffix('.')}.",
            remedy=remedy or "Correct that key; docs/configuration.md lists the keys.",
        ) from None
