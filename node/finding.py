"""What a look at the local data found, one column at a time; for the operator at the node, never for the wire."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from privacy.errors import DataError

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


def refuse_errors(found: Iterable[Finding]) -> None:
    """For an operator who may read what was found.

    Raises:
        DataError: there is an error; with the text of the first.
    """
    for fault in errors_of(found):
        raise DataError(f"{fault.table}: {fault.message}", remedy="Run `weir node check`: it lists all that is wrong.")


def refuse_errors_by_place(found: Iterable[Finding]) -> None:
    """For a log: says where the first error is, and nothing of the data.

    Raises:
        DataError: there is an error.
    """
    for fault in errors_of(found):
        where = f"Column `{fault.column}` of table `{fault.table}`" if fault.column else f"Table `{fault.table}`"
        raise DataError(
            f"{where} does not meet the regional standard.", remedy="Run `weir node check`: it says in what."
        )


def errors_of(found: Iterable[Finding]) -> list[Finding]:
    """Those that make serving unsound."""
    return [finding for finding in found if finding.level == "error"]
