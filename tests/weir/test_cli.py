import csv
import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import weir
from privacy.errors import Position
from privacy.request import DELTA, Request
from tests.weir.fake_coordinator import FakeCoordinator, serving
from weir.cli.app import app
from weir.cli.errors import error_text, excerpt

ROOT = Path(__file__).resolve().parents[2]
SQL = "SELECT kind, COUNT(*) AS n\nFROM visits GROUP BY kind"


def _run(*arguments: str, coordinator: FakeCoordinator | None = None, stdin: str | None = None) -> Result:
    with serving(coordinator or FakeCoordinator()) as address:
        return CliRunner().invoke(app, list(arguments), input=stdin, env={"WEIR_AT": address, "COLUMNS": "120"})


def test_query_prints_a_table_for_people() -> None:
    done = _run("query", SQL, "--epsilon", "0.5")
    assert done.exit_code == 0
    assert "12,345 ± 14" in done.stdout
    assert "Missing: anhui" in done.stdout
    assert done.stderr == ""  # progress only where a person watches
    assert not any(line.endswith(" ") for line in done.stdout.splitlines())


def test_csv_has_error_bars_behind_each_noisy_column() -> None:
    done = _run("query", SQL, "-e", "0.5", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    names = ["n", "n_se", "n_low", "n_high", "mean_cost", "mean_cost_se", "mean_cost_low", "mean_cost_high"]
    assert list(rows[0]) == ["kind", "year", *names]
    assert [rows[0][name] for name in ("kind", "year", "n", "n_se")] == ["outpatient", "2023", "12345", "14.1"]
    assert [float(rows[0][name]) for name in ("n_low", "n_high")] == pytest.approx([12316.8, 12387.3])
    assert [rows[2][name] for name in ("kind", "n_se", *names[4:])] == ["", "14.1", "", "", "", ""]


def test_json_has_rows_errors_and_the_receipt() -> None:
    found = json.loads(_run("query", SQL, "-e", "0.5", "--format", "json").stdout)
    assert found["rows"][0] == {"kind": "outpatient", "year": 2023, "n": 12345, "mean_cost": 123.4567}
    assert found["standard_errors"][0] == {"kind": None, "year": None, "n": 14.1, "mean_cost": 0.0345}
    assert found["low"][0]["n"] == pytest.approx(12316.8)
    assert found["high"][0]["n"] == pytest.approx(12387.3)
    assert found["high"][0]["kind"] is None
    assert found["epsilon"] == 0.5
    assert found["charges"][0]["epsilon_charged"] == 0.25
    assert found["missing"][0]["province"] == "anhui"
    assert len(found["notes"]) == 1


def test_sql_may_come_from_stdin_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_text(SQL, encoding="utf-8")
    for arguments, stdin in ((["-"], SQL), (["--file", str(tmp_path / "q.sql")], None)):
        coordinator = FakeCoordinator()
        assert _run("query", *arguments, "-e", "1", coordinator=coordinator, stdin=stdin).exit_code == 0
        assert Request.decode(coordinator.requests[0]).sql == SQL


def test_options_travel() -> None:
    coordinator = FakeCoordinator()
    _run("query", SQL, "-e", "1", "--require-all", "--max-rows", "2", "--max-groups", "3", coordinator=coordinator)
    _run("explain", SQL, "--delta", "0", "--project", "ageing", coordinator=coordinator)
    accuracy = ["--max-standard-error", "50", "--max-relative-error", "0.1", "--expected-rows", "1000"]
    for command in ("query", "explain"):
        _run(command, SQL, "-e", "1", *accuracy, coordinator=coordinator)
    _run("budget", "--project", "ageing", coordinator=coordinator)
    first, second, *accurate = map(Request.decode, coordinator.requests)
    named = [
        (one.max_standard_error, one.max_relative_error, one.expected_rows) for one in (r.options for r in accurate)
    ]
    assert named == [(50.0, 0.1, 1000.0)] * 2
    assert (first.options.require_all, first.options.max_rows, first.options.max_groups) == (True, 2, 3)
    assert (first.delta, first.project) == (DELTA, "default")
    assert (second.delta, second.project) == (0.0, "ageing")
    assert coordinator.projects == ["ageing"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["query", SQL, "--epsilon", "little"],
        ["query", "--epsilon", "1"],  # no SQL
        ["query", SQL, "--file", "q.sql", "--epsilon", "1"],  # twice
        ["query", "--file", "/nowhere/q.sql", "--epsilon", "1"],
        ["query", SQL, "--epsilon", "1", "--format", "xml"],
        ["coordinator", "serve", "--config", "c.toml", "--node", "shanghai"],
        ["demo-data", "folder", "--visits", "3"],
        ["fly"],
    ],
)
def test_wrong_usage_leaves_with_2(arguments: list[str]) -> None:
    done = _run(*arguments)
    assert done.exit_code == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("epsilon", ["0", "-1", "nan", "inf"])
def test_an_epsilon_that_is_none_is_refused(epsilon: str) -> None:
    coordinator = FakeCoordinator()
    done = _run("query", SQL, f"--epsilon={epsilon}", coordinator=coordinator)
    assert done.exit_code == 1
    assert "Give ε as a positive finite number" in done.stderr
    assert coordinator.requests == []


def test_epsilon_stands_in_the_command_or_in_the_sql() -> None:
    coordinator = FakeCoordinator()
    written = SQL.replace("SELECT", "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 0.25)")
    assert _run("query", written, coordinator=coordinator).exit_code == 0
    missing = _run("query", SQL, coordinator=coordinator)
    assert missing.exit_code == 1
    assert "`epsilon` is missing" in missing.stderr
    assert [Request.decode(raw).epsilon for raw in coordinator.requests] == [0.25]


