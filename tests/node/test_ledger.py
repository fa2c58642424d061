from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.ledger import Ledger, Reservation
from privacy.accounting import Charge, Spent
from privacy.errors import BudgetRefused, ConfigError, InternalError, LedgerError
from tests.node.makers import PURPOSE, open_ledger, policy, pure

DAY_S = 86_400.0
MARCH_30_2026_S = 1_774_828_800.0  # midnight, UTC


class Opener:
    """Opens ledgers below a folder and closes them at the end of the test."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "state" / "east.ledger"
        self.held = contextlib.ExitStack()

    def __call__(self, *, file: Path | None = None, **more: Any) -> Ledger:
        return self.held.enter_context(contextlib.closing(open_ledger(file or self.file, **more)))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    opener = Opener(tmp_path)
    with opener.held:
        yield opener


@pytest.fixture
def ledger(opened: Opener) -> Ledger:
    return opened()


def reserve(ledger: Ledger, release: str, charge: Charge | float, project: str = "default") -> Reservation:
    charge = charge if isinstance(charge, Charge) else pure(charge)
    return ledger.reserve(release, charge=charge, purpose=replace(PURPOSE, project=project))


def inquire(ledger: Ledger, release: str, epsilon: float) -> bool:
    return ledger.inquire(release, charge=pure(epsilon), project="default")


def spent(ledger: Ledger) -> float:
    return ledger.balance().total.epsilon_spent


def left(ledger: Ledger) -> float:
    return ledger.balance().total.epsilon_left


def test_a_release_is_charged_once_and_answered_again_for_free(ledger: Ledger) -> None:
    assert reserve(ledger, "r", 0.25) == Reservation(fresh=True, answer=None)
    ledger.settle("r", b"noisy")
    assert reserve(ledger, "r", 0.25) == Reservation(fresh=False, answer=b"noisy")
    total = ledger.balance().total
    assert (total.epsilon_total, total.epsilon_spent, total.epsilon_left) == (1.0, 0.25, 0.75)


def test_a_reservation_that_never_settled_stays_charged_and_is_used_again(opened: Opener, ledger: Ledger) -> None:
    reserve(ledger, "r", 0.75)
    ledger.close()
    ledger = opened()
    assert spent(ledger) == 0.75
    assert reserve(ledger, "r", 0.75) == Reservation(fresh=False, answer=None)
    assert spent(ledger) == 0.75


def test_what_does_not_fit_is_refused_with_what_is_left_and_not_charged(ledger: Ledger) -> None:
    reserve(ledger, "a", 0.7)
    for attempt in (reserve, inquire):
        with pytest.raises(BudgetRefused, match=r"ε = 0\.5 .* this node: it has 0\.3 of 1 left"):
            attempt(ledger, "b", 0.5)
    assert spent(ledger) == 0.7


def test_inquiring_charges_nothing_and_knows_what_was_released(ledger: Ledger) -> None:
    assert inquire(ledger, "r", 1.0) is False
    reserve(ledger, "r", 1.0)
    assert inquire(ledger, "r", 1.0) is False  # charged, not answered: it would run again
    ledger.settle("r", b"x")
    assert inquire(ledger, "r", 1.0) is True
    assert left(ledger) == 0


def test_a_refusal_names_what_the_charge_costs_at_what_is_left_of_delta(ledger: Ledger) -> None:
    """At the node's whole δ of 10⁻⁶ ρ = 0.0139 costs ε = 0.7416; after a charge of 3 × 10⁻⁷ it costs more."""
    reserve(ledger, "a", Charge(epsilon=0.255, delta=3e-7))
    with pytest.raises(BudgetRefused, match=r"ε = 0\.7\d* .* it has 0\.745 of 1 left") as refused:
        reserve(ledger, "b", Charge(rho=0.013921))
    asked = float(refused.value.message.split("ε = ")[1].split(" ")[0])
    assert asked == pytest.approx(Spent(rho=0.013921).epsilon_at(7e-7), rel=1e-5)
    assert asked > left(ledger)


def test_tenths_add_up(opened: Opener) -> None:
    ledger = opened(total=0.3)
    for name in "abc":
        reserve(ledger, name, 0.1)
    assert left(ledger) == 0
    with pytest.raises(BudgetRefused):
        reserve(ledger, "d", 1e-12)  # a charge rounds up to one nano-ε


