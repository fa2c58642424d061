"""Bad input and missing nodes through real daemons: typed errors, and not one unit of budget."""

from pathlib import Path

import duckdb
import pytest

import weir
from tests.federation.corpus_federation import PROVINCES, write_federation

SQL = "SELECT kind, COUNT(*) AS n FROM visits GROUP BY kind"


def _spent(connection: weir.Connection) -> dict[str, float]:
    return {budget.province: budget.epsilon_spent for budget in connection.budget().nodes}


def test_each_node_is_charged_its_share_and_a_repeat_is_free(poor: weir.Connection) -> None:
    first = poor.sql(SQL, epsilon=0.5)
    assert {charge.province: charge.epsilon_charged for charge in first.charges} == dict.fromkeys(PROVINCES, 0.25)
    again = poor.sql(SQL.lower().replace("as n", ""), epsilon=0.5)
    assert all(charge.already_released and charge.epsilon_charged == 0 for charge in again.charges)
    assert again.df()["COUNT(*)"].tolist() == first.df()["n"].tolist()
    assert _spent(poor) == dict.fromkeys(PROVINCES, 0.25)


def test_a_query_that_does_not_fit_the_budget_is_refused_before_anything_is_charged(poor: weir.Connection) -> None:
    for epsilon in (1.9, 1.8):
        poor.sql(SQL, epsilon=epsilon)
    before = _spent(poor)
    with pytest.raises(weir.BudgetRefused, match="left"):
        poor.sql(SQL, epsilon=1.7)
    assert _spent(poor) == before


def test_policy_and_refusals_charge_nothing(poor: weir.Connection) -> None:
    with pytest.raises(weir.RequestRefused, match="at most 1"):
        poor.sql(SQL, epsilon=2.5)
    for bad in (0, -1, float("nan"), float("inf")):
        with pytest.raises(weir.RequestRefused):
            poor.sql(SQL, epsilon=bad)
    with pytest.raises(weir.NameRefused, match="did you mean `visits`"):
        poor.sql("SELECT COUNT(*) FROM visit", epsilon=0.1)
    assert _spent(poor) == dict.fromkeys(PROVINCES, 0.0)


def test_a_node_that_is_down_is_named_and_the_others_answer(poor: weir.Connection) -> None:
    assert poor.federation is not None
    poor.federation.stop_node("anhui")
    with pytest.raises(weir.UnavailableError, match="anhui"):
        poor.sql(SQL, epsilon=0.5, require_all=True)
    assert {budget.epsilon_spent for budget in poor.budget().nodes} == {0.0}
    answer = poor.sql("SELECT province, COUNT(*) AS n FROM visits GROUP BY province", epsilon=0.5)
    assert [missing.province for missing in answer.missing] == ["anhui"]
    assert sorted(answer.df()["province"]) == sorted(set(PROVINCES) - {"anhui"})
    poor.federation.start_node("anhui")
    assert poor.sql(SQL, epsilon=0.25, require_all=True).missing == ()


def test_the_ledger_survives_a_restart(poor: weir.Connection) -> None:
    assert poor.federation is not None
    first = poor.sql(SQL, epsilon=0.5)
    poor.federation.stop_node("jiangsu")
    poor.federation.start_node("jiangsu")
    again = poor.sql(SQL, epsilon=0.5, require_all=True)
    assert all(charge.already_released for charge in again.charges)
    assert again.df().equals(first.df())


def test_catalogs_that_differ_are_refused(union: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    folder = write_federation(tmp_path / "federation", union, epsilon_total=2.0, epsilon_per_query=1.0)
    other = folder / "other.toml"
    other.write_text((folder / "catalog.toml").read_text().replace("bounds = [0, 100]", "bounds = [0, 120]"))
    node = folder / "nodes" / "anhui.toml"
    node.write_text(node.read_text().replace("../catalog.toml", "../other.toml"))
    with weir.up(folder) as connection:
        with pytest.raises(weir.MismatchRefused, match="anhui"):
            connection.sql(SQL, epsilon=0.5)
        assert {budget.epsilon_spent for budget in connection.budget().nodes} == {0.0}


def test_explain_is_free_and_shows_what_each_node_would_run(poor: weir.Connection) -> None:
    plan = poor.explain(SQL, epsilon=0.5).to_dict()
    text = str(plan)
    assert "GROUP BY u, k0" in text
    assert all(province in text for province in PROVINCES)
    assert _spent(poor) == dict.fromkeys(PROVINCES, 0.0)
