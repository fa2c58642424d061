"""Prepared snapshots: made whole or not at all, added to where files are added, served without a restart."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from node import prepare as preparing
from node.config import load_config
from node.engine import Engine
from node.manifest import Manifest
from node.prepared import PreparedData
from node.release import Releases
from node.serve import open_engine, open_ledger, open_releases, prepare_snapshot
from privacy.errors import ConfigError, DataError, InternalError
from tests.node.makers import RESIDENTS, VISITS, Folder, asked, make_folder

SNAPSHOTS = """
[snapshots]
folder = "../state/snapshots"
keep = 1

[snapshots.sums.visits]
keys = [["kind"], ["day", "kind"]]
aggregates = ["STDDEV_SAMP(cost)"]
"""
MORE = VISITS.replace("range(400)", "range(300, 460)")  # rows of people who are there, and of new ones
COUNTS = "SELECT kind, COUNT(*), AVG(cost) FROM visits GROUP BY kind"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = make_folder(tmp_path / "prepared")
    with made.config.open("a") as file:
        file.write(SNAPSHOTS)
    return made


def prepared(folder: Folder) -> tuple[Manifest, list[str]]:
    """The snapshot and the steps that were taken."""
    steps: list[str] = []
    return prepare_snapshot(folder.config, on_step=lambda step, number, of: steps.append(step)), steps


def content(folder: Folder, manifest: Manifest) -> dict[str, list[tuple[object, ...]]]:
    """Every table of a snapshot, rows in order; without the notes of its making."""
    with duckdb.connect(str(folder.path / "state" / "snapshots" / manifest.file), read_only=True) as file:
        names = [name for (name,) in file.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        return {name: file.execute(f'FROM "{name}" ORDER BY ALL').fetchall() for name in names if name != "#done"}


def add(folder: Folder, name: str, sql: str) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({sql}) TO '{folder.data / name}' (FORMAT parquet)")


@contextlib.contextmanager
def serving(folder: Folder) -> Iterator[Releases]:
    config = load_config(folder.config)
    with contextlib.ExitStack() as held:
        ledger = held.enter_context(contextlib.closing(open_ledger(config)))
        engine = held.enter_context(contextlib.closing(open_engine(config)))
        yield open_releases(config, ledger, engine)


def test_rows_are_sorted_and_sums_are_those_of_the_rows(folder: Folder) -> None:
    manifest, _ = prepared(folder)
    with duckdb.connect(str(folder.path / "state" / "snapshots" / manifest.file), read_only=True) as file:
        units = [unit for (unit,) in file.execute("SELECT person_id FROM visits").fetchall()]
        assert units == sorted(units)
        assert len(units) == 400
        by_kind = 'SELECT "#k0", SUM("#rows")::BIGINT FROM "#visits_1" GROUP BY 1'
        assert dict(file.execute(by_kind).fetchall()) == {"inpatient": 200, "outpatient": 200}


def test_what_is_there_is_not_made_again(folder: Folder) -> None:
    first, steps = prepared(folder)
    again, none = prepared(folder)
    assert steps
    assert again == first
    assert none == []


def test_files_that_are_added_are_added(folder: Folder) -> None:
    """To a copy: the same content as a snapshot from scratch, and the one before stays as it was."""
    first, _ = prepared(folder)
    before = content(folder, first)
    add(folder, "visits-more.parquet", MORE)
    second, steps = prepared(folder)
    assert "visits: add the new rows" in steps
    assert not any(step.startswith("residents") for step in steps)
    grown = content(folder, second)
    assert content(folder, first) == before
    shutil.rmtree(folder.path / "state" / "snapshots")
    scratch, steps = prepared(folder)
    assert "visits: add the new rows" not in steps
    assert scratch == second
    assert content(folder, scratch) == grown
    assert len(grown["visits"]) == 560


def test_files_that_change_make_a_new_snapshot_from_scratch(folder: Folder) -> None:
    first, _ = prepared(folder)
    add(folder, "visits.parquet", VISITS.replace("range(400)", "range(410)"))
    second, steps = prepared(folder)
    assert second.file != first.file
    assert "visits: sort the rows by person" in steps
    assert len(content(folder, second)["visits"]) == 410


@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("stopped", range(1, 8))
def test_what_was_done_before_an_interruption_is_not_done_again(folder: Folder, stopped: int, added: bool) -> None:
    if added:
        prepared(folder)
        add(folder, "visits-more.parquet", MORE)
    before = (folder.path / "state" / "snapshots" / "current.json").read_text() if added else None

    def stop(step: str, number: int, of: int) -> None:
        if number == stopped:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_snapshot(folder.config, on_step=stop)
    current = folder.path / "state" / "snapshots" / "current.json"
    assert (current.read_text() if added else not current.exists()) == (before or True)
    manifest, _ = prepared(folder)
    resumed = content(folder, manifest)
    shutil.rmtree(folder.path / "state" / "snapshots")
    scratch, _ = prepared(folder)
    assert content(folder, scratch) == resumed


def test_a_step_that_is_done_is_not_done_again(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    real = Engine.make

    def make(engine: Engine, *statements: str, **more: object) -> None:
        ran.extend(statements)
        real(engine, *statements, **more)  # type: ignore[arg-type]

    def stop(step: str, number: int, of: int) -> None:
        if step.startswith("visits: sums of"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_snapshot(folder.config, on_step=stop)
    monkeypatch.setattr(Engine, "make", make)
    prepared(folder)
    assert not any(statement.startswith('CREATE TABLE made."visits"') for statement in ran)
    assert any(statement.startswith('CREATE TABLE "made"."#visits_1"') for statement in ran)


def test_older_snapshots_go_as_the_policy_says(folder: Folder) -> None:
    files = []
    for number in range(4):
        add(folder, f"visits-{number}.parquet", VISITS)
        files.append(prepared(folder)[0].file)
    left = {file.name for file in (folder.path / "state" / "snapshots").glob("*.duckdb*")}
    assert left == set(files[-2:])


def test_a_daemon_goes_on_to_the_new_snapshot_by_itself(folder: Folder) -> None:
    prepared(folder)
    with serving(folder) as releases:
        before = releases.data.snapshot()
        one = releases.release(asked(COUNTS))
        assert releases.release(asked(COUNTS)).already_released
        add(folder, "visits-more.parquet", MORE)
        assert releases.release(asked(COUNTS)).release == one.release  # the sources are not looked at
        prepared(folder)
        other = releases.release(asked(COUNTS))
        assert not other.already_released
        assert other.snapshot != one.snapshot
        assert releases.data.snapshot() != before
        assert releases.engine.run("SELECT COUNT(*) AS n FROM visits").to_pydict() == {"n": [560]}
        assert "made with the snapshot" in releases.prepare(asked(COUNTS)).engine_sql


def test_a_snapshot_that_changes_while_a_query_runs_gives_no_answer(folder: Folder) -> None:
    prepared(folder)
    with serving(folder) as releases:

        class Interrupted:
            name = "DuckDB"

            def run(self, sql: str, *, long: bool = False) -> object:
                add(folder, "visits-more.parquet", MORE)
                prepared(folder)
                return releases.engine.run(sql)

        with pytest.raises(DataError, match="changed while the query ran"):
            replace(releases, engine=Interrupted()).release(asked(COUNTS))
        assert releases.release(asked(COUNTS)).epsilon_charged > 0


def test_the_same_data_are_the_same_snapshot_prepared_or_not(folder: Folder) -> None:
    prepared(folder)
    with serving(folder) as releases:
        answer = releases.release(asked(COUNTS))
    folder.edit(SNAPSHOTS, "")
    with serving(folder) as releases:
        again = releases.release(asked(COUNTS))
    assert again.already_released
    assert again.release == answer.release


def test_without_a_snapshot_nothing_is_served(folder: Folder) -> None:
    with pytest.raises(DataError, match="no prepared snapshot"), serving(folder):
        pass


def test_another_layout_is_another_snapshot(folder: Folder) -> None:
    first, _ = prepared(folder)
    folder.edit('["day", "kind"]', '["day"]')
    with pytest.raises(DataError, match="no prepared snapshot"), serving(folder):
        pass
    second, _ = prepared(folder)
    assert second.digest == first.digest
    assert second.file != first.file


def test_a_manifest_that_cannot_be_read_is_said(folder: Folder) -> None:
    manifest, _ = prepared(folder)
    current = folder.path / "state" / "snapshots" / "current.json"
    current.write_text(json.dumps({"file": manifest.file}))
    with pytest.raises(DataError, match=r"current\.json"):
        prepared(folder)


def test_a_file_that_is_none_is_not_served(folder: Folder) -> None:
    manifest, _ = prepared(folder)
    (folder.path / "state" / "snapshots" / manifest.file).write_bytes(b"half a file")
    with pytest.raises(DataError, match="cannot be read"), serving(folder):
        pass


@pytest.mark.parametrize("added", [False, True])
def test_a_broken_promise_forbids_it(folder: Folder, added: bool) -> None:
    """Also where only old and new rows together break it."""
    if added:
        prepared(folder)
    add(
        folder,
        "visits-more.parquet",
        "SELECT 1::BIGINT AS person_id, 5::INTEGER AS age, 'F' AS sex, 5.0::DOUBLE AS cost, DATE '2023-01-01' AS day, 'inpatient' AS kind",
    )
    with pytest.raises(DataError, match="`sex` of table `visits`"):
        prepared(folder)
    assert (folder.path / "state" / "snapshots" / "current.json").exists() == added


def test_sources_that_change_meanwhile_are_noticed(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(step: str, number: int, of: int) -> None:
        if number == of:
            add(folder, "residents.parquet", f"{RESIDENTS} UNION ALL SELECT 5000, true")

    with pytest.raises(DataError, match="changed while"):
        prepare_snapshot(folder.config, on_step=change)
    assert len(content(folder, prepared(folder)[0])["residents"]) == 201


def test_what_is_not_configured_is_said(folder: Folder) -> None:
    folder.edit(SNAPSHOTS, "")
    with pytest.raises(ConfigError, match=r"\[snapshots\]"):
        prepared(folder)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("sums.visits", "sums.firms", r"`snapshots\.sums\.firms`: is no private table"),
        ("sums.visits", "sums.residents", "rows_per_unit"),
        ('["kind"], ', '["colour"], ', "colour"),
        ("STDDEV_SAMP", "MEDIAN", "MEDIAN"),
        ("keep = 1", "keep = -1", "keep"),
    ],
)
def test_a_wrong_setting_is_said(folder: Folder, old: str, new: str, says: str) -> None:
    folder.edit(old, new)
    with pytest.raises(ConfigError, match=says):
        prepared(folder)


def test_the_engine_over_snapshots_sees_nothing_else(folder: Folder, tmp_path: Path) -> None:
    prepared(folder)
    other = tmp_path / "other.duckdb"
    duckdb.connect(str(other)).close()
    with contextlib.closing(open_engine(load_config(folder.config))) as engine:
        with pytest.raises(InternalError):
            engine.attach(other, "other")
        with pytest.raises(InternalError):
            engine.run(f"SELECT * FROM read_parquet('{folder.data / 'residents.parquet'}')")


def test_the_manifest_is_read_once(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(folder)
    config = load_config(folder.config)
    with contextlib.closing(open_ledger(config)) as ledger:
        secret = ledger.secret
    with contextlib.closing(open_engine(config)) as engine:
        data = PreparedData(engine, config, secret=secret)
        first = data.snapshot()
        monkeypatch.setattr("node.prepared.current_manifest", preparing.layout)  # which cannot be called so
        assert data.snapshot() == first
