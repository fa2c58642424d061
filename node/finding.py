"""What a look at the local data found, one column at a time; for the operator at the node, never for the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """How one column, or a whole table, meets the regional standard.

    Attributes:
        table: the table of the standard.
        column: its column; empty for what concerns the whole table.
        level: `error` makes serving unsound, `warning` makes answers less useful.
        message: one sentence; it may speak of data.
    """

    table: str
    column: str
    level: Level
    message: str
