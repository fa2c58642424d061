"""Rich text: the tables that a person reads at a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from weir.budget import Missing

TEXT_WIDTH = 100  # of a repr, in characters


def as_text(renderable: RenderableType, *, width: int = TEXT_WIDTH) -> str:
    """What `renderable` looks like, without colours, for `repr`."""
    out = StringIO()
    Console(file=out, width=width, color_system=None, legacy_windows=False).print(renderable)
    lines = out.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def grid(*headers: str, title: str | None = None) -> Table:
    """A table with a line under its header; a header that starts with `>` makes a column of numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", title_style="bold")
    for header in headers:
        right = header.startswith(">")
        table.add_column(header.removeprefix(">"), justify="right" if right else "left", no_wrap=right)
    return table


def missing_lines(missing: Iterable[Missing]) -> list[Text]:
    """One red line a province that did not answer."""
    return [
        Text.assemble(("Missing: ", "bold red"), (gone.province, "red"), (f" ({gone.reason})", "red"))
        for gone in missing
    ]


def note_lines(notes: Iterable[str]) -> list[Text]:
    """One dim line a note."""
    return [Text(f"Note: {note}", style="dim") for note in notes]