def test_a_lowered_total_leaves_nothing(opened: Opener, ledger: Ledger) -> None:
    reserve(ledger, "a", 0.9)
    ledger.close()
    ledger = opened(total=0.5)
    assert left(ledger) == 0
    with pytest.raises(BudgetRefused, match=r"it has 0 of 0\.5 left"):
        reserve(ledger, "b", 0.1)


def test_gaussian_releases_are_composed_in_rho_and_shown_in_epsilon(ledger: Ledger) -> None:
    gaussian = Charge(rho=0.001)
    reserve(ledger, "a", gaussian)
    reserve(ledger, "b", gaussian)
    balance = ledger.balance()
    assert balance.rho_spent == 0.002
    assert balance.total.epsilon_spent == pytest.approx(Spent(rho=0.002).epsilon_at(1e-6), rel=1e-6)
    with pytest.raises(BudgetRefused, match="this node: it has 0\\.7"):
        reserve(ledger, "c", Charge(rho=0.1))


def test_many_small_releases_cost_less_than_their_sum(opened: Opener) -> None:
    ledger = opened(total=2.0)
    for number in range(300):
        reserve(ledger, str(number), 0.01)
    assert spent(ledger) == pytest.approx(Spent(3.0, 0.0, 0.015).epsilon_at(1e-6), rel=1e-6)
    assert spent(ledger) < 1


def test_without_delta_epsilons_add_up_and_gaussian_noise_is_refused(opened: Opener) -> None:
    ledger = opened(policy=policy(1.0, delta=0.0))
    for number in range(100):
        reserve(ledger, str(number), 0.005)
    assert (spent(ledger), left(ledger)) == (0.5, 0.5)
    with pytest.raises(BudgetRefused):
        reserve(ledger, "gaussian", Charge(rho=1e-9))


def test_a_deltas_own_budget_is_kept(opened: Opener) -> None:
    ledger = opened(policy=policy(10.0, delta=2e-9))
    for name in "ab":
        reserve(ledger, name, Charge(epsilon=0.1, delta=1e-9))
    with pytest.raises(BudgetRefused, match="does not fit"):
        reserve(ledger, "c", Charge(epsilon=0.1, delta=1e-18))
    reserve(ledger, "d", 0.1)
    assert ledger.balance().delta_spent == 2e-9
    ledger.close()
    lowered = opened(policy=policy(10.0, delta=1e-9)).balance()
    assert (lowered.total.epsilon_spent, lowered.total.epsilon_left) == (float("inf"), 0.0)


def test_a_period_is_spent_anew_each_time(opened: Opener) -> None:
    now = [MARCH_30_2026_S]
    quarterly = policy(1.0, period_length="quarter", period_epsilon_nano=400_000_000)
    ledger = opened(policy=quarterly, clock=lambda: now[0])
    reserve(ledger, "a", 0.3)
    with pytest.raises(BudgetRefused, match=r"for 2026-Q1: it has 0\.1 of 0\.4 left until 2026-04-01"):
        reserve(ledger, "b", 0.2)
    assert [(share.kind, share.name) for share in ledger.balance().shares] == [("total", ""), ("period", "2026-Q1")]
    now[0] += 2 * DAY_S
    reserve(ledger, "b", 0.4)
    now[0] += 91 * DAY_S
    with pytest.raises(BudgetRefused, match=r"this node: it has 0\.3 of 1 left"):
        reserve(ledger, "c", 0.35)
    now[0] = MARCH_30_2026_S  # a clock that is put back finds what was spent then
    with pytest.raises(BudgetRefused, match=r"for 2026-Q1: it has 0\.1"):
        reserve(ledger, "c", 0.2)


def test_a_period_of_another_length_counts_what_was_spent_before(opened: Opener) -> None:
    first = opened(policy=policy(9.0), clock=lambda: MARCH_30_2026_S)
    reserve(first, "a", 0.3)
    first.close()
    monthly = policy(9.0, period_length="month", period_epsilon_nano=400_000_000)
    with pytest.raises(BudgetRefused, match="for 2026-03: it has 0\\.1"):
        reserve(opened(policy=monthly, clock=lambda: MARCH_30_2026_S + DAY_S), "b", 0.2)


