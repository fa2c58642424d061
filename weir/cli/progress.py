"""One line a province while nodes work: on stderr, and only where a person watches."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from weir.budget import Missing
from weir.progress import NodeDone, OnProgress, Progress, Started


@contextmanager
def progress_lines() -> Iterator[OnProgress | None]:
    """A callback for `Connection.sql`; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress as bars
    from rich.console import Console

    columns = bars.SpinnerColumn(finished_text="•"), bars.TextColumn("{task.description}"), bars.TimeElapsedColumn()
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as lines:
        tasks: dict[str, bars.TaskID] = {}

        def on_progress(event: Progress) -> None:
            if isinstance(event, Started):
                tasks.update({name: lines.add_task(name, total=1) for name in event.provinces})
                return
            task = tasks.setdefault(event.province, lines.add_task(event.province, total=1))
            lines.update(task, completed=1, description=_said(event))

        yield on_progress


def _said(event: NodeDone | Missing) -> str:
    from rich.markup import escape

    if isinstance(event, Missing):
        return f"[red]{event.province} missing: {escape(event.reason)}"
    return f"{event.province} answered in {event.seconds:.2f} s"