def test_an_error_points_into_the_sql() -> None:
    fault = weir.NameRefused("No column `knd`.", remedy="Did you mean `kind`?", position=Position(2, 22))
    done = _run("query", SQL, "-e", "1", coordinator=FakeCoordinator(fault=fault))
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "error: No column `knd`.",
        "  2 | FROM visits GROUP BY kind",
        "    |                      ^",
        "  → Did you mean `kind`?",
    ]


def test_the_caret_stands_under_wide_characters_and_in_long_lines() -> None:
    assert excerpt("SELECT '上海', x", Position(1, 14)).splitlines()[1] == "    |                ^"
    assert excerpt("SELECT\tx", Position(1, 8)).splitlines() == ["  1 | SELECT x", "    |        ^"]
    long = "SELECT " + "a + " * 100 + "b"
    line, caret = excerpt(long, Position(1, len(long))).splitlines()
    assert line[caret.index("^")] == "b"
    assert len(line) < 120
    assert excerpt("SELECT 1", Position(7, 1)) == "(line 7, column 1)"


def test_errors_that_are_not_about_the_sql_do_not_point_into_it() -> None:
    fault = weir.ConfigError("node.toml is wrong.", position=Position(1, 1))
    assert error_text(fault, SQL).plain == "error: node.toml is wrong. (line 1, column 1)"


def test_square_brackets_are_no_markup() -> None:
    fault = weir.NameRefused("No column `[red]`.", position=Position(1, 8))
    assert "[red]" in _run("query", "SELECT [red]", "-e", "1", coordinator=FakeCoordinator(fault=fault)).stderr


def test_a_fault_of_weirs_own_shows_its_kind_and_place_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a value of a person")

    monkeypatch.setattr("weir.connection.Connection.sql", broken)
    done = _run("query", SQL, "-e", "1")
    assert done.exit_code == 1
    assert "ValueError at test_cli.py:" in done.stderr
    assert "a value of a person" not in done.output


def test_nobody_there_is_one_message() -> None:
    done = CliRunner().invoke(app, ["budget", "--at", "127.0.0.1:1"])
    assert done.exit_code == 1
    assert done.stderr.startswith("error: Nothing answers at 127.0.0.1:1.")
    assert "weir up" in done.stderr


def test_explain_is_for_people_and_machines() -> None:
    assert "SQL at shanghai (alike at jiangsu)" in _run("explain", SQL).stdout
    found = json.loads(_run("explain", SQL, "--epsilon", "0.5", "--format", "json").stdout)
    assert found["nodes"][0]["province"] == "shanghai"


def test_a_query_that_explains_is_shown_as_explain_does() -> None:
    assert _run("query", f"EXPLAIN {SQL}").stdout == _run("explain", SQL).stdout
    found = json.loads(_run("query", f"explain {SQL}", "-e", "0.5", "--format", "json").stdout)
    assert found["nodes"][0]["province"] == "shanghai"
    refused = _run("query", f"EXPLAIN {SQL}", "--format", "csv")
    assert refused.exit_code == 1
    assert "--format json" in refused.stderr


def test_catalog_is_for_people_and_machines() -> None:
    assert "就诊记录" in _run("catalog").stdout
    assert "就诊记录" not in _run("catalog", "hospitals").stdout
    found = json.loads(_run("catalog", "visits", "--format", "json").stdout)
    assert found["tables"]["visits"]["columns"]["cost"]["bounds"] == [0, 1000]
    assert found["tables"]["visits"]["unit"] == "person"
    assert _run("catalog", "visit").exit_code == 1


def test_budget_is_for_people_and_machines() -> None:
    text = _run("budget").stdout
    assert "19.75" in text
    assert "Missing: anhui (cannot be reached)" in text
    found = json.loads(_run("budget", "--format", "json").stdout)
    assert [node["epsilon_left"] for node in found["nodes"]] == [19.75, 18.5]


def test_up_says_what_a_folder_lacks(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["up", str(tmp_path)])
    assert done.exit_code == 1
    assert "lacks catalog.toml and coordinator.toml and nodes/*.toml" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_up_serves_until_it_is_asked_to_stop(
    tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nodes").mkdir()
    for name in ("catalog.toml", "coordinator.toml"):
        (tmp_path / name).write_text("")
    (tmp_path / "nodes" / "anhui.toml").write_text('province = "anhui"')
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    code = (
        "import sys, weir.federation, weir.cli;"
        "weir.federation.Federation.__init__.__kwdefaults__['program'] = (sys.executable, '-m', 'tests.weir.fake_weir');"
        "weir.cli.main()"
    )
    command = [sys.executable, "-c", code, "up", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = json.loads(process.stdout.readline())
        assert list(said["nodes"]) == ["anhui"]
        asked = CliRunner().invoke(app, ["budget", "--at", said["address"]])
        process.send_signal(number)
        assert process.wait(60) == 0
        words = process.stderr.read()
    assert asked.exit_code == 0
    assert f"weir catalog --at {said['address']}" in words
    assert "Traceback" not in words


def test_a_real_process_ends_with_1_and_no_traceback() -> None:
    command = [sys.executable, "-m", "weir", "query", "SELECT 1", "--epsilon", "1", "--at", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert done.returncode == 1
    assert "no address" in done.stderr
    assert "Traceback" not in done.stderr
