"""Reading a journal to check it, to look at it or to hand it on: beside a running daemon, or from an export.

A check asks of every entry: does it follow the one before, did the node sign it, would the node have done that under
the budgets in force, and is every answer the one that was settled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.books import Books
from node.config import load_ledger_place
from node.entry import START, Entry, Head, broken, canonical, follow, read
from node.exact import Account, ExactCharge
from node.journal import digest_of, entries, open_read_only, secret_of
from node.ledger import key_path
from node.signing import load_key
from privacy.errors import BudgetRefused, ConfigError, LedgerError

_SLACK_PPM = 1  # the floats of another machine may convert ρ to a slightly different ε


@dataclass(frozen=True)
class Verdict:
    """A journal in which all is well.

    Attributes:
        charged, settled: how many releases were charged, and answered.
        head: the newest entry; whoever keeps its hash can tell later that nothing was cut off.
    """

    entries: int
    charged: int
    settled: int
    head: str
    public_key: str


@dataclass(frozen=True)
class Shown:
    """An entry, and all charges up to it.

    Attributes:
        delta_atto: the δ at which the node reckoned then.
    """

    entry: Entry
    account: Account
    delta_atto: int


def verify(config: Path, *, public_key: str | None = None, head: str | None = None) -> Verdict:
    """Check the journal and the answers of the node at `config`, which may be running.

    Args:
        public_key: the node's, 64 hexadecimal digits; that of its key file unless given.
        head: hash of an entry, from an earlier export or check, that must still be in the chain.

    Raises:
        ConfigError: there is no ledger, or no key.
        LedgerError: it is not what the node wrote; says at which entry.
    """
    place = load_ledger_place(config)
    with _reading(place.ledger) as database:
        public = public_key or load_key(key_path(place.ledger, place.signing_key)).public
        books, newest, known = _checked(entries(database), public)
        if digest_of(secret_of(database)) != books.secret_digest:
            broken(1, "the node's secret is not the one that it names")
        _check_answers(database, books)
    return _verdict(books, newest, known, head)


def verify_export(file: Path, *, public_key: str, head: str | None = None) -> Verdict:
    """Check the lines that `export` wrote, with the node's public key alone.

    Raises:
        ConfigError: the file cannot be read.
        LedgerError: as `verify`; the answers are known by their digests only.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{file.name} cannot be read.", remedy="Give a file that `export` wrote.") from None
    found = (_imported(place, line) for place, line in enumerate(lines, start=1))
    books, newest, known = _checked(found, public_key)
    return _verdict(books, newest, known, head)


def export(config: Path) -> Iterator[str]:
    """Every entry as a line of JSON: everything but the answers, which are there by their digests.

    Raises:
        ConfigError, LedgerError: as `verify`.
    """
    with _reading(load_ledger_place(config).ledger) as database:
        for entry in entries(database):
            yield _exported(entry)


def show(config: Path, *, last: int | None = None) -> tuple[list[Shown], str]:
    """The newest `last` entries, oldest first, and the node's public key; signatures are not checked.

    Raises:
        ConfigError, LedgerError: as `verify`.
    """
    books, head = Books(), START
    shown: deque[Shown] = deque(maxlen=last)
    with _reading(load_ledger_place(config).ledger) as database:
        for entry in entries(database):
            head = follow(head, entry)
            books.apply(entry)
            shown.append(Shown(entry, books.total, books.policy.delta_total_atto))
    return list(shown), books.public_key


def _checked(found: Iterable[Entry], public: str) -> tuple[Books, Head, set[str]]:
    """The books after all entries, the newest entry, and the hash of each."""
    books, head, known = Books(), START, set[str]()
    for entry in found:
        head = follow(head, entry)
        if not entry.is_signed(public=public):
            broken(entry.sequence, "its signature is not the node's")
        _check_decision(books, entry)
        books.apply(entry)
        if books.public_key != public:
            broken(entry.sequence, "it names another key")
        known.add(head.hash)
    if head == START:
        broken(1, "it is missing")
    return books, head, known


def _check_decision(books: Books, entry: Entry) -> None:
    """Whether the node could charge this then."""
    if entry.kind != "charged":
        return
    try:
        charge = ExactCharge(*(entry.content[name] for name in ("epsilon_nano", "rho_pico", "delta_atto")))
        books.check(charge, project=entry.content["project"], time_ms=entry.time_ms, slack_ppm=_SLACK_PPM)
    except BudgetRefused:
        broken(entry.sequence, "it charges what the budgets in force did not cover")
    except (KeyError, TypeError):
        broken(entry.sequence, "its content is not of its kind")


def _check_answers(database: sqlite3.Connection, books: Books) -> None:
    found = set()
    for release, answer in database.execute("SELECT release, answer FROM answers"):
        found.add(release)
        if not isinstance(answer, bytes) or hashlib.sha256(answer).hexdigest() != books.settled.get(release):
            raise LedgerError(f"The stored answer of release {str(release)[:12]}… is not one that the journal settled.")
    if found != set(books.settled):
        missing = min(set(books.settled) - found)
        raise LedgerError(f"The answer of release {missing[:12]}… was settled and is gone.")


def _verdict(books: Books, newest: Head, known: set[str], head: str | None) -> Verdict:
    if head is not None and head.lower() not in known:
        raise LedgerError(f"The journal has no entry with the hash {head[:12]}…: its end was cut off or rewritten.")
    return Verdict(newest.sequence, len(books.charged), len(books.settled), newest.hash, books.public_key)


def _exported(entry: Entry) -> str:
    return f'{{"entry":{entry.body},"hash":"{entry.hash}","signature":"{entry.signature.hex()}"}}'


def _imported(place: int, line: str) -> Entry:
    try:
        fields: dict[str, Any] = json.loads(line)
        entry = read(place, canonical(fields["entry"]).encode(), bytes.fromhex(fields["signature"]), fields["hash"])
    except (ValueError, TypeError, KeyError, RecursionError):
        broken(place, "it cannot be read")
    if _exported(entry) != line:
        broken(place, "it cannot be read")
    return entry


@contextlib.contextmanager
def _reading(ledger: Path) -> Iterator[sqlite3.Connection]:
    """One moment of the ledger, whatever the daemon writes meanwhile."""
    with contextlib.closing(open_read_only(ledger)) as database:
        try:
            database.execute("BEGIN")
            yield database
        except sqlite3.Error:
            raise LedgerError("The ledger's file is damaged.", remedy="Restore it from a backup.") from None
