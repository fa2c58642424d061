"""coordinator.toml: the catalog, where to listen and where each province's node is."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from privacy.catalog import Catalog, Name, parse_catalog
from privacy.errors import ConfigError
from privacy.located_toml import line_of, parse_toml


class _File(BaseModel):
    """The TOML as it is written; paths are relative to the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    catalog: str
    listen: str = "127.0.0.1:0"
    deadline_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 60.0
    nodes: dict[Name, str] = {}


@dataclass(frozen=True)
class CoordinatorConfig:
    """What a coordinator needs to serve.

    Attributes:
        catalog_toml: the text of the standard, which `GetCatalog` hands out.
        deadline_s: the longest that one query may take.
        nodes: province → address, at least one, in the order of the catalog's provinces.
    """

    catalog: Catalog
    catalog_toml: str
    listen: str
    deadline_s: float
    nodes: dict[str, str]


def load_config(path: Path, *, listen: str | None = None, nodes: dict[str, str] | None = None) -> CoordinatorConfig:
    """The configuration at `path`, with `listen` and addresses of `nodes` overridden where given.

    Raises:
        ConfigError: names the file, the key and the line, or the argument, of the first fault.
    """
    text = _read(path)
    file = parse_toml(text, _File, source=path.name)
    catalog_path = path.parent / file.catalog
    catalog_toml = _read(catalog_path)
    catalog = parse_catalog(catalog_toml, source=catalog_path.name)
    overrides = nodes or {}
    for province in (*file.nodes, *overrides):
        _check_province(province, catalog, source=_node_source(text, path, province, overrides))
    addresses = {
        province: _checked(
            overrides[province] if province in overrides else file.nodes[province],
            source=_node_source(text, path, province, overrides),
            served=True,
        )
        for province in catalog.region.provinces
        if province in overrides or province in file.nodes
    }
    if not addresses:
        raise ConfigError(
            f"{path.name}: no node is configured.", remedy='Write `province = "127.0.0.1:PORT"` below [nodes].'
        )
    return CoordinatorConfig(
        catalog=catalog,
        catalog_toml=catalog_toml,
        listen=_checked(
            listen or file.listen,
            source=_in_file(text, path, ("listen",)) if listen is None else lambda: "argument --listen",
            served=False,
        ),
        deadline_s=file.deadline_s,
        nodes=addresses,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"{path.name} cannot be read.", remedy=f"Check that {path} exists and is UTF-8 text that you may read."
        ) from None


def _in_file(text: str, path: Path, key: tuple[str, ...]) -> Callable[[], str]:
    # Only for a fault: to find the line reads the text up to each line, which 500 nodes must not be found by.
    return lambda: f"{path.name}, line {line_of(text, key)}: `{'.'.join(key)}`"


def _node_source(text: str, path: Path, province: str, overrides: dict[str, str]) -> Callable[[], str]:
    return (lambda: "argument --node") if province in overrides else _in_file(text, path, ("nodes", province))


def _check_province(province: str, catalog: Catalog, *, source: Callable[[], str]) -> None:
    if province not in catalog.region.provinces:
        raise ConfigError(
            f"{source()}: {province!r} is no province of the catalog.",
            remedy=f"The provinces are {', '.join(catalog.region.provinces)}.",
        )


def _checked(address: str, *, source: Callable[[], str], served: bool) -> str:
    """`address` if it is a loopback HOST:PORT; `served` asks for a port that a daemon has, so not 0."""
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdigit()) or not (1 if served else 0) <= int(port) <= 65535:
        raise ConfigError(f"{source()}: {address!r} is no HOST:PORT.", remedy="Write it like 127.0.0.1:50061.")
    if not _is_loopback(host.removeprefix("[").removesuffix("]")):
        raise ConfigError(
            f"{source()}: {address!r} is not a loopback address.",
            remedy="This version has no TLS yet and talks on loopback only: use 127.0.0.1:PORT.",
        )
    return address


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
