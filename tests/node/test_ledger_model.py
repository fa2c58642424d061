"""Any sequence of charges, settlements, operator's acts, restarts and passing days, against a plain model."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from node.admin import freeze, raise_budget, thaw
from node.audit import show, verify
from node.exact import NANO, Account, ExactCharge
from node.ledger import Balance, Ledger
from node.periods import period
from privacy.accounting import Charge, Spent
from privacy.errors import BudgetRefused
from tests.node.makers import NOW_S, PURPOSE, open_ledger, policy

DAY_S = 86_400.0
DELTA = 1e-6
POLICY = policy(
    4.0,
    delta=DELTA,
    period_length="week",
    period_epsilon_nano=2 * NANO,
    project_epsilon_nano=NANO,
    projects={"ageing": 3 * NANO},
)
RELEASES = st.integers(0, 9).map(str)
PROJECTS = st.sampled_from(["ageing", "default", "firms"])
CHARGES = st.one_of(
    st.floats(1e-12, 1.5).map(lambda epsilon: Charge(epsilon=epsilon)),
    st.floats(1e-9, 0.02).map(lambda rho: Charge(rho=rho)),
    st.floats(1e-9, 0.5).map(lambda epsilon: Charge(epsilon=epsilon, delta=3e-7)),
)
CONFIG = 'province = "east"\ncatalog = "none"\nlisten = "127.0.0.1:0"\nledger = "l"\n[budget]\nepsilon_total = 1\nepsilon_per_query = 1\n[tables]\n'


class LedgerModel(RuleBasedStateMachine):
    """Never over any budget, never less than what was settled, and the same after every restart."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.config = Path(self.folder.name) / "node.toml"
        self.config.write_text(CONFIG)
        self.now = NOW_S
        self.ledger = self._open()
        self.charges: dict[str, Charge] = {}
        self.answers: dict[str, bytes] = {}
        self.spent: defaultdict[str, Spent] = defaultdict(Spent)  # by project and by week
        self.limits = {"": 4.0, "ageing": 3.0, "default": 1.0, "firms": 1.0}
        self.frozen = False

    def _open(self) -> Ledger:
        return open_ledger(Path(self.folder.name) / "l", policy=POLICY, clock=lambda: self.now)

    def _week(self) -> str:
        return period(int(self.now * 1000), "week").name

    @rule(release=RELEASES, charge=CHARGES, project=PROJECTS)
    def reserve(self, release: str, charge: Charge, project: str) -> None:
        charge = self.charges.get(release, charge)  # the fragment, hence the charge, is part of the identity
        before = self.ledger.balance(project)
        try:
            reservation = self.ledger.reserve(release, charge=charge, purpose=replace(PURPOSE, project=project))
        except BudgetRefused as refused:
            said = refused.message
            assert release not in self.answers
            assert self.frozen or not self._certainly_fits(charge, before)
            if not self.frozen:
                assert release not in self.charges
                assert "left" in said
            return
        assert release in self.answers or not self.frozen
        assert reservation.fresh == (release not in self.charges)
        assert reservation.answer == self.answers.get(release)
        if reservation.fresh:
            self.charges[release] = charge
            for account in ("", project, self._week()):
                self.spent[account] = self.spent[account].plus(charge)

    def _certainly_fits(self, charge: Charge, before: Balance) -> bool:
        delta_left = int((before.delta_total - before.delta_spent) * 10**18)
        alone = Account().plus(ExactCharge.of(charge)).epsilon_nano_at(delta_left)
        left = min(share.epsilon_left for share in before.shares)
        return charge.delta == 0 and alone is not None and alone / NANO <= left - 2e-9

    @precondition(lambda self: set(self.charges) - set(self.answers))
    @rule(data=st.data(), answer=st.binary(max_size=8))
    def settle(self, data: st.DataObject, answer: bytes) -> None:
        release = data.draw(st.sampled_from(sorted(set(self.charges) - set(self.answers))))
        self.ledger.settle(release, answer)
        self.answers[release] = answer

    @rule(days=st.integers(1, 10))
    def days_pass(self, days: int) -> None:
        self.now += days * DAY_S

    @rule()
    def reopen(self) -> None:
        before = [self.ledger.balance(project) for project in ("ageing", "default")]
        self.ledger.close()
        self.ledger = self._open()
        assert [self.ledger.balance(project) for project in ("ageing", "default")] == before

    @rule(project=st.sampled_from([None, "ageing", "firms"]))
    def operator_raises(self, project: str | None) -> None:
        raise_budget(self.config, epsilon=0.5, project=project, reason="the council agreed")
        self.limits[project or ""] += 0.5

    @rule(frozen=st.booleans())
    def operator_freezes(self, frozen: bool) -> None:
        (freeze if frozen else thaw)(self.config, reason="an audit")
        self.frozen = frozen

    @invariant()
    def no_budget_is_passed_and_all_that_was_charged_counts(self) -> None:
        for project in ("ageing", "default", "firms"):
            balance = self.ledger.balance(project)
            assert balance.frozen == self.frozen
            assert [(share.kind, share.name) for share in balance.shares] == [
                ("total", ""),
                ("period", self._week()),
                ("project", project),
            ]
            for share, name in zip(balance.shares, ("", self._week(), project), strict=True):
                assert share.epsilon_total == (2.0 if share.kind == "period" else self.limits[name])
                assert share.epsilon_spent <= share.epsilon_total
                assert share.epsilon_spent >= self.spent[name].epsilon_at(DELTA) * (1 - 1e-9) - 1e-9

    def teardown(self) -> None:
        verdict = verify(self.config)
        assert (verdict.charged, verdict.settled) == (len(self.charges), len(self.answers))
        assert len(show(self.config)[0]) == verdict.entries
        self.ledger.close()
        self.folder.cleanup()


TestLedgerModel = LedgerModel.TestCase
TestLedgerModel.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
