"""A bar for work that is done in steps: on stderr; a line a step where no person watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def step_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A callback that is told what begins, which step it is, and of how many."""
    if not sys.stderr.isatty():
        yield lambda step, number, of: print(f"{number}/{of} {step}", file=sys.stderr, flush=True)
        return
    from rich import progress as bars
    from rich.console import Console
    from rich.markup import escape

    columns = (
        bars.SpinnerColumn(),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.description}"),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")

        def on_step(step: str, number: int, of: int) -> None:
            bar.update(task, completed=number - 1, total=of, description=escape(step))

        yield on_step
