"""A comparison as a table for people, as a table of Markdown for docs/accuracy.md, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.accuracy.compare import Comparison
from benchmarks.accuracy.errors import Estimate
from benchmarks.machine import described


def show(comparison: Comparison, console: Console) -> None:
    """Peers' errors over weir's; what was not answered, and why."""
    table = Table(title=f"{comparison.title}; a peer's error over weir's")
    for number, header in enumerate(_header(comparison)):
        table.add_column(header, justify="left" if number < 2 else "right")
    for cells in _lines(comparison):
        table.add_row(*cells)
    console.print(table)
    for engine, case, why in comparison.failures:
        console.print(f"{engine}, {case}: {why}", markup=False)


def markdown(comparison: Comparison) -> str:
    header = _header(comparison)
    lines = [header, ("---",) * 2 + ("---:",) * (len(header) - 2), *_lines(comparison)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write(comparison: Comparison, folder: Path) -> None:
    """`<folder>/accuracy.json`."""
    content = {
        "title": comparison.title,
        "machine": described(),
        "ratios": [
            {
                "query": row.case.name,
                "column": row.column,
                "weir_rmse": _numbers(row.own),
                "peers": {engine: _numbers(ratio) for engine, ratio in row.ratios.items()},
            }
            for row in comparison.rows
        ],
        "failures": [list(failure) for failure in comparison.failures],
    }
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (folder / "accuracy.json").write_text(text + "\n", encoding="utf-8")


def _header(comparison: Comparison) -> tuple[str, ...]:
    return ("query", "column", "weir's RMSE", *comparison.engines, "best peer")


def _lines(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    before = None
    for row in comparison.rows:
        ratios = (_text(row.ratios[engine]) for engine in comparison.engines)
        yield ("" if row.case == before else row.case.name, row.column, _rounded(row.own), *ratios, _text(row.best))
        before = row.case


def _text(ratio: Estimate | None) -> str:
    return "–" if ratio is None else str(ratio)


def _rounded(estimate: Estimate | None) -> str:
    """Three digits."""
    if estimate is None:
        return ""
    digits = max(0, 2 - math.floor(math.log10(estimate.value)))
    return f"{estimate.value:,.{digits}f} ± {estimate.error:,.{digits}f}"


def _numbers(estimate: Estimate | None) -> list[float] | None:
    return None if estimate is None else [float(f"{number:.4g}") for number in (estimate.value, estimate.error)]
