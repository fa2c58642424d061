"""A picture of an answer, with error bars."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from privacy.errors import RequestRefused
from weir.number_format import EMPTY, key_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from weir.answer import Answer


def plot(answer: Answer, x: str | None, y: str | None, ax: Axes | None) -> Axes:
    """Bars of `y` over `x`, one standard error up and down; a line of points where `x` is a date.

    Raises:
        RequestRefused: no such column, nothing to draw, or no matplotlib.
    """
    try:
        from matplotlib import pyplot
    except ImportError:
        raise RequestRefused("Plots need matplotlib.", remedy="Install it: pip install matplotlib.") from None
    across, up = _columns(answer, x, y)
    places = answer.arrow().column(across).to_pylist()
    heights = [float("nan") if value is None else float(value) for value in answer.arrow().column(up).to_pylist()]
    bars = [0.0 if error is None else error for error in answer.error_table().column(up).to_pylist()]
    axes = pyplot.subplots()[1] if ax is None else ax
    if any(isinstance(place, dt.date) for place in places):
        axes.errorbar(places, heights, yerr=bars, fmt="o-", capsize=3)
        axes.figure.autofmt_xdate()
    else:
        labels = [EMPTY if place is None else key_text(place) for place in places]
        axes.bar(labels, heights, yerr=bars, capsize=3, color="#7aa6c2", ecolor="#333333")
        axes.tick_params(axis="x", rotation=45 if sum(map(len, labels)) > 60 else 0)
    axes.set_xlabel(answer.columns[across])
    axes.set_ylabel(answer.columns[up])
    return axes


def _columns(answer: Answer, x: str | None, y: str | None) -> tuple[int, int]:
    """Numbers of the two columns."""
    names, noisy = list(answer.columns), answer.noisy_columns
    keys = [name for name in names if name not in noisy]
    for name in (x, y):
        if name is not None and name not in names:
            raise RequestRefused(f"The answer has no column `{name}`.", remedy=f"It has: {', '.join(names)}.")
    if not len(answer) or (y is None and not noisy) or (x is None and not keys):
        raise RequestRefused("There is nothing to draw.", remedy="Group by a key, and name x=… and y=….")
    return names.index(keys[0] if x is None else x), names.index(noisy[0] if y is None else y)
