"""The benchmarks run, at their smallest size: what they print is measured, and written as JSON."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import bounded, concurrency, noise, overhead, planning, report, scale, visits
from benchmarks.report import Section
from benchmarks.samples import Sample, in_turn
from tests.federation.corpus_federation import CORPUS


def _shown(section: Section) -> str:
    text = io.StringIO()
    report.show([section], Console(file=text, width=200))
    return text.getvalue()


def _checked(section: Section, folder: Path) -> dict[str, dict[str, float]]:
    """The figures as they are written; all of them are shown and above zero, but processor time comes in steps."""
    report.write(section, folder)
    written = json.loads((folder / f"{section.name}.json").read_text())
    figures: dict[str, dict[str, float]] = written["figures"]
    for name, figure in figures.items():
        assert figure.get("median", figure.get("value", 0)) > 0 or "processor time" in name, name
    shown = _shown(section)
    assert all(name in shown for name in figures)
    assert written["machine"]["cores"] >= 1
    return figures


def test_overhead(tmp_path: Path) -> None:
    figures = _checked(overhead.measure(rounds=1, people=50), tmp_path)
    for query in overhead.QUERIES:
        assert {f"{query}: fresh", f"{query}: explained before", f"{query}: free repeat"} <= figures.keys()
        assert {f"inside a node, {query}:   {part}" for part in ("planning", "ledger", "engine", "noise")} <= set(
            figures
        )


def test_visits(tmp_path: Path) -> None:
    figures = _checked(visits.measure(visits=10_000, rounds=1, build=tmp_path / "build"), tmp_path)
    assert figures["peak memory of all daemons together"]["value"] < 24
    assert {f"{query}: ratio of time" for query in visits.QUERIES} <= figures.keys()


def test_bounded(tmp_path: Path) -> None:
    figures = _checked(bounded.measure(rows=1_000, rounds=1, build=tmp_path / "build"), tmp_path)
    assert {f"{query.name}: prepared over plain" for query in bounded.QUERIES} <= figures.keys()


def test_scale(tmp_path: Path) -> None:
    plot = tmp_path / "scale.svg"
    figures = _checked(scale.measure(provinces=(2, 5), rounds=1, cut_s=4.0, plot=plot), tmp_path)
    assert {f"{number} provinces: fresh query" for number in (2, 5)} <= figures.keys()
    assert figures["5 provinces: 1 halted as they release"]["median"] >= 3.2  # cut when the nodes' time is over
    assert 0 < plot.stat().st_size < 200_000


def test_concurrency(tmp_path: Path) -> None:
    figures = _checked(concurrency.measure(rows=500, rounds=1, clients=8), tmp_path)  # it checks the ledgers itself
    assert figures["ledgers: charges, all of them to the last nano-ε"]["value"] == 2 * 8 * concurrency.NODES


def test_planning(tmp_path: Path) -> None:
    for name in ("legit.jsonl", "attacks.jsonl"):
        (tmp_path / name).write_text("".join((CORPUS / name).read_text().splitlines(keepends=True)[:3]))
    _checked(planning.measure(rounds=1, corpus=tmp_path), tmp_path)


def test_noise(tmp_path: Path) -> None:
    figures = _checked(noise.measure(rounds={10: 1, 1_000: 1}), tmp_path)
    assert {f"10 integers: {name}: step" for name in noise.CASES} <= figures.keys()
    assert {f"1,000 integers: {name}: step" for name in noise.SCALES} <= figures.keys()


def test_samples_are_taken_in_turn() -> None:
    calls: list[str] = []
    taken = in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2, warm_up=1)
    assert calls == ["a", "b"] * 3
    assert [len(sample.values) for sample in taken.values()] == [2, 2]


def test_ratios_are_of_each_round() -> None:
    ratio = Sample((2.0, 30.0)).over(Sample((1.0, 10.0)))
    assert ratio.values == (2.0, 3.0)
    assert ratio.median == pytest.approx(2.5)
    assert Sample(tuple(map(float, range(1, 101)))).quantile(0.95) == 95.0
