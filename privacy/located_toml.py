"""TOML text checked against a pydantic model, with errors that name the key and the line."""

from __future__ import annotations

import tomllib
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from privacy.errors import ConfigError

ModelT = TypeVar("ModelT", bound=BaseModel)
Path = tuple[str | int, ...]


def parse_toml(text: str, model: type[ModelT], *, source: str) -> ModelT:
    """Return `text` as a `model`.

    Args:
        source: the name of the file, for messages only.

    Raises:
        ConfigError: not TOML, or a key is missing, unknown or wrong; names the key and the line of the first fault.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise ConfigError(f"{source}: not valid TOML: {fault}", remedy="Correct the line that it names.") from None
    try:
        return model.model_validate(content)
    except ValidationError as fault:
        # A misspelt key is both unknown and missing: the unknown one tells more.
        faults = fault.errors(include_url=False)
        first = next((found for found in faults if found["type"] == "extra_forbidden"), faults[0])
        path = _path_in(content, first["loc"], missing=first["type"] == "missing")
        raise _located(text, source, path, first["msg"]) from None


def _path_in(content: Any, location: Path, *, missing: bool) -> Path:
    # pydantic mixes names of union members into the path: keep the steps that the document knows, and a missing key.
    path: list[str | int] = []
    for step in location:
        if _has(content, step):
            path.append(step)
            content = content[step]
    return (*path, location[-1]) if missing else tuple(path)


def _has(content: Any, step: str | int) -> bool:
    if isinstance(content, dict):
        return step in content
    return isinstance(content, list) and isinstance(step, int) and step < len(content)


def _located(text: str, source: str, path: Path, message: str) -> ConfigError:
    line = line_of(text, path)
    key = ".".join(str(step) for step in path) or "(whole file)"
    reason = message.removeprefix("Value error, ")
    return ConfigError(
        f"{source}, line {line}: `{key}`: {reason}", remedy="Correct that key; docs/configuration.md lists the keys."
    )


def line_of(text: str, path: Path) -> int:
    """The 1-based line on which `path` first exists; of its nearest parent where the key is missing."""
    lines = text.splitlines(keepends=True)
    while path:
        for count in range(1, len(lines) + 1):
            if _exists("".join(lines[:count]), path):
                return count
        path = path[:-1]
    return 1


def _exists(prefix: str, path: Path) -> bool:
    try:
        content: Any = tomllib.loads(prefix)
    except tomllib.TOMLDecodeError:
        return False
    for step in path:
        if not _has(content, step):
            return False
        content = content[step]
    return True
