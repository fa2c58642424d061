"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

At = Annotated[
    str,
    typer.Option("--at", envvar="WEIR_AT", metavar="HOST:PORT", help="The coordinator to ask."),
]


class Format(StrEnum):
    """Of an answer."""

    table = "table"
    csv = "csv"
    json = "json"


class PlainFormat(StrEnum):
    """Of everything that is no table of numbers."""

    table = "table"
    json = "json"
