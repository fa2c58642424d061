"""A comparison as a table for people, as tables of Markdown for docs/performance.md, and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.accuracy.errors import Estimate
from benchmarks.machine import described
from benchmarks.peers.compare import LIVE, PREPARED, Comparison, OfTable, Taken
from benchmarks.report import Figure
from benchmarks.samples import Sample

_HEADER = ("time", "processor", "time ÷ prepared", "processor", "time ÷ live", "processor", "RMSE ÷ weir's")


def show(comparison: Comparison, console: Console) -> None:
    """One table: medians; ratios to weir's, of each round, with their range; errors to weir's."""
    before, after = comparison.load
    shown = Table(title=f"peers: {comparison.title} (load {before:.1f} before, {after:.1f} after)")
    for header in ("", *_HEADER):
        shown.add_column(header, justify="right" if header else "left")
    for found in comparison.tables:
        shown.add_row(f"[bold]{_heading(found)}")
        for cells in _lines(found):
            shown.add_row(*cells)
        shown.add_section()
    console.print(shown)
    for line in _notes(comparison):
        console.print(line, markup=False)


def markdown(comparison: Comparison) -> str:
    """A table of Markdown for each table."""
    rule = ("---", *("---:",) * len(_HEADER))
    parts = []
    for found in comparison.tables:
        lines = [(_heading(found), *_HEADER), rule, *_lines(found)]
        parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
    return "\n\n".join([*parts, *_notes(comparison)])


def write(comparison: Comparison, folder: Path) -> None:
    """`<folder>/peers.json`."""
    content = {
        "title": comparison.title,
        "machine": described(),
        "load_average": {"before": comparison.load[0], "after": comparison.load[1]},
        "tables": [_content(found) for found in comparison.tables],
        "inside_weir_ms": {figure.name: _rounded(_milliseconds(figure)) for figure in comparison.inside},
    }
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (folder / "peers.json").write_text(text + "\n", encoding="utf-8")


def named(side: str, taken: Taken) -> str:
    """The engine with its version, and what is particular about it."""
    return side if taken.engine in ("weir", side) or side.startswith("plain") else _with_version(side, taken.engine)


def _with_version(side: str, engine: str) -> str:
    return ", ".join((engine, *side.split(", ")[1:]))


def over_weir(found: OfTable, side: str) -> list[Estimate] | None:
    """Error of each column over weir's."""
    theirs, own = found.errors.get(side), found.errors[PREPARED]
    if theirs is None or own is None:
        return None
    return [error.over(base) for error, base in zip(theirs, own, strict=True)]


def _heading(found: OfTable) -> str:
    return f"{found.table.title}, {found.rows:,} rows"


def _lines(found: OfTable) -> Iterator[tuple[str, ...]]:
    for side, taken in found.taken.items():
        if taken.seconds:
            times = (f"{sample.median * 1e3:,.0f} ms" for sample in (taken.time, taken.processor_time))
            ratios = (_ranged(ratio) for ratio in _ratios(found, side).values())
            errors = over_weir(found, side) if side not in (PREPARED, LIVE) else None
            yield named(side, taken), *times, *ratios, " · ".join(map(_short, errors or ()))


def _ratios(found: OfTable, side: str) -> dict[str, Sample]:
    taken = found.taken[side]
    ratios = {}
    for base in (PREPARED, LIVE):
        own = found.taken[base]
        ratios[f"time over {base}"] = taken.time.over(own.time)
        ratios[f"processor time over {base}"] = taken.processor_time.over(own.processor_time)
    return ratios


def _ranged(ratio: Sample) -> str:
    return f"{ratio.median:.2g} ({min(ratio.values):.2g} – {max(ratio.values):.2g})"


def _short(error: Estimate) -> str:
    return f"{error.value:.2g} ± {error.error:.1g}"


def _notes(comparison: Comparison) -> Iterator[str]:
    for found in comparison.tables:
        for side, taken in found.taken.items():
            if taken.failure is not None:
                yield f"{named(side, taken)}, {found.table.title}: {taken.failure}"
    for figure in comparison.inside:
        yield f"{figure.name}: {_milliseconds(figure):.1f} ms"


def _milliseconds(figure: Figure) -> float:
    assert isinstance(figure.value, Sample)
    return figure.value.median * 1e3


def _content(found: OfTable) -> Mapping[str, object]:
    return {
        "table": found.table.title,
        "rows": found.rows,
        "sql": found.table.case.sql,
        "limits": {"max_rows": found.table.subject.max_rows, "max_groups": found.table.subject.max_groups},
        "sides": {side: _of_side(found, side) for side in found.taken},
    }


def _of_side(found: OfTable, side: str) -> Mapping[str, object]:
    taken = found.taken[side]
    if not taken.seconds:
        return {"engine": taken.engine, "failure": taken.failure}
    errors, relative = found.errors.get(side), over_weir(found, side)
    by_process = {
        name: _rounded(statistics.median(spent[name] for spent in taken.processor_s)) for name in taken.processor_s[0]
    }
    return {
        "engine": taken.engine,
        "failure": taken.failure,
        "seconds": _spread(taken.time),
        "processor_s": _spread(taken.processor_time) | {"by_process": by_process},
        **{name: _spread(ratio) for name, ratio in _ratios(found, side).items()},
        "answers": len(taken.values),
        "rmse": None if errors is None else [_pair(error) for error in errors],
        "rmse_over_weir": None if relative is None else [_pair(error) for error in relative],
    }


def _spread(sample: Sample) -> dict[str, object]:
    low, high = min(sample.values), max(sample.values)
    return {"median": _rounded(sample.median), "range": [_rounded(low), _rounded(high)], "n": len(sample.values)}


def _pair(error: Estimate) -> list[float]:
    return [_rounded(error.value), _rounded(error.error)]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