def test_projects_have_budgets_of_their_own(opened: Opener) -> None:
    ledger = opened(
        policy=policy(2.0, project_epsilon_nano=500_000_000, projects={"ageing-2026": 1_000_000_000}),
    )
    reserve(ledger, "a", 0.5, "small")
    for attempt in (reserve, lambda *one: ledger.inquire(one[1], charge=pure(one[2]), project=one[3])):
        with pytest.raises(BudgetRefused, match=r"of project `small` at this node: it has 0 of 0\.5 left"):
            attempt(ledger, "b", 0.1, "small")
    reserve(ledger, "b", 1.0, "ageing-2026")
    assert reserve(ledger, "a", 0.5, "ageing-2026").fresh is False  # paid by another project already
    assert [(s.name, s.epsilon_left) for s in ledger.balance("other").shares] == [("", 0.5), ("other", 0.5)]
    with pytest.raises(BudgetRefused, match="this node"):
        reserve(ledger, "c", 0.6, "other")


def test_settling_out_of_turn_is_a_fault(ledger: Ledger) -> None:
    with pytest.raises(InternalError):
        ledger.settle("r", b"x")
    reserve(ledger, "r", 0.1)
    ledger.settle("r", b"x")
    with pytest.raises(InternalError):
        ledger.settle("r", b"y")
    assert reserve(ledger, "r", 0.1).answer == b"x"


def test_an_empty_answer_is_an_answer(ledger: Ledger) -> None:
    reserve(ledger, "r", 0.1)
    ledger.settle("r", b"")
    assert reserve(ledger, "r", 0.1).answer == b""


def test_a_changed_answer_is_never_sent(opened: Opener, ledger: Ledger) -> None:
    reserve(ledger, "r", 0.1)
    ledger.settle("r", b"noisy")
    with contextlib.closing(sqlite3.connect(opened.file)) as database, database:
        database.execute("UPDATE answers SET answer = X'00'")
    with pytest.raises(LedgerError, match="not the one that the journal names"):
        reserve(ledger, "r", 0.1)


def test_secret_and_key_are_made_once(tmp_path: Path, opened: Opener, ledger: Ledger) -> None:
    secret, key = ledger.secret, ledger.public_key
    assert len(bytes.fromhex(secret)) == len(bytes.fromhex(key)) == 32
    ledger.close()
    again, other = opened(), opened(file=tmp_path / "other.ledger")
    assert (again.secret, again.public_key) == (secret, key)
    assert other.secret != secret
    assert other.public_key != key


def test_two_daemons_cannot_have_one_ledger(opened: Opener, ledger: Ledger) -> None:
    with pytest.raises(ConfigError, match="another daemon"):
        opened()
    ledger.close()
    opened().close()


def test_a_ledger_belongs_to_its_province(opened: Opener, ledger: Ledger) -> None:
    ledger.close()
    with pytest.raises(ConfigError, match="belongs to east, not to west"):
        opened(province="west")
    opened().close()  # the refusal let go of it


def test_what_is_no_ledger_is_a_config_error(opened: Opener) -> None:
    opened.file.parent.mkdir()
    opened.file.write_bytes(b"something else, long enough to be read" * 100)
    opened.file.with_name("east.ledger.key").touch()
    with pytest.raises(ConfigError):
        opened()


def test_a_ledger_of_another_version_is_refused(opened: Opener, ledger: Ledger) -> None:
    ledger.close()
    with contextlib.closing(sqlite3.connect(opened.file)) as database, database:
        database.execute("UPDATE facts SET value = '1' WHERE name = 'schema'")
    with pytest.raises(ConfigError, match="another version"):
        opened()


def test_a_database_of_something_else_is_refused(opened: Opener, ledger: Ledger) -> None:
    ledger.close()
    opened.file.unlink()
    with contextlib.closing(sqlite3.connect(opened.file)) as database, database:
        database.execute("CREATE TABLE facts (x TEXT)")
    with pytest.raises(ConfigError, match="another version"):
        opened()


def test_it_is_durable_by_configuration_and_private_by_permission(opened: Opener, ledger: Ledger) -> None:
    database = ledger._journal.database
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    for name in ("east.ledger", "east.ledger.key"):
        assert opened.file.with_name(name).stat().st_mode & 0o077 == 0


def test_threads_never_overspend(ledger: Ledger) -> None:
    def attempt(number: int) -> bool:
        try:
            return reserve(ledger, f"r{number % 30}", 0.1).fresh
        except BudgetRefused:
            return False

    with ThreadPoolExecutor(8) as pool:
        fresh = list(pool.map(attempt, range(120)))
    assert sum(fresh) == 10
    assert left(ledger) == 0
