"""A comparison as a picture."""

from __future__ import annotations

from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.peers.compare import LIVE, PREPARED, Comparison, OfTable
from benchmarks.peers.views import named, over_weir

_COLUMNS, _MARKS = ("COUNT", "SUM", "AVG"), ("o", "s", "D")
_OWN, _OTHER = "#1f6f8b", "#8a8f98"


def draw(comparison: Comparison, folder: Path) -> None:
    """`<folder>/peers.svg`: times above, errors over weir's below, a table beside the other."""
    count = len(comparison.tables)
    figure = Figure(figsize=(3.1 * count + 1.4, 5.2), layout="constrained")
    grid = figure.subplots(2, count, squeeze=False, sharey="row")
    sides = list(dict.fromkeys(side for found in comparison.tables for side in found.taken))
    names = [next(named(side, f.taken[side]) for f in comparison.tables if side in f.taken) for side in sides]
    for place, found in enumerate(comparison.tables):
        _times(grid[0][place], found, sides)
        _errors(grid[1][place], found, sides)
        grid[0][place].set_title(f"{found.table.title}\n{found.rows:,} rows", fontsize=9)
    for row in grid:
        row[0].set_yticks(range(len(sides)), names, fontsize=8)
        row[0].invert_yaxis()
    folder.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "peers"}):  # text as text: a smaller file
        figure.savefig(folder / "peers.svg", metadata={"Date": None})


def _times(axes: Axes, found: OfTable, sides: list[str]) -> None:
    for height, side in enumerate(sides):
        taken = found.taken.get(side)
        if taken is None or not taken.seconds:
            continue
        colour = _OWN if side in (PREPARED, LIVE) else _OTHER
        axes.plot([min(taken.seconds), max(taken.seconds)], [height, height], color=colour, linewidth=1)
        axes.plot(taken.time.median, height, "o", color=colour)
        axes.plot(taken.processor_time.median, height, "o", color=colour, markerfacecolor="white")
    axes.set_xscale("log")
    axes.set_xlabel("s; hollow: of processor", fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    axes.tick_params(labelsize=8)


def _errors(axes: Axes, found: OfTable, sides: list[str]) -> None:
    for height, side in enumerate(sides):
        for column, error in enumerate(over_weir(found, side) or () if side != LIVE else ()):
            colour = _OWN if side == PREPARED else _OTHER
            axes.plot(error.value, height + 0.2 * (column - 1), _MARKS[column], color=colour, markersize=4)
    axes.set_xscale("log")
    axes.set_xlabel("RMSE over weir's", fontsize=8)
    axes.axvline(1, color=_OWN, linewidth=0.8)
    axes.grid(axis="x", alpha=0.3)
    axes.tick_params(labelsize=8)
    for column, mark in zip(_COLUMNS, _MARKS, strict=True):
        axes.plot([], [], mark, color=_OTHER, markersize=4, label=column)
    axes.legend(fontsize=7, loc="lower right")
