"""What goes to stdout."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from rich.console import Console, RenderableType

from weir.cli.parameters import PlainFormat

PIPE_WIDTH = 120  # where stdout is no terminal, tables must not shrink to rich's 80


class Shown(Protocol):
    """Something with a form for people and one for JSON."""

    def __rich__(self) -> RenderableType: ...
    def to_dict(self) -> dict[str, Any]: ...


def print_rich(shown: RenderableType) -> None:
    """Print for a person, in colour on a terminal."""
    terminal = sys.stdout.isatty()
    Console(highlight=False, width=None if terminal else PIPE_WIDTH).print(shown)


def print_plain(shown: Shown, output: PlainFormat) -> None:
    """Print for a person or as JSON."""
    from weir.export import write_json

    if output is PlainFormat.json:
        write_json(shown.to_dict(), sys.stdout)
    else:
        print_rich(shown)
