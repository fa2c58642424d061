"""Checking a journal: all is well, or where it breaks; beside a daemon, from an export, after any tampering."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.audit import export, show, verify, verify_export
from node.entry import START, canonical, written
from node.journal import entries, open_read_only
from node.ledger import Ledger
from node.signing import load_key, make_key
from privacy.accounting import Charge
from privacy.errors import ConfigError, LedgerError, WeirError
from tests.node.makers import PURPOSE, Folder, make_folder, open_ledger, policy, pure

RELEASES = 4


@dataclass(frozen=True)
class Place:
    """A node's folder whose ledger has a handful of entries: opened, policy, then (charged, settled) × RELEASES."""

    folder: Folder

    @property
    def config(self) -> Path:
        return self.folder.config

    @property
    def ledger(self) -> Path:
        return self.folder.path / "state" / "east.ledger"

    @property
    def key(self) -> Path:
        return self.ledger.with_name("east.ledger.key")

    def open(self) -> contextlib.closing[Ledger]:
        return contextlib.closing(open_ledger(self.ledger, policy=policy(5.0)))

    def edit(self, *statements: str) -> None:
        with contextlib.closing(sqlite3.connect(self.ledger)) as database, database:
            for statement in statements:
                database.execute(statement)

    def restart(self) -> None:
        with self.open():
            pass


def fill(place: Place) -> None:
    with place.open() as ledger:
        for number in range(RELEASES):
            charge = Charge(rho=0.001) if number % 2 else pure(0.25)
            ledger.reserve(f"r{number}", charge=charge, purpose=PURPOSE)
            ledger.settle(f"r{number}", b"noisy" * number)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(make_folder(tmp_path / "federation"))
    fill(found)
    return found


def test_all_is_well_beside_a_running_daemon_and_after_it(place: Place) -> None:
    verdict = verify(place.config)
    assert (verdict.entries, verdict.charged, verdict.settled) == (2 + 2 * RELEASES, RELEASES, RELEASES)
    with place.open() as ledger:
        ledger.reserve("more", charge=pure(0.5), purpose=PURPOSE)
        assert ledger.public_key == verdict.public_key
        beside = verify(place.config, head=verdict.head)
        assert (beside.entries, beside.charged, beside.settled) == (verdict.entries + 1, RELEASES + 1, RELEASES)
        with contextlib.closing(open_read_only(place.ledger)) as reader, pytest.raises(sqlite3.OperationalError):
            reader.execute("DELETE FROM journal")


def test_an_export_is_checked_with_the_public_key_alone(place: Place, tmp_path: Path) -> None:
    verdict, file = verify(place.config), tmp_path / "audit" / "export.jsonl"
    file.parent.mkdir()
    file.write_text("\n".join(export(place.config)) + "\n", encoding="utf-8")
    assert verify_export(file, public_key=verdict.public_key, head=verdict.head) == verdict
    assert b"noisynoisy" not in file.read_bytes()
    with place.open() as ledger:
        assert ledger.secret not in file.read_text()
    other = make_key(tmp_path / "other.key").public
    for key in (other, "", "zz"):
        with pytest.raises(LedgerError, match="entry 1: its signature is not the node's"):
            verify_export(file, public_key=key)


def test_a_reader_sees_what_was_spent_up_to_each_entry(place: Place) -> None:
    shown, _ = show(place.config)
    spent = [one.account.epsilon_nano for one in shown if one.entry.kind == "charged"]
    assert spent == [250_000_000, 250_000_000, 500_000_000, 500_000_000]
    assert [one.entry.sequence for one in show(place.config, last=3)[0]] == [8, 9, 10]


def test_the_newest_entries_can_only_be_missed_by_who_kept_a_head(place: Place) -> None:
    head = verify(place.config).head
    place.edit("DELETE FROM journal WHERE sequence > 8", "DELETE FROM answers WHERE release = 'r3'")
    assert verify(place.config).entries == 8  # nothing in what is left says that there was more
    with pytest.raises(LedgerError, match="cut off or rewritten"):
        verify(place.config, head=head)


def test_a_daemon_notices_what_changes_under_it(place: Place) -> None:
    with place.open() as ledger:
        place.edit("DELETE FROM journal WHERE sequence > 8", "DELETE FROM answers WHERE release = 'r3'")
        for _ in range(2):
            with pytest.raises(LedgerError, match="changed while the node was running"):
                ledger.reserve("more", charge=pure(0.1), purpose=PURPOSE)
        with pytest.raises(LedgerError):
            ledger.balance()


