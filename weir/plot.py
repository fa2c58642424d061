"""A picture of an answer, with its intervals."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from privacy.errors import RequestRefused
from weir.number_format import key_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from weir.answer import Answer

_CROWDED = 60  # characters of labels along the axis; more are slanted


def plot(answer: Answer, x: str | None, y: str | None, ax: Axes | None) -> Axes:
    """Bars of `y` over `x` with their 95 % intervals; a line of points where `x` is a date.

    Raises:
        RequestRefused: no such column, nothing to draw, several rows at one place, or no matplotlib.
    """
    try:
        from matplotlib import pyplot
    except ImportError:
        raise RequestRefused("Plots need matplotlib.", remedy="Install it: pip install matplotlib.") from None
    across, up = _chosen(answer, x, y)
    rows = answer.arrow()
    places = list(zip(*(rows.column(number).to_pylist() for number in across), strict=True))
    if len(set(places)) < len(places):
        raise RequestRefused("Several rows stand at one place.", remedy="Leave x out: all keys then name the bars.")
    heights = [float("nan") if value is None else float(value) for value in rows.column(up).to_pylist()]
    ends = [table.column(up).to_pylist() for table in answer.interval_tables()]
    bars = [
        [0.0 if end is None else abs(end - height) for end, height in zip(side, heights, strict=True)] for side in ends
    ]
    axes = pyplot.subplots()[1] if ax is None else ax
    if len(across) == 1 and all(isinstance(place[0], dt.date) for place in places):
        axes.errorbar([place[0] for place in places], heights, yerr=bars, fmt="o-", capsize=3)
        axes.figure.autofmt_xdate()
    else:
        _bars(axes, [" · ".join(map(key_text, place)) for place in places], heights, bars)
    axes.set_xlabel(" · ".join(answer.columns[number] for number in across))
    axes.set_ylabel(answer.columns[up])
    return axes


def _bars(axes: Axes, labels: list[str], heights: list[float], bars: list[list[float]]) -> None:
    axes.bar(range(len(labels)), heights, yerr=bars, capsize=3, color="#7aa6c2", ecolor="#333333")
    crowded = sum(map(len, labels)) > _CROWDED
    axes.set_xticks(
        range(len(labels)), labels, rotation=45 if crowded else 0, horizontalalignment="right" if crowded else "center"
    )


def _chosen(answer: Answer, x: str | None, y: str | None) -> tuple[list[int], int]:
    """Numbers of the columns along the axis, and of the one that is drawn."""
    names, noisy = list(answer.columns), answer.noisy_columns
    for name in (x, y):
        if name is not None and name not in names:
            raise RequestRefused(f"The answer has no column `{name}`.", remedy=f"It has: {', '.join(names)}.")
    plain = [name for name in names if not _is_container(answer, name)]
    if {x, y} - {None, *plain}:
        raise RequestRefused("A list or a MAP cannot be drawn.", remedy="Take one item of it: q[1], h['x'].")
    keys = [name for name in plain if name not in noisy and name != y] if x is None else [x]
    if not len(answer) or not keys or (y is None and not noisy):
        raise RequestRefused("There is nothing to draw.", remedy="Group by a key, and name x=… and y=….")
    return [names.index(name) for name in keys], names.index(noisy[0] if y is None else y)


def _is_container(answer: Answer, name: str) -> bool:
    import pyarrow.types as kinds

    kind = answer.arrow().schema.field(answer.columns.index(name)).type
    return bool(kinds.is_list(kind) or kinds.is_map(kind))
