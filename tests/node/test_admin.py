from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.admin import freeze, raise_budget, thaw
from node.audit import verify
from node.ledger import Ledger
from privacy.errors import BudgetRefused, ConfigError
from tests.node.makers import PURPOSE, Folder, open_ledger, policy, pure

POLICY = policy(
    1.0, period_length="year", period_epsilon_nano=500_000_000, projects={"default": 100_000_000}
)  # the tightest is the project's


@pytest.fixture
def ledger(folder: Folder) -> Iterator[Ledger]:
    """A running node's, as node.toml of `folder` names it; the operator's clock is the real one."""
    with contextlib.closing(open_ledger(folder.path / "state" / "east.ledger", policy=POLICY)) as opened:
        yield opened


def test_what_an_operator_adds_holds_from_the_next_query_on(folder: Folder, ledger: Ledger) -> None:
    with pytest.raises(BudgetRefused, match="project `default`"):
        ledger.reserve("r", charge=pure(0.4), purpose=PURPOSE)
    assert raise_budget(folder.config, epsilon=0.5, project="default", reason="agreed").endswith("ε = 0.6 now.")
    ledger.reserve("r", charge=pure(0.4), purpose=PURPOSE)
    with pytest.raises(BudgetRefused, match="for 2030"):
        ledger.reserve("s", charge=pure(0.2), purpose=PURPOSE)
    assert raise_budget(folder.config, epsilon=0.5, reason="agreed") == "The total is ε = 1.5 now."
    assert [share.epsilon_total for share in ledger.balance("default").shares] == [1.5, 0.5, 0.6]


def test_a_period_is_raised_alone(folder: Folder) -> None:
    path = folder.path / "state" / "east.ledger"
    with contextlib.closing(open_ledger(path, policy=POLICY, clock=time.time)) as ledger:
        assert "for 2" in raise_budget(folder.config, epsilon=0.25, this_period=True, reason="agreed")
        assert [share.epsilon_total for share in ledger.balance().shares] == [1.0, 0.75]


def test_raises_outlive_restarts_and_come_on_top_of_node_toml(folder: Folder, ledger: Ledger) -> None:
    raise_budget(folder.config, epsilon=0.5, reason="agreed")
    ledger.close()
    with contextlib.closing(open_ledger(folder.path / "state" / "east.ledger", policy=policy(2.0))) as again:
        assert again.balance().total.epsilon_total == 2.5
    assert verify(folder.config).entries == 4  # opened, policy, admin, policy


def test_a_frozen_node_spends_nothing_and_answers_what_it_answered(folder: Folder, ledger: Ledger) -> None:
    for release in ("answered", "paid"):
        ledger.reserve(release, charge=pure(0.05), purpose=PURPOSE)
    ledger.settle("answered", b"x")
    freeze(folder.config, reason="an audit")
    for release in ("new", "paid"):
        with pytest.raises(BudgetRefused, match="frozen by the operator"):
            ledger.reserve(release, charge=pure(0.01), purpose=PURPOSE)
        with pytest.raises(BudgetRefused, match="frozen by the operator"):
            ledger.inquire(release, charge=pure(0.01), project="default")
    assert ledger.reserve("answered", charge=pure(0.05), purpose=PURPOSE).answer == b"x"
    ledger.settle("paid", b"y")  # what ran already is stored
    assert ledger.balance().frozen
    thaw(folder.config, reason="all is well")
    assert not ledger.balance().frozen
    verify(folder.config)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), float("inf"), 1e-10, 1e12])
def test_only_a_positive_epsilon_raises(folder: Folder, ledger: Ledger, epsilon: float) -> None:
    with pytest.raises(ConfigError, match="--epsilon"):
        raise_budget(folder.config, epsilon=epsilon, reason="agreed")


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "x" * 501, "\udcff"])
def test_a_reason_is_one_line(folder: Folder, ledger: Ledger, reason: str) -> None:
    with pytest.raises(ConfigError, match="--reason"):
        freeze(folder.config, reason=reason)
    assert not ledger.balance().frozen


def test_budgets_that_there_are_not_cannot_be_raised(folder: Folder, ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match="`firms` has no budget"):
        raise_budget(folder.config, epsilon=1, project="firms", reason="agreed")
    with pytest.raises(ConfigError, match="one at a time"):
        raise_budget(folder.config, epsilon=1, project="default", this_period=True, reason="agreed")
    ledger.close()
    open_ledger(folder.path / "state" / "east.ledger").close()
    with pytest.raises(ConfigError, match="no budget for periods"):
        raise_budget(folder.config, epsilon=1, this_period=True, reason="agreed")


def test_a_command_makes_no_ledger(folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no east"):
        freeze(folder.config, reason="too early")
    assert not (folder.path / "state" / "east.ledger").exists()
