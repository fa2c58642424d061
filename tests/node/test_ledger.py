from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from node.ledger import Ledger
from privacy.errors import BudgetRefused, ConfigError, InternalError


class Opener:
    """Opens ledgers below a folder and closes them at the end of the test."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "state" / "east.ledger"
        self.held = contextlib.ExitStack()

    def __call__(self, *, total: float = 1.0, province: str = "east", file: Path | None = None) -> Ledger:
        ledger = Ledger(file or self.file, province=province, epsilon_total=total)
        return self.held.enter_context(contextlib.closing(ledger))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    opener = Opener(tmp_path)
    with opener.held:
        yield opener


@pytest.fixture
def ledger(opened: Opener) -> Ledger:
    return opened()


def test_a_release_is_charged_once_and_answered_again_for_free(ledger: Ledger) -> None:
    first = ledger.reserve("r", epsilon=0.25)
    assert (first.fresh, first.answer) == (True, None)
    ledger.settle("r", b"noisy")
    again = ledger.reserve("r", epsilon=0.25)
    assert (again.fresh, again.answer) == (False, b"noisy")
    balance = ledger.balance()
    assert (balance.epsilon_total, balance.epsilon_spent, balance.epsilon_left) == (1.0, 0.25, 0.75)


def test_a_reservation_that_never_settled_stays_charged_and_is_used_again(opened: Opener, ledger: Ledger) -> None:
    ledger.reserve("r", epsilon=0.75)
    ledger.close()
    ledger = opened()
    assert ledger.balance().epsilon_spent == 0.75
    again = ledger.reserve("r", epsilon=0.75)
    assert (again.fresh, again.answer) == (False, None)
    assert ledger.balance().epsilon_spent == 0.75


def test_what_does_not_fit_is_refused_with_what_is_left_and_not_charged(ledger: Ledger) -> None:
    ledger.reserve("a", epsilon=0.7)
    for attempt in (ledger.reserve, ledger.inquire):
        with pytest.raises(BudgetRefused, match=r"it has 0\.3 of 1 left"):
            attempt("b", epsilon=0.5)
    assert ledger.balance().epsilon_spent == 0.7


def test_inquiring_charges_nothing_and_knows_what_was_released(ledger: Ledger) -> None:
    assert ledger.inquire("r", epsilon=1.0) is False
    ledger.reserve("r", epsilon=1.0)
    assert ledger.inquire("r", epsilon=1.0) is False  # charged, not answered: it would run again
    ledger.settle("r", b"x")
    assert ledger.inquire("r", epsilon=1.0) is True
    assert ledger.balance().epsilon_left == 0


def test_tenths_add_up(opened: Opener) -> None:
    ledger = opened(total=0.3)
    for name in "abc":
        ledger.reserve(name, epsilon=0.1)
    assert ledger.balance().epsilon_left == 0
    with pytest.raises(BudgetRefused):
        ledger.reserve("d", epsilon=1e-12)  # a charge rounds up to one nano-ε


def test_a_lowered_total_leaves_nothing(opened: Opener, ledger: Ledger) -> None:
    ledger.reserve("a", epsilon=0.9)
    ledger.close()
    ledger = opened(total=0.5)
    assert ledger.balance().epsilon_left == 0
    with pytest.raises(BudgetRefused, match=r"it has 0 of 0\.5 left"):
        ledger.reserve("b", epsilon=0.1)


def test_settling_out_of_turn_is_a_fault(ledger: Ledger) -> None:
    with pytest.raises(InternalError):
        ledger.settle("r", b"x")
    ledger.reserve("r", epsilon=0.1)
    ledger.settle("r", b"x")
    with pytest.raises(InternalError):
        ledger.settle("r", b"y")
    assert ledger.reserve("r", epsilon=0.1).answer == b"x"


def test_an_empty_answer_is_an_answer(ledger: Ledger) -> None:
    ledger.reserve("r", epsilon=0.1)
    ledger.settle("r", b"")
    assert ledger.reserve("r", epsilon=0.1).answer == b""


def test_the_secret_is_made_once(tmp_path: Path, opened: Opener, ledger: Ledger) -> None:
    secret = ledger.secret
    assert len(bytes.fromhex(secret)) == 32
    ledger.close()
    assert opened().secret == secret
    assert opened(file=tmp_path / "other.ledger").secret != secret


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
    with pytest.raises(ConfigError, match="no ledger"):
        opened()


def test_a_ledger_of_another_version_is_refused(opened: Opener, ledger: Ledger) -> None:
    ledger.close()
    with sqlite3.connect(opened.file) as database:
        database.execute("UPDATE facts SET value = '999' WHERE name = 'schema'")
    database.close()
    with pytest.raises(ConfigError, match="another version"):
        opened()


def test_it_is_durable_by_configuration_and_private_by_permission(opened: Opener, ledger: Ledger) -> None:
    assert ledger._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert ledger._database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert opened.file.stat().st_mode & 0o077 == 0


def test_threads_never_overspend(ledger: Ledger) -> None:
    def attempt(number: int) -> bool:
        try:
            return ledger.reserve(f"r{number % 30}", epsilon=0.1).fresh
        except BudgetRefused:
            return False

    with ThreadPoolExecutor(8) as pool:
        fresh = list(pool.map(attempt, range(120)))
    assert sum(fresh) == 10
    assert ledger.balance().epsilon_left == 0


EPSILONS = st.floats(1e-12, 2.0)
IDS = st.integers(0, 6).map(str)


class LedgerModel(RuleBasedStateMachine):
    """Any sequence of reserve, settle, retry and reopen: spent covers what was released and never exceeds the total."""

    total = 3.0

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger(Path(self.folder.name) / "l", province="east", epsilon_total=self.total)
        self.epsilon: dict[str, float] = {}
        self.answers: dict[str, bytes] = {}

    @rule(name=IDS, epsilon=EPSILONS)
    def reserve(self, name: str, epsilon: float) -> None:
        epsilon = self.epsilon.get(name, epsilon)  # the fragment, hence ε, is part of the identity
        try:
            reservation = self.ledger.reserve(name, epsilon=epsilon)
        except BudgetRefused:
            assert name not in self.epsilon
            assert epsilon > self.ledger.balance().epsilon_left - 1e-9
            return
        assert reservation.fresh == (name not in self.epsilon)
        assert reservation.answer == self.answers.get(name)
        self.epsilon[name] = epsilon

    @precondition(lambda self: set(self.epsilon) - set(self.answers))
    @rule(data=st.data(), answer=st.binary(max_size=8))
    def settle(self, data: st.DataObject, answer: bytes) -> None:
        name = data.draw(st.sampled_from(sorted(set(self.epsilon) - set(self.answers))))
        self.ledger.settle(name, answer)
        self.answers[name] = answer

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(Path(self.folder.name) / "l", province="east", epsilon_total=self.total)

    @invariant()
    def spent_covers_what_was_charged(self) -> None:
        balance = self.ledger.balance()
        charged = sum((Fraction(epsilon) for epsilon in self.epsilon.values()), Fraction(0))
        # A float's shortest decimal is within half a unit in the last place of it; the slack is that, not the rounding.
        assert Fraction(balance.epsilon_spent) >= charged - Fraction(1, 10**14)
        assert balance.epsilon_spent <= self.total

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()


TestLedgerModel = LedgerModel.TestCase
TestLedgerModel.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
