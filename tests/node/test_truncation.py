"""`weir node explain`: the share of real data that a query's limits cut."""

from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from node.truncation import truncation
from privacy.errors import RequestRefused
from tests.federation.conftest import fill, write_federation
from weir.cli.app import app

SQL = "SELECT kind, COUNT(*), SUM(cost) FROM visits GROUP BY kind"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with duckdb.connect(":memory:") as connection:
        fill(connection, 300)
        folder = tmp_path_factory.mktemp("cut") / "federation"
        write_federation(folder, connection, epsilon_total=1.0, epsilon_per_query=1.0)
    return folder / "nodes" / "anhui.toml"


def _plain(config: Path, sql: str) -> float:
    files = config.parents[1] / "data" / "anhui" / "visits.parquet"
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"CREATE VIEW visits AS SELECT * FROM '{files}'")
        row = connection.execute(sql).fetchone()
    assert row is not None
    return float(row[0])


def test_wide_limits_cut_nothing(config: Path) -> None:
    cuts = {cut.label: cut for cut in truncation(config, SQL)[0].cuts}
    assert cuts["rows"].whole == _plain(config, "SELECT COUNT(*) FROM visits")
    assert {cut.share for cut in cuts.values()} == {0.0}


def test_what_is_cut_is_what_exceeds_the_limits(config: Path) -> None:
    cuts = {cut.label: cut for cut in truncation(config, SQL, options={"max_rows": 1})[0].cuts}
    pairs = _plain(config, "SELECT COUNT(*) FROM (SELECT DISTINCT person_id, kind FROM visits)")
    assert cuts["rows"].kept == pairs
    assert cuts["rows"].share == pytest.approx(1 - pairs / cuts["rows"].whole)
    assert 0 < cuts["SUM(visits.cost)"].share < 1


def test_of_an_average_it_is_the_mean(config: Path) -> None:
    cuts = {
        cut.label: cut for cut in truncation(config, "SELECT AVG(cost) FROM visits", options={"max_rows": 2})[0].cuts
    }
    assert cuts["AVG(visits.cost)"].whole == pytest.approx(_plain(config, "SELECT AVG(cost) FROM visits"), rel=1e-6)


def test_a_query_that_asks_nothing_here_is_refused(config: Path) -> None:
    with pytest.raises(RequestRefused, match="nothing of anhui"):
        truncation(config, "SELECT COUNT(*) FROM visits WHERE province = 'shanghai'")


def test_the_operator_sees_a_table_and_a_warning(config: Path) -> None:
    shown = CliRunner().invoke(app, ["node", "explain", SQL, "--config", str(config), "--max-groups", "2"])
    assert shown.exit_code == 0, shown.output
    assert "changed by" in shown.output
    assert "must not leave this node" in shown.output
    refused = CliRunner().invoke(app, ["node", "explain", "SELECT cost FROM visits", "--config", str(config)])
    assert refused.exit_code == 1
