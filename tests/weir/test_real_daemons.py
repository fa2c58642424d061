"""The client, the command line and `weir.up` against real nodes and a real coordinator."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import weir
from weir.cli.app import app

CATALOG = """
[region]
name = "Two"
version = "1"
description = { en = "Two provinces", zh = "两省" }
provinces = ["anhui", "jiangsu"]

[tables.visits]
access = "private"
description = { en = "Visits", zh = "就诊" }
unit = "person"
unit_column = "person_id"
span = 1
max_rows = 2
max_groups = 2

[tables.visits.columns]
person_id = { type = "BIGINT", description = { en = "Person", zh = "人员" } }
kind = { type = "VARCHAR", values = ["in", "out"], description = { en = "Kind", zh = "类别" } }
cost = { type = "DOUBLE", bounds = [0, 100], grid = 0.01, description = { en = "Cost", zh = "费用" } }
"""
NODE = """
province = "{province}"
catalog = "../catalog.toml"
listen = "127.0.0.1:0"
ledger = "../state/{province}.ledger"
[budget]
epsilon_total = 1e9
epsilon_per_query = 1e8
[tables.visits]
files = ["../data/{province}.csv"]
"""
SQL = "SELECT kind, COUNT(*) AS n, AVG(cost) AS mean FROM visits GROUP BY kind ORDER BY kind"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("federation")
    for name in ("nodes", "data", "state"):
        (folder / name).mkdir()
    (folder / "catalog.toml").write_text(CATALOG, encoding="utf-8")
    (folder / "coordinator.toml").write_text('catalog = "catalog.toml"\n')
    for number, province in enumerate(("anhui", "jiangsu")):
        (folder / "nodes" / f"{province}.toml").write_text(NODE.format(province=province))
        rows = [f"{number * 1000 + person},{kind},{person}" for person in range(100) for kind in ("in", "out")]
        (folder / "data" / f"{province}.csv").write_text("\n".join(["person_id,kind,cost", *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def con(folder: Path) -> Iterator[weir.Connection]:
    with weir.up(folder) as con:
        yield con


def test_a_question_is_answered_by_both(con: weir.Connection) -> None:
    answer = con.sql(SQL, epsilon=1e6)
    assert answer.df()["kind"].tolist() == ["in", "out"]
    assert answer.df()["n"].tolist() == [200, 200]
    assert answer.df()["mean"].tolist() == pytest.approx([49.5, 49.5], abs=0.01)
    assert answer.noisy_columns == ("n", "mean")
    assert [charge.province for charge in answer.charges] == ["anhui", "jiangsu"]
    assert con.sql(SQL, epsilon=1e6).charges[0].already_released


def test_an_explain_costs_nothing(con: weir.Connection) -> None:
    before = [node.epsilon_left for node in con.budget().nodes]
    explained = con.sql("EXPLAIN SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 3) COUNT(*) FROM visits")
    assert isinstance(explained, weir.Explanation)
    assert explained.epsilon == 3
    assert [node.epsilon_left for node in con.budget().nodes] == before
    paid = con.sql("SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 3) COUNT(*) FROM visits")
    assert isinstance(paid, weir.Answer)
    assert [charge.epsilon_charged for charge in paid.charges] == [3, 3]  # span 1
    again = con.sql("SELECT COUNT(*) FROM visits", epsilon=3)
    assert [charge.epsilon_charged for charge in again.charges] == [0, 0]
    assert again.df().iloc[0, 0] == paid.df().iloc[0, 0]


def test_no_more_is_spent_than_the_accuracy_needs(con: weir.Connection) -> None:
    sql = "SELECT kind, COUNT(*) AS n, SUM(cost) AS s FROM visits WHERE cost > 3 GROUP BY kind"
    explained = con.explain(sql, epsilon=1e4, max_standard_error=40)
    assert explained.epsilon < 1e4
    answer = con.sql(sql, epsilon=1e4, max_standard_error=40)
    assert (answer.epsilon, answer.delta) == (explained.epsilon, explained.delta)
    errors = answer.standard_errors()[["n", "s"]].to_numpy()
    assert 38 < errors.max() <= 40
    again = con.sql(sql, epsilon=2e4, max_standard_error=40.0)  # more may be spent; no more is needed
    assert [charge.epsilon_charged for charge in again.charges] == [0, 0]
    before = [node.epsilon_left for node in con.budget().nodes]
    with pytest.raises(weir.RequestRefused, match="standard error of `s` is still"):
        con.sql(sql, epsilon=0.1, max_standard_error=40)
    assert [node.epsilon_left for node in con.budget().nodes] == before


def test_predicted_errors_are_those_of_the_answer(con: weir.Connection) -> None:
    sql = "SELECT kind, COUNT(*) AS n, SUM(cost) AS total FROM visits GROUP BY kind"
    predicted = con.explain(sql, epsilon=0.5).merged_standard_errors
    errors = con.sql(sql, epsilon=0.5).standard_errors()
    assert predicted is not None
    assert errors["n"][0] == pytest.approx(predicted["COUNT(*)"], rel=0.01)
    assert errors["total"][0] == pytest.approx(predicted["SUM(visits.cost)"], rel=0.01)


def test_a_missing_province_is_named_and_comes_back(con: weir.Connection) -> None:
    assert con.federation is not None
    con.federation.stop_node("jiangsu")
    try:
        answer = con.sql(SQL, epsilon=1e6 + 1)
        assert [gone.province for gone in answer.missing] == ["jiangsu"]
        assert answer.df()["n"].tolist() == [100, 100]
        assert "Missing: jiangsu" in repr(answer)
        with pytest.raises(weir.UnavailableError, match="jiangsu"):
            con.sql(SQL, epsilon=1e6 + 2, require_all=True)
    finally:
        con.federation.start_node("jiangsu")
    assert con.sql(SQL, epsilon=1e6 + 3).missing == ()


def test_the_command_line_asks_it(con: weir.Connection) -> None:
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "--at", con.address])
        assert done.exit_code == 0, done.stderr
        return done.stdout

    rows = list(csv.DictReader(io.StringIO(run("query", SQL, "-e", "1000000", "--format", "csv"))))
    assert [row["n"] for row in rows] == ["200", "200"]
    assert list(rows[0]) == ["kind", "n", "n_se", "n_low", "n_high", "mean", "mean_se", "mean_low", "mean_high"]
    assert "SQL at anhui (alike at jiangsu)" in run("explain", SQL)
    assert "类别" in run("catalog")
    spent = [node["epsilon_spent"] for node in json.loads(run("budget", "--format", "json"))["nodes"]]
    assert len(spent) == 2


def test_refusals_point_into_the_sql_and_cost_nothing(con: weir.Connection) -> None:
    before = con.budget()
    done = CliRunner().invoke(app, ["query", "SELECT knd\nFROM visits", "-e", "1", "--at", con.address])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[1:3] == ["  1 | SELECT knd", "    |        ^"]
    with pytest.raises(weir.RequestRefused, match="at most"):
        con.sql(SQL, epsilon=2e8)
    assert con.budget() == before


def test_check_says_whether_a_node_can_serve(folder: Path) -> None:
    good = folder / "nodes" / "anhui.toml"
    done = CliRunner().invoke(app, ["node", "check", "--config", str(good)])
    assert done.exit_code == 0, done.output
    assert "The data meets the standard" in done.stdout
    (folder / "data" / "broken.csv").write_text("person_id,kind\n1,in\n")
    bad = folder / "nodes" / "anhui.broken"
    bad.write_text(good.read_text().replace("anhui.csv", "broken.csv"))
    done = CliRunner().invoke(app, ["node", "check", "--config", str(bad)])
    assert done.exit_code == 1
    assert "cannot serve" in done.output


def test_an_operator_audits_and_governs_a_running_node(con: weir.Connection, folder: Path, tmp_path: Path) -> None:
    config = str(folder / "nodes" / "anhui.toml")

    def run(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, ["node", *arguments], env={"COLUMNS": "200"})
        assert done.exit_code == code, done.output
        return done.stdout

    con.sql(SQL, epsilon=2.0, project="ageing-2026")
    well = run("ledger", "verify", "--config", config)
    assert well.startswith("All is well: ")
    assert len(well.splitlines()) == 1
    head = well.split()[-1]
    assert "frozen" not in repr(con.budget())
    run("budget", "freeze", "--config", config, "--reason", "an audit")
    with pytest.raises(weir.BudgetRefused, match="anhui: This node's budget is frozen by the operator"):
        con.sql(SQL, epsilon=3.0)
    assert con.sql(SQL, epsilon=2.0).charges[0].already_released
    assert "in all (frozen)" in repr(con.budget())
    run("budget", "thaw", "--config", config, "--reason", "all is well")
    con.sql(SQL, epsilon=3.0)
    total = con.budget().nodes[0].epsilon_total
    assert "1e+09" in run("budget", "raise", "--config", config, "--epsilon", "7", "--reason", "agreed")
    assert con.budget().nodes[0].epsilon_total == total + 7
    table = run("ledger", "show", "--config", config, "--last", "9")
    for word in ("ageing-2026", "visits: ", "operator: freeze: an audit", "raise total by ε = 7"):
        assert word in table
    key = table.split()[-1].rstrip(".")
    exported = tmp_path / "anhui.jsonl"
    exported.write_text(run("ledger", "export", "--config", config), encoding="utf-8")
    checked = ("ledger", "verify", "--export", str(exported), "--public-key", key)
    assert run(*checked, "--head", head) == run("ledger", "verify", "--config", config, "--head", head)
    lines = exported.read_text(encoding="utf-8").splitlines()
    exported.write_text("\n".join(lines[:3] + lines[4:]), encoding="utf-8")
    assert run(*checked, code=1) == "The ledger's journal breaks at entry 4: it cannot be read.\n"
    assert "cut off or rewritten" in run("ledger", "verify", "--config", config, "--head", "0" * 64, code=1)
    run("ledger", "verify", "--export", str(exported), code=2)
    run("budget", "raise", "--config", config, "--epsilon", "-7", "--reason", "x", code=1)
