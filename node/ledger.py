"""The privacy ledger: what was charged and which answer it bought, durable before anything is sent.

One SQLite file, in it a journal of signed entries (node/entry.py) and the answers. A charge is first reserved, then
settled with the answer's bytes:

    reserve ──(engine, noise)── settle ── send
       │                          └ from here the same release is answered from the ledger, free
       └ from here the charge is spent, whatever happens; the same release may run again without a second one
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import IO

from node.books import Books, Line
from node.exact import ATTO, NANO, PICO, ExactCharge
from node.journal import Clock, Journal
from node.policy import BudgetPolicy
from node.signing import SigningKey, load_key, make_key
from privacy.accounting import Charge
from privacy.errors import ConfigError, InternalError, LedgerError


@dataclass(frozen=True)
class Share:
    """One budget in ε at the node's δ.

    Attributes:
        kind: `total`, `period` or `project`.
        name: of the period or project; empty for the total.
        epsilon_spent: ∞ where the charges' own δ is more than the node's δ.
        epsilon_left: the largest pure ε that still fits. Not always total less spent: many small releases together
            cost less than their sum, but a large one beside them does not.
        end: the first day on which a period's budget is whole again.
    """

    kind: str
    name: str
    epsilon_total: float
    epsilon_spent: float
    epsilon_left: float
    end: date | None


@dataclass(frozen=True)
class Balance:
    """What was spent and what is left.

    Attributes:
        shares: the total first, then the current period and the project where they have budgets.
        rho_spent: Σ ρ of the zCDP releases.
        delta_spent: Σ δ of the releases that have one of their own.
    """

    shares: tuple[Share, ...]
    delta_total: float
    delta_spent: float
    rho_spent: float
    frozen: bool

    @property
    def total(self) -> Share:
        return self.shares[0]


@dataclass(frozen=True)
class Purpose:
    """What a charge is for, as the journal names it: nothing of the data, no SQL."""

    project: str
    table: str
    measures: int
    cells: int


@dataclass(frozen=True)
class Reservation:
    """What the ledger says of a release that is about to run.

    Attributes:
        fresh: whether it was charged now.
        answer: its noisy answer where it was settled before: send it, run nothing.
    """

    fresh: bool
    answer: bytes | None


class Ledger:
    """The open ledger of one node; safe to use from several threads.

    Args:
        path: of the SQLite file; it is made where it is missing.
        province: whose ledger it is; a ledger of another province is refused.
        policy: the budgets; what the operator added by command comes on top.
        signing_key: PEM file of the node's key; by default beside the ledger, made with it.
        clock: the time in seconds since 1970.

    Raises:
        ConfigError: another daemon has it open, it is another province's, or it is no ledger.
        LedgerError: it is not what this node wrote.
    """

    def __init__(
        self, path: Path, *, province: str, policy: BudgetPolicy, clock: Clock, signing_key: Path | None = None
    ) -> None:
        with contextlib.ExitStack() as held:
            held.enter_context(_exclusive(path))
            key = _key(path, signing_key)
            self._journal = Journal(path, province=province, key=key, clock=clock)
            held.callback(self._journal.close)
            self._check_answers()
            self._declare(policy)
            self._held = held.pop_all()
        self.public_key = key.public

    @property
    def secret(self) -> str:
        """32 random bytes of this node in hexadecimal, made with the ledger; they never leave the node."""
        return self._journal.secret

    def balance(self, project: str | None = None) -> Balance:
        """Total, spent and left; with the budget of `project` if it has one."""
        with self._journal.transaction() as books:
            lines = books.lines(project, self._journal.now_ms())
            return Balance(
                tuple(map(_share, lines)),
                books.policy.delta_total_atto / ATTO,
                books.total.delta_atto / ATTO,
                books.total.rho_pico / PICO,
                books.frozen,
            )

    def inquire(
        self, release: str, *, charge: Charge, project: str, beside: Mapping[str, Charge] | None = None
    ) -> bool:
        """Whether the release is settled, so that its answer costs nothing. Charges nothing.

        Args:
            beside: releases that the same query asks for, with their charges: all must fit together.

        Raises:
            BudgetRefused: what is not in the ledger does not fit, or the node is frozen.
        """
        with self._journal.transaction() as books:
            self._check(books, {release: charge, **(beside or {})}, project)
            return release in books.settled

    def stored(self, release: str) -> bytes | None:
        """The answer of a settled release, which is free; None of any other."""
        with self._journal.transaction() as books:
            return self._answer(books, release)

    def reserve(self, release: str, *, charge: Charge, purpose: Purpose) -> Reservation:
        """Charge the release, durably, unless it is charged already.

        Raises:
            BudgetRefused: it does not fit, or the node is frozen; nothing is charged. Says what is left.
        """
        with self._journal.transaction() as books:
            self._check(books, {release: charge}, purpose.project)
            if release in books.charged:
                return Reservation(fresh=False, answer=self._answer(books, release))
            self._journal.append("charged", {"release": release} | vars(ExactCharge.of(charge)) | vars(purpose))
            return Reservation(fresh=True, answer=None)

    def settle(self, release: str, answer: bytes) -> None:
        """Store the noisy answer of a reserved release; only then may it be sent.

        Raises:
            InternalError: the release is not reserved, or was settled before.
        """
        with self._journal.transaction() as books:
            if release not in books.charged or release in books.settled:
                raise InternalError("A release was settled out of turn.")
            self._journal.database.execute("INSERT INTO answers VALUES (?, ?)", (release, answer))
            digest = hashlib.sha256(answer).hexdigest()
            content = {"release": release, "answer_sha256": digest, "answer_bytes": len(answer)}
            self._journal.append("settled", content)

    def close(self) -> None:
        """Close the file and let another daemon have it."""
        self._held.close()

    def _check(self, books: Books, releases: Mapping[str, Charge], project: str) -> None:
        if releases.keys() <= books.settled.keys():
            return  # what was answered before costs nothing
        fresh = [ExactCharge.of(charge) for release, charge in releases.items() if release not in books.charged]
        if fresh:
            books.check(ExactCharge.sum(fresh), project=project, time_ms=self._journal.now_ms())
        else:
            books.check_open()

    def _answer(self, books: Books, release: str) -> bytes | None:
        """The stored answer, never one that somebody changed."""
        if release not in books.settled:
            return None
        row = self._journal.database.execute("SELECT answer FROM answers WHERE release = ?", (release,)).fetchone()
        answer = row[0] if row is not None else None
        if not isinstance(answer, bytes) or hashlib.sha256(answer).hexdigest() != books.settled[release]:
            raise LedgerError("A stored answer is not the one that the journal names.", remedy=_AUDIT)
        return answer

    def _check_answers(self) -> None:
        with self._journal.transaction() as books:
            stored = {row[0] for row in self._journal.database.execute("SELECT release FROM answers")}
            if stored != set(books.settled):
                raise LedgerError("The stored answers are not those that the journal names.", remedy=_AUDIT)

    def _declare(self, policy: BudgetPolicy) -> None:
        """Note the budgets in force, where node.toml changed them."""
        with self._journal.transaction() as books:
            if books.policy != policy:
                self._journal.append("policy", policy.to_content())


_AUDIT = "Run `weir node ledger verify`; docs/ledger.md says what to do."


def _key(ledger: Path, configured: Path | None) -> SigningKey:
    """The node's key: the configured one, or the one beside the ledger, which is made before the ledger is.

    Raises:
        ConfigError: it cannot be read, or it is missing and the ledger is not.
    """
    path = key_path(ledger, configured)
    if configured is None and not path.exists() and not (ledger.exists() and ledger.stat().st_size):
        return make_key(path)
    return load_key(path)


def key_path(ledger: Path, configured: Path | None) -> Path:
    """Where the key of a ledger is."""
    return configured or ledger.with_name(ledger.name + ".key")


def _share(line: Line) -> Share:
    spent = float("inf") if line.spent_nano is None else line.spent_nano / NANO
    return Share(line.kind, line.name, line.limit_nano / NANO, spent, line.left_nano / NANO, line.end)


def _exclusive(path: Path) -> IO[bytes]:
    """A lock that the kernel drops with the process, beside the ledger because SQLite locks that file itself."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = open(path.with_name(path.name + ".lock"), "ab")  # noqa: SIM115 - held until close()
    except OSError:
        raise ConfigError(f"`ledger`: {path} cannot be written.", remedy="Check the folder's permissions.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ConfigError(
            f"`ledger`: another daemon has {path.name} open.", remedy="Stop it first; one ledger serves one daemon."
        ) from None
    return lock
