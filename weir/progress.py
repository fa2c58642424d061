"""What a caller hears while nodes work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from weir.budget import Missing


@dataclass(frozen=True)
class Started:
    """The query went out to these provinces."""

    provinces: tuple[str, ...]


@dataclass(frozen=True)
class NodeDone:
    """A province has released its part."""

    province: str
    seconds: float


Progress = Started | NodeDone | Missing
OnProgress = Callable[[Progress], None]
