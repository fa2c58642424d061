"""What was measured, as a table for people and as JSON for the next comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.machine import described
from benchmarks.samples import Sample

RESULTS = Path(__file__).parent / "results"
CONSOLE_COLUMNS = 130
_SCALES = {"ms": 1e3, "s": 1.0, "×": 1.0}


@dataclass(frozen=True)
class Figure:
    """One line: a sample with its unit (`ms`, `s` or `×`), or one number with any unit."""

    name: str
    unit: str
    value: Sample | float


@dataclass(frozen=True)
class Section:
    """What one benchmark measured.

    Attributes:
        name: of the results file.
        title: what was done, at which size.
        load: the machine's load averages before and after.
    """

    name: str
    title: str
    figures: tuple[Figure, ...]
    load: tuple[float, float]


def show(sections: Sequence[Section], console: Console) -> None:
    """One table."""
    machine = described()
    table = Table(title=f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB")
    table.add_column("")
    for column in ("median", "25 %", "75 %", "95 %", "n"):
        table.add_column(column, justify="right")
    for section in sections:
        before, after = section.load
        load = f"load {before:.1f} before, {after:.1f} after"
        table.add_row(f"[bold]{section.title}[/] ({load})", end_section=False)
        for figure in section.figures:
            table.add_row(f"  {figure.name}", *_cells(figure))
        table.add_section()
    console.print(table)


def _cells(figure: Figure) -> tuple[str, ...]:
    value = figure.value
    if isinstance(value, float):
        return (f"{value:,.4g} {figure.unit}",)
    scale = _SCALES[figure.unit]
    quantiles = (value.quantile(share) for share in (0.25, 0.75, 0.95))
    shown = (f"{number * scale:,.3g} {figure.unit}" for number in (value.median, *quantiles))
    return (*shown, str(len(value.values)))


def publish(section: Section) -> None:
    """Print one benchmark that was run by itself, and write it beside the other results."""
    show([section], Console(width=CONSOLE_COLUMNS))
    write(section)


def write(section: Section, folder: Path = RESULTS) -> None:
    """`<name>.json` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "title": section.title,
        "machine": described(),
        "load_average": {"before": section.load[0], "after": section.load[1]},
        "figures": {figure.name: _content(figure) for figure in section.figures},
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (folder / f"{section.name}.json").write_text(text + "\n", encoding="utf-8")


def _content(figure: Figure) -> Mapping[str, object]:
    value = figure.value
    if isinstance(value, float):
        return {"value": _rounded(value), "unit": figure.unit}
    scale = _SCALES[figure.unit]
    names = {"p25": 0.25, "p75": 0.75, "p95": 0.95}
    quantiles = {name: _rounded(value.quantile(share) * scale) for name, share in names.items()}
    return {"median": _rounded(value.median * scale), **quantiles, "n": len(value.values), "unit": figure.unit}


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