def test_an_entry_that_another_key_signed_is_noticed_under_way(place: Place, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other.key")
    with place.open() as ledger:
        with contextlib.closing(sqlite3.connect(place.ledger)) as database, database:
            head = START
            for entry in entries(database):
                head = entry.head
            thaw = {"action": "thaw", "reason": "forged"}
            forged = written(head, time_ms=0, kind="admin", content=thaw, key=other)
            row = (forged.sequence, forged.body.encode(), forged.signature, forged.hash)
            database.execute("INSERT INTO journal VALUES (?, ?, ?, ?)", row)
        for _ in range(2):
            with pytest.raises(LedgerError, match="signature is not the node's"):
                ledger.balance()


def forge(place: Place, change: Callable[[list[tuple[str, dict[str, object]]]], None]) -> None:
    """Rewrite the whole journal with the node's own key, which only the operator can."""
    key = load_key(place.key)
    with contextlib.closing(sqlite3.connect(place.ledger)) as database, database:
        known = [(str(entry.kind), dict(entry.content)) for entry in entries(database)]
        change(known)
        database.execute("DELETE FROM journal")
        head = START
        for kind, content in known:
            entry = written(head, time_ms=1, kind=kind, content=content, key=key)  # type: ignore[arg-type]
            head = entry.head
            database.execute(
                "INSERT INTO journal VALUES (?, ?, ?, ?)",
                (entry.sequence, entry.body.encode(), entry.signature, entry.hash),
            )


Known = list[tuple[str, dict[str, object]]]


def _overspend(known: Known) -> None:
    known[2][1]["epsilon_nano"] = 6_000_000_000


def _charge_twice(known: Known) -> None:
    known.insert(3, known[2])


def _settle_unpaid(known: Known) -> None:
    del known[2]


def _settle_twice(known: Known) -> None:
    known.insert(4, known[3])


def _charge_frozen(known: Known) -> None:
    known.insert(2, ("admin", {"action": "freeze", "reason": "x"}))


def _negative(known: Known) -> None:
    known[2][1]["epsilon_nano"] = -1


def _surplus(known: Known) -> None:
    known[2][1]["rows"] = 17


def _no_opening(known: Known) -> None:
    del known[0]


def _unknown_act(known: Known) -> None:
    known.append(("admin", {"action": "refund", "reason": "x"}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_overspend, "entry 3: it charges what the budgets in force did not cover"),
        (_charge_twice, "entry 4: it charges a release a second time"),
        (_settle_unpaid, "entry 3: it settles a release that was not charged"),
        (_settle_twice, "entry 5: it settles a release a second time"),
        (_charge_frozen, "entry 4: it charges what the budgets"),
        (_negative, "entry 3: its content"),
        (_surplus, "entry 3: its content"),
        (_no_opening, "entry 1: a journal begins"),
        (_unknown_act, "entry 11: its content"),
    ],
)
def test_what_no_node_would_write_is_noticed_even_if_it_is_signed(
    place: Place, change: Callable[[Known], None], reason: str
) -> None:
    forge(place, change)
    with pytest.raises(LedgerError, match=reason):
        verify(place.config)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE answers SET answer = X'00' WHERE release = 'r1'",
        "DELETE FROM answers WHERE release = 'r1'",
        "UPDATE answers SET release = 'r9' WHERE release = 'r1'",
        "INSERT INTO answers VALUES ('r9', X'00')",
        "UPDATE facts SET value = '00' WHERE name = 'secret'",
        "DELETE FROM facts WHERE name = 'secret'",
        "DELETE FROM journal",
        "DELETE FROM journal WHERE sequence = 1",
        "DROP TABLE answers",
    ],
)
def test_answers_and_secret_are_held_to_the_journal(place: Place, statement: str) -> None:
    place.edit(statement)
    with pytest.raises(LedgerError):
        verify(place.config)


COLUMNS = st.sampled_from(["body", "signature", "hash"])
ROWS = st.integers(1, 2 + 2 * RELEASES)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Place:
    found = Place(make_folder(tmp_path_factory.mktemp("original") / "federation"))
    fill(found)
    return found


