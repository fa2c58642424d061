"""The benchmarks run, at their smallest size: what they print is measured, and written as JSON."""

import io
import json
import sys
from pathlib import Path

import duckdb
import pytest
from rich.console import Console

from benchmarks import bounded, concurrency, noise, overhead, planning, report, scale, visits
from benchmarks.accuracy.cases import Subject
from benchmarks.accuracy.environments import HERE
from benchmarks.peers import compare, plot, sides, views
from benchmarks.peers.tables import TABLES, PeerTable
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


def test_peers(tmp_path: Path) -> None:
    (table,) = (table for table in TABLES if table.title == "visits within limits")
    compared = compare.measure(
        rows=20_000, rounds=2, peers=(), tables=[table], seconds_of_errors=0.2, build=tmp_path / "build"
    )
    views.write(compared, tmp_path)
    plot.draw(compared, tmp_path)
    (written,) = json.loads((tmp_path / "peers.json").read_text())["tables"]
    assert set(written["sides"]) == {compare.PLAIN, compare.PREPARED, compare.LIVE}
    prepared, live = (written["sides"][name] for name in (compare.PREPARED, compare.LIVE))
    assert prepared["processor_s"]["by_process"].keys() == {"client", "coordinator", "node"}
    assert live[f"time over {compare.PREPARED}"]["n"] == 2
    assert all(error > 0 for error, _ in prepared["rmse"])
    assert "<svg" in (tmp_path / "peers.svg").read_text()
    assert f"{written['rows']:,} rows" in views.markdown(compared)


@pytest.mark.parametrize("table", [table for table in TABLES if not table.enforced], ids=lambda table: table.title)
def test_rows_of_peers_are_within_the_limits(table: PeerTable, tmp_path: Path) -> None:
    """What goes beyond, engines drop differently, and errors would not compare."""
    subject: Subject = table.subject
    file = table.made(tmp_path, 20_000)
    (key,), (measure,) = subject.keys, subject.measures
    with duckdb.connect() as connection:
        of_group = f"SELECT {subject.unit}, {key}, COUNT(*) AS n FROM '{file}' GROUP BY ALL"
        most = connection.execute(
            f"SELECT MAX(n), MAX(groups) FROM (SELECT MAX(n) AS n, COUNT(*) AS groups FROM ({of_group}) GROUP BY {subject.unit})"
        ).fetchall()
        keys = connection.execute(f"SELECT DISTINCT {key} FROM '{file}'").fetchall()
        low, high = connection.execute(f"SELECT MIN({measure}), MAX({measure}) FROM '{file}'").fetchall()[0]
    assert most[0][0] <= subject.max_rows
    assert most[0][1] <= subject.max_groups
    assert {found for (found,) in keys} <= set(subject.keys[key])
    assert low >= 0
    assert high <= subject.measures[measure].highest


def test_a_peer_serves_until_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = """
import sys
sys.path.insert(0, %r)
from harness import Query, run
def prepare(case):
    print("packages print what they like")
    return Query(whole=lambda: [[case["answer"]]], again=lambda: [[1 / 0]])
run("duckdb", lambda task: prepare)
"""
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers" / "stub.py").write_text(script % str(HERE / "peers"))
    monkeypatch.setattr(sides, "HERE", tmp_path)
    with sides.peer_side("stub", {"cases": [{"answer": 2.5}]}, python=lambda _: Path(sys.executable)) as peer:
        assert peer.engine == f"duckdb {duckdb.__version__}"
        reply = peer.whole()
        assert reply.values == [[2.5]]
        assert reply.seconds > 0
        with pytest.raises(sides.SideError, match="ZeroDivisionError"):
            peer.again()


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
