"""What a journal adds up to: its entries folded one at a time into budgets, charges and settled answers.

The daemon, the operator's commands and an auditor with an export all read a journal through this one fold.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from typing import Any

from node.entry import Entry, broken
from node.exact import NANO, Account, ExactCharge
from node.periods import LENGTHS, period
from node.policy import BudgetPolicy
from privacy.errors import BudgetRefused

FORMAT = 2  # of the journal


@dataclass(frozen=True)
class Line:
    """One budget and what was spent of it.

    Attributes:
        kind: `total`, `period` or `project`.
        name: of the period or project; empty for the total.
        spent_nano: None where the charges' own δ is more than the node's δ.
        left_nano: the largest pure ε that still fits.
        end: the first day on which a period's budget is whole again.
    """

    kind: str
    name: str
    limit_nano: int
    spent_nano: int | None
    left_nano: int
    end: date | None = None


class Books:
    """The state after the entries that `apply` was given.

    Attributes:
        province, public_key, secret_digest: as the first entry says.
        policy: the budgets in force, before what the operator added to them.
        frozen: whether the operator stopped all spending.
        charged: by release, its charge.
        settled: by release, SHA-256 of its answer.
        total: all charges together.
    """

    def __init__(self) -> None:
        self.province = self.public_key = self.secret_digest = ""
        self.policy = BudgetPolicy(0, 0)
        self.frozen = False
        self.charged: dict[str, ExactCharge] = {}
        self.settled: dict[str, str] = {}
        self.total = Account()
        self._periods: defaultdict[str, Account] = defaultdict(Account)
        self._projects: defaultdict[str, Account] = defaultdict(Account)
        self._raised: defaultdict[tuple[str, str], int] = defaultdict(int)

    def apply(self, entry: Entry) -> None:
        """Take in the next entry.

        Raises:
            LedgerError: no node would have written it at this place.
        """
        if (entry.sequence == 1) != (entry.kind == "opened"):
            broken(entry.sequence, "a journal begins with one entry `opened`")
        try:
            getattr(self, f"_{entry.kind}")(entry, **entry.content)
        except (TypeError, ValueError, KeyError, AttributeError):
            broken(entry.sequence, "its content is not of its kind")

    def check(self, charge: ExactCharge, *, project: str, time_ms: int, slack_ppm: int = 0) -> None:
        """Whether a release may be charged now.

        Args:
            slack_ppm: by how many millionths a limit may be passed; for audits.

        Raises:
            BudgetRefused: a budget does not cover it, or the node is frozen; names the budget and what is left.
        """
        self.check_open()
        delta = self.policy.delta_total_atto
        for account, line in self._accounts(project, time_ms):
            most = line.limit_nano + line.limit_nano * slack_ppm // 10**6
            if not account.plus(charge).fits(most, delta):
                raise _refusal(charge, _line(account, line, delta), delta - account.delta_atto)

    def check_open(self) -> None:
        """Raises: BudgetRefused: the operator froze the node."""
        if self.frozen:
            raise BudgetRefused(
                "This node's budget is frozen by the operator.",
                remedy="Ask the province's operator; what was answered before is still answered.",
            )

    def lines(self, project: str | None, time_ms: int) -> tuple[Line, ...]:
        """The total first, then the current period and `project` where they have budgets."""
        delta = self.policy.delta_total_atto
        return tuple(_line(account, line, delta) for account, line in self._accounts(project, time_ms))

    def _accounts(self, project: str | None, time_ms: int) -> list[tuple[Account, Line]]:
        policy = self.policy
        limits = [(self.total, self._limit("total", "", policy.epsilon_total_nano))]
        if policy.period_length is not None:
            now = period(time_ms, policy.period_length)
            limits.append(
                (self._periods[now.name], self._limit("period", now.name, policy.period_epsilon_nano, now.end))
            )
        own = policy.project_limit(project) if project is not None else None
        if project is not None and own is not None:
            limits.append((self._projects[project], self._limit("project", project, own)))
        return limits

    def _limit(self, kind: str, name: str, limit_nano: int, end: date | None = None) -> Line:
        return Line(kind, name, limit_nano + self._raised[kind, name], 0, 0, end)

    # One method a kind of entry, called with its content.

    def _opened(self, entry: Entry, *, format: int, province: str, public_key: str, secret_sha256: str) -> None:
        if format != FORMAT:
            raise ValueError("another format")
        self.province, self.public_key, self.secret_digest = province, public_key, secret_sha256

    def _policy(self, entry: Entry, **content: Any) -> None:
        self.policy = BudgetPolicy.from_content(content)

    def _charged(
        self,
        entry: Entry,
        *,
        release: str,
        epsilon_nano: int,
        rho_pico: int,
        delta_atto: int,
        project: str,
        table: str,
        measures: int,
        cells: int,
    ) -> None:
        if release in self.charged:
            broken(entry.sequence, "it charges a release a second time")
        if min(epsilon_nano, rho_pico, delta_atto) < 0:
            raise ValueError("a negative charge")
        charge = ExactCharge(epsilon_nano, rho_pico, delta_atto)
        self.charged[release] = charge
        self.total = self.total.plus(charge)
        self._projects[project] = self._projects[project].plus(charge)
        for length in LENGTHS:  # the length in force may change later
            name = period(entry.time_ms, length).name
            self._periods[name] = self._periods[name].plus(charge)

    def _settled(self, entry: Entry, *, release: str, answer_sha256: str, answer_bytes: int) -> None:
        if release not in self.charged:
            broken(entry.sequence, "it settles a release that was not charged")
        if release in self.settled:
            broken(entry.sequence, "it settles a release a second time")
        self.settled[release] = answer_sha256

    def _admin(self, entry: Entry, *, action: str, reason: str, **more: Any) -> None:
        if action == "raise":
            self._raise(entry, **more)
        elif action in ("freeze", "thaw") and not more:
            self.frozen = action == "freeze"
        else:
            raise ValueError("an unknown action")

    def _raise(self, entry: Entry, *, budget: str, name: str, epsilon_nano: int) -> None:
        if budget not in ("total", "period", "project") or epsilon_nano < 0:
            raise ValueError("an unknown budget")
        self._raised[budget, name] += epsilon_nano


def _line(account: Account, line: Line, delta_atto: int) -> Line:
    spent = account.epsilon_nano_at(delta_atto)
    left = account.left_nano(line.limit_nano, delta_atto)
    return Line(line.kind, line.name, line.limit_nano, spent, left, line.end)


def _refusal(charge: ExactCharge, line: Line, delta_atto: int) -> BudgetRefused:
    """Args: delta_atto: what is left of δ, at which the charge costs what does not fit."""
    cost = Account().plus(charge).epsilon_nano_at(delta_atto)
    asked = f"ε = {cost / NANO:g}" if cost is not None and cost < 10**27 else f"δ = {charge.delta_atto / 10**18:g}"
    whose = {
        "total": "the budget of this node",
        "period": f"the budget of this node for {line.name}",
        "project": f"the budget of project `{line.name}` at this node",
    }[line.kind]
    until = f" until {line.end:%Y-%m-%d}" if line.end is not None else ""
    return BudgetRefused(
        f"{asked} does not fit {whose}: it has {line.left_nano / NANO:g} of {line.limit_nano / NANO:g} left{until}.",
        remedy="Ask with a smaller epsilon, or repeat an earlier query as it was: its answer is free.",
    )