@contextlib.contextmanager
def copied(original: Place) -> Iterator[Place]:
    """The same ledger again, to be spoilt."""
    state, kept = original.ledger.parent, original.ledger.parent.with_name("kept")
    shutil.copytree(state, kept)
    try:
        yield original
    finally:
        shutil.rmtree(state)
        kept.rename(state)


def noticed(place: Place) -> None:
    with pytest.raises(LedgerError, match=r"entry \d+|stored"):
        verify(place.config)
    with pytest.raises(WeirError):
        place.restart()


SLOW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SLOW
@given(data=st.data(), column=COLUMNS, row=ROWS)
def test_any_flipped_bit_is_noticed(original: Place, data: st.DataObject, column: str, row: int) -> None:
    with copied(original) as place:
        with contextlib.closing(sqlite3.connect(place.ledger)) as database, database:
            value = database.execute(f"SELECT {column} FROM journal WHERE sequence = ?", (row,)).fetchone()[0]
            raw = bytearray(value if isinstance(value, bytes) else value.encode())
            bit = data.draw(st.integers(0, 7 if column != "hash" else 6))
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << bit
            changed = bytes(raw) if isinstance(value, bytes) else raw.decode("latin-1")
            database.execute(f"UPDATE journal SET {column} = ? WHERE sequence = ?", (changed, row))
        noticed(place)


@SLOW
@given(row=st.integers(1, 1 + 2 * RELEASES))
def test_any_deleted_row_is_noticed(original: Place, row: int) -> None:
    with copied(original) as place:
        place.edit(f"DELETE FROM journal WHERE sequence = {row}")
        noticed(place)


@SLOW
@given(rows=st.lists(ROWS, min_size=2, max_size=2, unique=True))
def test_any_two_rows_that_change_places_are_noticed(original: Place, rows: list[int]) -> None:
    first, second = rows
    with copied(original) as place:
        place.edit(
            f"UPDATE journal SET sequence = -1 WHERE sequence = {first}",
            f"UPDATE journal SET sequence = {first} WHERE sequence = {second}",
            f"UPDATE journal SET sequence = {second} WHERE sequence = -1",
        )
        noticed(place)


@SLOW
@given(count=st.integers(1, 2 * RELEASES))
def test_a_cut_off_end_is_noticed_while_an_answer_of_it_is_there(original: Place, count: int) -> None:
    with copied(original) as place:
        place.edit(f"DELETE FROM journal WHERE sequence > {2 + 2 * RELEASES - count}")
        noticed(place)


@SLOW
@given(data=st.data())
def test_any_changed_byte_of_an_export_is_noticed(original: Place, data: st.DataObject, tmp_path: Path) -> None:
    text = "\n".join(export(original.config)) + "\n"
    place = data.draw(st.integers(0, len(text) - 2))
    other = data.draw(st.characters(codec="ascii", exclude_characters=text[place]))
    file = tmp_path / "export.jsonl"
    file.write_text(text[:place] + other + text[place + 1 :], encoding="utf-8")
    if file.read_text(encoding="utf-8").splitlines() == text.splitlines():
        return  # one way to end a line became another
    with pytest.raises(LedgerError):
        verify_export(file, public_key=verify(original.config).public_key)


def test_what_cannot_be_read_at_all_is_a_typed_error(place: Place, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        verify_export(tmp_path / "none", public_key="00")
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(LedgerError, match="entry 1: it is missing"):
        verify_export(empty, public_key="00")
    place.ledger.unlink()
    for ask in (verify, show, lambda config: list(export(config))):
        with pytest.raises(ConfigError, match=r"there is no east\.ledger"):
            ask(place.config)


def test_a_key_of_another_ledger_is_refused(place: Place, tmp_path: Path) -> None:
    make_key(tmp_path / "other.key")
    shutil.copy(tmp_path / "other.key", place.key)
    with pytest.raises(ConfigError, match=r"not the key that signed east\.ledger"):
        place.restart()
    place.key.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        place.restart()


def test_a_key_that_others_can_read_is_refused(place: Place) -> None:
    place.key.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read"):
        place.restart()
    place.key.chmod(0o600)
    place.key.write_text("no key")
    with pytest.raises(ConfigError, match="no unencrypted Ed25519 key"):
        place.restart()


def test_the_body_is_canonical(place: Place) -> None:
    for line in export(place.config):
        fields = json.loads(line)["entry"]
        assert line.startswith('{"entry":' + canonical(fields))
