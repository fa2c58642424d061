"""What a prepared snapshot is: one DuckDB file, and a manifest that names it once it is whole.

`current.json` is replaced in one step, so a daemon sees the snapshot before or the one after, whatever happens to the
process that prepares. It stays at the node.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from node.config import FileSource, NodeConfig, Source
from privacy.errors import DataError
from privacy.request import PLANNER_VERSION
from privacy.unit_sums import UnitSums

FORMAT = 1
_CURRENT = "current.json"

Identity = tuple[str, int, int]  # of a file: name, size, modification time


class Manifest(BaseModel):
    """A whole snapshot.

    Attributes:
        file: name of the DuckDB file, beside the manifest.
        digest: of the sources that it was made from, as `snapshot.digest_of` gives it.
        layout: of everything else that its content follows from.
        files: by table, the identities of the source files.
        sums: the tables of sums that it holds, named as in the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Annotated[str, Field(pattern=r"^[0-9a-f]{1,64}\.duckdb$")]
    digest: str
    layout: str
    files: dict[str, tuple[Identity, ...]]
    sums: tuple[UnitSums, ...]


def layout_digest(config: NodeConfig, *, secret: str) -> str:
    """What a snapshot's content follows from beside the sources: catalog, settings, mapping, the planner's version."""
    assert config.prepared is not None
    parts = [
        FORMAT,
        PLANNER_VERSION,
        config.catalog.digest,
        {name: sums.model_dump(mode="json") for name, sums in config.prepared.sums.items()},
        {name: [_kind(source), source.columns] for name, source in config.sources.items()},
    ]
    return hmac.new(secret.encode(), json.dumps(parts, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def _kind(source: Source) -> str:
    return source.format if isinstance(source, FileSource) else source.local_table


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of the current snapshot; None where there is none yet.

    Raises:
        DataError: it was not written by this version of weir.
    """
    try:
        text = (folder / _CURRENT).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return Manifest.model_validate_json(text)
    except ValidationError:
        raise DataError(
            f"The manifest {_CURRENT} of the prepared snapshots cannot be read.",
            remedy="Delete it and run `weir node prepare`.",
        ) from None


def manifest_identity(folder: Path) -> tuple[int, int] | None:
    """What changes with every new manifest; None where there is none."""
    try:
        found = (folder / _CURRENT).stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make `manifest` the current one, durably and in one step."""
    fresh = folder / f"{_CURRENT}.new"
    with fresh.open("w", encoding="utf-8") as file:
        file.write(manifest.model_dump_json())
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / _CURRENT)
    _sync(folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
