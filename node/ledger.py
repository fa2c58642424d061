"""The privacy ledger: what was charged and which answer it bought, durable before anything is sent.

One SQLite file. A charge is first reserved, then settled with the answer's bytes:

    reserve ──(engine, noise)── settle ── send
       │                          └ from here the same release is answered from the ledger, free
       └ from here ε is spent, whatever happens; the same release may run again without a second charge

ε is counted in whole nano-ε, so that sums are exact: a charge rounds up, the total rounds down.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import IO

from privacy.errors import BudgetRefused, ConfigError, InternalError

_SCHEMA_VERSION = "1"
_NANO = Decimal(10**9)
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS charges (release_id TEXT PRIMARY KEY, epsilon_nano INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS answers (release_id TEXT PRIMARY KEY REFERENCES charges, answer BLOB NOT NULL)",
)


@dataclass(frozen=True)
class Balance:
    """The budget of the node in ε."""

    epsilon_total: float
    epsilon_spent: float
    epsilon_left: float


@dataclass(frozen=True)
class Reservation:
    """What the ledger says of a release that is about to run.

    Attributes:
        fresh: whether it was charged now.
        answer: its noisy answer where it was settled before: send it, run nothing.
    """

    fresh: bool
    answer: bytes | None


def _nano(epsilon: float, rounding: str) -> int:
    """`epsilon` in nano-ε. The shortest decimal that names the float counts: 0.1 means a tenth, three are 0.3."""
    return int((Decimal(repr(epsilon)) * _NANO).to_integral_value(rounding=rounding))


class Ledger:
    """The open ledger of one node; safe to use from several threads.

    Args:
        path: of the SQLite file; it is made where it is missing.
        province: whose ledger it is; a ledger of another province is refused.
        epsilon_total: what may be spent in all, over the whole life of the ledger.

    Raises:
        ConfigError: another daemon has it open, it is another province's, or it is no ledger.
    """

    def __init__(self, path: Path, *, province: str, epsilon_total: float) -> None:
        self._total = _nano(epsilon_total, ROUND_FLOOR)
        self._mutex = threading.Lock()
        self._lock = _exclusive(path)
        try:
            self._database = _opened(path)
            self._secret = self._facts(province)
        except (sqlite3.Error, OSError):
            self._lock.close()
            raise ConfigError(f"`ledger`: {path.name} is no ledger that can be read and written.") from None
        except ConfigError:
            self._database.close()
            self._lock.close()
            raise

    @property
    def secret(self) -> str:
        """32 random bytes of this node in hexadecimal, made with the ledger; they never leave the node."""
        return self._secret

    def balance(self) -> Balance:
        """Total, spent and left."""
        with self._transaction():
            spent = self._spent()
        left = max(0, self._total - spent)
        return Balance(*(float(Decimal(nano) / _NANO) for nano in (self._total, spent, left)))

    def inquire(self, release_id: str, *, epsilon: float) -> bool:
        """Whether the release is settled, so that its answer costs nothing. Charges nothing.

        Raises:
            BudgetRefused: it is not in the ledger and does not fit.
        """
        with self._transaction():
            if self._charged(release_id) is None:
                self._check_fits(epsilon)
            return self._answer(release_id) is not None

    def reserve(self, release_id: str, *, epsilon: float) -> Reservation:
        """Charge the release, durably, unless it is charged already.

        Raises:
            BudgetRefused: it does not fit; nothing is charged. Says what is left.
        """
        with self._transaction():
            charged = self._charged(release_id)
            if charged is not None:
                return Reservation(fresh=False, answer=self._answer(release_id))
            charge = (release_id, self._check_fits(epsilon))
            self._database.execute("INSERT INTO charges VALUES (?, ?)", charge)
            return Reservation(fresh=True, answer=None)

    def settle(self, release_id: str, answer: bytes) -> None:
        """Store the noisy answer of a reserved release; only then may it be sent.

        Raises:
            InternalError: the release is not reserved, or was settled before.
        """
        with self._transaction():
            if self._charged(release_id) is None or self._answer(release_id) is not None:
                raise InternalError("A release was settled out of turn.")
            self._database.execute("INSERT INTO answers VALUES (?, ?)", (release_id, answer))

    def close(self) -> None:
        """Close the file and let another daemon have it."""
        with self._mutex:
            self._database.close()
            self._lock.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._mutex:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                yield
                self._database.execute("COMMIT")
            except sqlite3.Error:
                raise InternalError("The node's ledger cannot be written.") from None
            finally:
                self._roll_back()

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")

    def _facts(self, province: str) -> str:
        """Write what a new ledger must know, and check what an old one knows; returns the secret."""
        facts = {"schema": _SCHEMA_VERSION, "province": province, "secret": secrets.token_hex(32)}
        self._database.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            self._database.execute(statement)
        self._database.executemany("INSERT OR IGNORE INTO facts VALUES (?, ?)", facts.items())
        self._database.execute("COMMIT")
        known: dict[str, str] = dict(self._database.execute("SELECT name, value FROM facts").fetchall())
        if known["schema"] != _SCHEMA_VERSION:
            raise ConfigError("`ledger`: it was written by another version of weir.")
        if known["province"] != province:
            raise ConfigError(f"`ledger`: it belongs to {known['province']}, not to {province}.")
        return known["secret"]

    def _charged(self, release_id: str) -> int | None:
        row = self._database.execute("SELECT epsilon_nano FROM charges WHERE release_id = ?", (release_id,)).fetchone()
        return None if row is None else int(row[0])

    def _answer(self, release_id: str) -> bytes | None:
        row = self._database.execute("SELECT answer FROM answers WHERE release_id = ?", (release_id,)).fetchone()
        return None if row is None else bytes(row[0])

    def _spent(self) -> int:
        return int(self._database.execute("SELECT coalesce(sum(epsilon_nano), 0) FROM charges").fetchone()[0])

    def _check_fits(self, epsilon: float) -> int:
        """The charge in nano-ε."""
        charge, left = _nano(epsilon, ROUND_CEILING), self._total - self._spent()
        if charge > left:
            has = f"{max(0, left) / 10**9:g} of {self._total / 10**9:g}"
            raise BudgetRefused(
                f"ε = {epsilon:g} does not fit the budget of this node: it has {has} left.",
                remedy="Ask with a smaller epsilon, or repeat an earlier query as it was: its answer is free.",
            )
        return charge


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


def _opened(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # it holds the secret and the answers
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        database.execute(f"PRAGMA {pragma}")
    return database
