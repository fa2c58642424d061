"""One line a province while nodes work: on stderr, and only where a person watches."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from weir.budget import Missing
from weir.progress import NodeDone, OnProgress, Progress, Started

if TYPE_CHECKING:
    from rich import progress as bars


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
        yield ProvinceLines(lines)


class ProvinceLines:
    """Turns events into one line a province."""

    def __init__(self, lines: bars.Progress) -> None:
        self._lines = lines
        self._tasks: dict[str, bars.TaskID] = {}

    def __call__(self, event: Progress) -> None:
        if isinstance(event, Started):
            for province in event.provinces:
                self._task(province)
        else:
            self._lines.update(self._task(event.province), completed=1, description=_said(event))

    def _task(self, province: str) -> bars.TaskID:
        if province not in self._tasks:
            self._tasks[province] = self._lines.add_task(province, total=1)
        return self._tasks[province]


def _said(event: NodeDone | Missing) -> str:
    from rich.markup import escape

    if isinstance(event, Missing):
        return f"[red]{event.province} missing: {escape(event.reason)}"
    return f"{event.province} answered in {event.seconds:.2f} s"
