"""What goes to stdout."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from rich.console import Console, RenderableType

from weir.cli.parameters import PlainFormat
from weir.display import as_text

PIPE_WIDTH = 120  # where stdout is no terminal, tables must not shrink to rich's 80


class Shown(Protocol):
    """Something with a form for people and one for JSON."""

    def __rich__(self) -> RenderableType: ...
    def to_dict(self) -> dict[str, Any]: ...


def print_rich(shown: RenderableType) -> None:
    """Print for a person, in colour on a terminal; without padding to the right where it goes to a file."""
    if sys.stdout.isatty():
        Console(highlight=False).print(shown)
    else:
        print(as_text(shown, width=PIPE_WIDTH))


def print_plain(shown: Shown, output: PlainFormat) -> None:
    """Print for a person or as JSON."""
    from weir.export import write_json

    if output is PlainFormat.json:
        write_json(shown.to_dict(), sys.stdout)
    else:
        print_rich(shown)
