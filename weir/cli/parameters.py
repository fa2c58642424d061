"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

At = Annotated[
    str,
    typer.Option("--at", envvar="WEIR_AT", metavar="HOST:PORT", help="The coordinator to ask."),
]
Project = Annotated[str | None, typer.Option("--project", help="Whose budget pays, as the operators name it.")]

MaxRows = Annotated[int | None, typer.Option(help="Rows of one person that count in a group; lowers the catalog's.")]
MaxGroups = Annotated[int | None, typer.Option(help="Groups that one person may touch; lowers the catalog's.")]
MaxError = Annotated[
    float | None,
    typer.Option(
        "--max-standard-error",
        help="Of every column whose error can be told beforehand; spends no more ε than that needs. By column: in the "
        "SQL, OPTIONS(max_standard_error = {'n': 50}).",
    ),
]
RelativeError = Annotated[
    float | None, typer.Option("--max-relative-error", help="The same of every count, as a share of --expected-rows.")
]
ExpectedRows = Annotated[float | None, typer.Option(help="How many rows you expect in a group.")]
Config = Annotated[Path, typer.Option("--config", help="Its TOML file.", dir_okay=False)]


class Format(StrEnum):
    """Of an answer."""

    table = "table"
    csv = "csv"
    json = "json"


class PlainFormat(StrEnum):
    """Of everything that is no table of numbers."""

    table = "table"
    json = "json"
