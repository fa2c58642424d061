"""How an error looks at the terminal: one message, the place in the SQL, the remedy; never a traceback."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from privacy.errors import InternalError, Position, QueryRefused, WeirError

if TYPE_CHECKING:
    from rich.text import Text

_LINE_WIDTH = 100  # characters of a long line of SQL that are shown around the fault


@contextmanager
def shown_errors(sql: str | None = None) -> Iterator[None]:
    """Print a WeirError and leave with code 1; a fault of weir's own as an InternalError that says only where.

    Args:
        sql: the query, to point into.
    """
    try:
        yield
    except WeirError as fault:
        print_error(fault, sql)
        raise typer.Exit(1) from None
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except Exception as fault:  # its text could hold data of a node: say its kind and place alone
        print_error(_internal(fault), sql)
        raise typer.Exit(1) from None


def print_error(fault: WeirError, sql: str | None = None) -> None:
    """Write the error to stderr."""
    from rich.console import Console

    Console(stderr=True, soft_wrap=True, highlight=False).print(error_text(fault, sql))


def error_text(fault: WeirError, sql: str | None) -> Text:
    """Message, excerpt with a caret, remedy."""
    from rich.text import Text

    text = Text.assemble(("error: ", "bold red"), (fault.message, "red"))
    if fault.position is not None and sql is not None and isinstance(fault, QueryRefused):
        text.append(f"\n{excerpt(sql, fault.position)}")
    elif fault.position is not None:
        text.append(f" ({fault.position})")
    if fault.remedy:
        text.append("\n  → ", style="green").append(fault.remedy)
    return text


def excerpt(sql: str, position: Position) -> str:
    """The line of the SQL and a caret under the column; wide characters take two places.

    >>> print(excerpt("SELECT agee FROM visits", Position(1, 8)))
      1 | SELECT agee FROM visits
        |        ^
    """
    from rich.cells import cell_len

    lines = sql.splitlines()
    if not 1 <= position.line <= len(lines):
        return f"({position})"
    line, column = lines[position.line - 1].replace("\t", " "), position.column - 1
    start = max(0, min(column - _LINE_WIDTH // 2, len(line) - _LINE_WIDTH))
    shown = line[start : start + _LINE_WIDTH]
    number = str(position.line)
    indent = " " * cell_len(shown[: max(0, column - start)])
    return f"  {number} | {shown}\n  {' ' * len(number)} | {indent}^"


def _internal(fault: Exception) -> InternalError:
    frames = traceback.extract_tb(fault.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return InternalError(
        f"A fault of weir's own: {type(fault).__name__}{where}.", remedy="Please report it, with what you ran."
    )
