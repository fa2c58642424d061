"""The journal in its SQLite file: read, verified incrementally, appended to; by the daemon or by an operator's command.

Several processes may have it open. Each write is one transaction that first takes in what others wrote meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from node.books import FORMAT, Books
from node.entry import START, Entry, Head, Kind, broken, follow, read, written
from node.signing import SigningKey
from privacy.errors import ConfigError, InternalError, LedgerError

Clock = Callable[[], float]  # seconds since 1970
_VERSION = "2"
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS journal (sequence INTEGER PRIMARY KEY, body BLOB, signature BLOB, hash TEXT)",
    "CREATE TABLE IF NOT EXISTS answers (release TEXT PRIMARY KEY, answer BLOB NOT NULL) WITHOUT ROWID",
)


class Journal:
    """An open journal; `transaction` is safe to use from several threads.

    Args:
        path: of the SQLite file; it is made where it is missing.
        province: whose it is; a journal of another province is refused.
        key: signs what is appended.

    Attributes:
        books: what the entries add up to; up to date within a transaction.
        secret: 32 random bytes of this node in hexadecimal, made with the journal; they never leave the node.
        database: for the answers, which are written in the same transactions.

    Raises:
        ConfigError: it is no ledger, of another version, another province or another key.
        LedgerError: it is not what the node wrote.
    """

    def __init__(self, path: Path, *, province: str, key: SigningKey, clock: Clock) -> None:
        self.books = Books()
        self.head: Head = START
        self._key = key
        self._clock = clock
        self._pending: list[Entry] = []
        self._fault: LedgerError | None = None
        self._mutex = threading.Lock()
        try:
            self.database = _opened(path)
            try:
                self.secret = self._begin(path.name, province)
            except BaseException:
                self.database.close()
                raise
        except (sqlite3.Error, OSError):
            raise ConfigError(f"`ledger`: {path.name} is no ledger that can be read and written.") from None

    def now_ms(self) -> int:
        return int(self._clock() * 1000)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Books]:
        """All or nothing; the books are as of its beginning.

        Raises:
            InternalError: the file cannot be written.
            LedgerError: somebody else wrote, and it does not fit.
        """
        with self._mutex:
            self._pending = []
            try:
                self.database.execute("BEGIN IMMEDIATE")
                self._catch_up()
                yield self.books
                self.database.execute("COMMIT")
                for entry in self._pending:
                    self._take(entry)
            except sqlite3.Error:
                raise InternalError("The node's ledger cannot be written.") from None
            finally:
                self._roll_back()

    def append(self, kind: Kind, content: dict[str, Any]) -> None:
        """Sign and write an entry; only within a transaction."""
        head = self._pending[-1].head if self._pending else self.head
        entry = written(head, time_ms=self.now_ms(), kind=kind, content=content, key=self._key)
        row = (entry.sequence, entry.body.encode(), entry.signature, entry.hash)
        self.database.execute("INSERT INTO journal VALUES (?, ?, ?, ?)", row)
        self._pending.append(entry)

    def close(self) -> None:
        with self._mutex:
            self.database.close()

    def _begin(self, name: str, province: str) -> str:
        """Make what a new journal must have, take in what an old one has; gives the secret."""
        self.database.execute("BEGIN IMMEDIATE")
        known = _version(self.database)
        if known not in (None, _VERSION):
            raise ConfigError(
                f"`ledger`: {name} was written by another version of weir.",
                remedy="Start another ledger, and take what was spent off `epsilon_total`; keep the old file.",
            )
        for statement in _SCHEMA:
            self.database.execute(statement)
        if known is None:
            facts = {"schema": _VERSION, "secret": secrets.token_hex(32)}
            self.database.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
        secret = secret_of(self.database)
        if known is None:
            opened = {"format": FORMAT, "province": province, "public_key": self._key.public}
            self.append("opened", opened | {"secret_sha256": digest_of(secret)})
        self.database.execute("COMMIT")
        self._pending = []
        self._catch_up()
        self._check_owner(name, province, secret)
        return secret

    def _check_owner(self, name: str, province: str, secret: str) -> None:
        if self.books.province != province:
            raise ConfigError(f"`ledger`: {name} belongs to {self.books.province or 'nobody'}, not to {province}.")
        if self.books.public_key != self._key.public:
            raise ConfigError(
                f"`signing_key`: it is not the key that signed {name}.",
                remedy="The key belongs to its ledger: restore both together.",
            )
        if digest_of(secret) != self.books.secret_digest:
            broken(1, "the node's secret is not the one that it names")

    def _catch_up(self) -> None:
        """Take in what was written since: the chain of every entry, and the newest signature, which vouches for all."""
        if self._fault is not None:
            raise self._fault
        try:
            self._take_newer()
        except LedgerError as fault:
            self._fault = fault  # the books may be half-way: nothing more is spent until the node starts anew
            raise

    def _take_newer(self) -> None:
        known, newest = self.head, None
        newer = entries(self.database, first=max(1, known.sequence))
        if known != START:
            same = next(newer, None)
            if same is None or same.head != known:
                broken(known.sequence, "it was changed while the node was running")
        for newest in newer:
            self._take(newest)
        if newest is not None and not newest.is_signed(public=self.books.public_key):
            broken(newest.sequence, "its signature is not the node's")

    def _take(self, entry: Entry) -> None:
        head = follow(self.head, entry)
        self.books.apply(entry)
        self.head = head

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self.database.in_transaction:
                self.database.execute("ROLLBACK")


def entries(database: sqlite3.Connection, *, first: int = 1) -> Iterator[Entry]:
    """The stored entries from number `first` on; hashes are recomputed, links and signatures not checked.

    Raises:
        LedgerError: one is not what was written there.
    """
    rows = database.execute(
        "SELECT sequence, body, signature, hash FROM journal WHERE sequence >= ? ORDER BY sequence", (first,)
    )
    for sequence, body, signature, claimed in rows:
        if not (isinstance(body, bytes) and isinstance(signature, bytes)):
            broken(sequence, "it cannot be read")
        yield read(sequence, body, signature, claimed)


def secret_of(database: sqlite3.Connection) -> str:
    """The node's secret."""
    row = database.execute("SELECT value FROM facts WHERE name = 'secret'").fetchone()
    return str(row[0]) if row is not None else ""


def digest_of(secret: str) -> str:
    """What the first entry says of the secret; 32 random bytes cannot be guessed from it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def open_read_only(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, for use beside a running daemon.

    Raises:
        ConfigError: there is no ledger, or one of another version.
    """
    if not path.is_file():
        raise ConfigError(f"`ledger`: there is no {path.name}.", remedy="The node makes it when it first serves.")
    try:
        database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=5)
        known = _version(database)
    except sqlite3.Error:
        raise ConfigError(f"`ledger`: {path.name} is no ledger that can be read.") from None
    if known != _VERSION:
        database.close()
        raise ConfigError(f"`ledger`: {path.name} was written by another version of weir.")
    return database


def _version(database: sqlite3.Connection) -> str | None:
    """The version of the schema; None where the file is empty."""
    if database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
        return None
    try:
        row = database.execute("SELECT value FROM facts WHERE name = 'schema'").fetchone()
    except sqlite3.OperationalError:
        row = None
    return str(row[0]) if row is not None else ""


def _opened(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # it holds the secret and the answers
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            database.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        database.close()
        raise
    return database
