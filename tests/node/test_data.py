"""What the guarantee rests on is looked at before anything is served, and again when the files change."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from node.config import load_config
from node.data import ServedData
from node.engine import Engine
from privacy.errors import DataError
from tests.node.makers import RESIDENTS, VISITS, Folder, make_folder


@contextlib.contextmanager
def served(folder: Folder) -> Iterator[tuple[Engine, ServedData]]:
    config = load_config(folder.config)
    with contextlib.closing(Engine.open(config)) as engine:
        yield engine, ServedData(engine, config, secret="s")


def write(file: Path, sql: str) -> None:
    fresh = file.with_suffix(".new")
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({sql}) TO '{fresh}' (FORMAT parquet)")
    fresh.replace(file)
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 10**9))


def test_sound_data_are_served(folder: Folder) -> None:
    with served(folder) as (engine, data):
        data.verify_first()
        assert engine.run("SELECT count(*) AS n FROM visits").to_pydict() == {"n": [400]}


@pytest.mark.parametrize(
    ("visits", "residents", "column"),
    [
        (VISITS, f"{RESIDENTS} UNION ALL SELECT 5, true", "person_id` of table `residents"),
        (f"{VISITS} UNION ALL SELECT 1, 5, 'F', 5, DATE '2023-01-01', 'inpatient'", RESIDENTS, "sex` of table `visits"),
        (
            f"{VISITS} UNION ALL SELECT 1, 5, NULL, 5, DATE '2023-01-01', 'inpatient'",
            RESIDENTS,
            "sex` of table `visits",
        ),
        (f"SELECT * EXCLUDE age FROM ({VISITS})", RESIDENTS, "age` of table `visits"),
        (f"SELECT * REPLACE ([age] AS age) FROM ({VISITS})", RESIDENTS, "age` of table `visits"),
        (
            f"SELECT * REPLACE (person_id::DOUBLE AS person_id) FROM ({VISITS})",
            RESIDENTS,
            "person_id` of table `visits",
        ),
    ],
)
def test_a_broken_promise_forbids_serving(tmp_path: Path, visits: str, residents: str, column: str) -> None:
    folder = make_folder(tmp_path / "broken", visits=visits, residents=residents)
    with served(folder) as (_, data):
        with pytest.raises(DataError, match=f"`{column}`") as caught:
            data.verify_first()
        assert not any(character.isdigit() for character in str(caught.value))
        with pytest.raises(DataError, match="answers nothing"):
            data.verify(data.snapshot())


def test_rows_without_a_unit_are_no_reason_to_refuse_and_are_dropped(tmp_path: Path) -> None:
    extra = f"{RESIDENTS} UNION ALL SELECT NULL, true UNION ALL SELECT NULL, false"
    with served(make_folder(tmp_path / "nulls", residents=extra)) as (engine, data):
        data.verify_first()
        assert engine.run("SELECT count(*) AS n FROM residents").to_pydict() == {"n": [200]}


def test_files_that_change_are_looked_at_again(folder: Folder) -> None:
    with served(folder) as (engine, data):
        data.verify_first()
        first = data.snapshot()
        write(folder.data / "residents.parquet", f"{RESIDENTS} UNION ALL SELECT NULL, true")
        second = data.snapshot()
        assert second != first
        data.verify(second)
        assert engine.run("SELECT count(*) AS n FROM residents").to_pydict() == {"n": [200]}
        write(folder.data / "residents.parquet", f"{RESIDENTS} UNION ALL SELECT 5, true")
        with pytest.raises(DataError, match="answers nothing"):
            data.verify(data.snapshot())
        write(folder.data / "residents.parquet", RESIDENTS)
        data.verify(data.snapshot())


def test_columns_that_change_type_need_a_restart(folder: Folder) -> None:
    with served(folder) as (_, data):
        data.verify_first()
        write(folder.data / "residents.parquet", "SELECT i AS person_id, 'yes' AS insured FROM range(5) t(i)")
        with pytest.raises(DataError, match="answers nothing"):
            data.verify(data.snapshot())


def test_a_file_that_breaks_gives_the_same_text(folder: Folder) -> None:
    with served(folder) as (_, data):
        data.verify_first()
        (folder.data / "residents.parquet").write_bytes(b"half a file")
        with pytest.raises(DataError, match="answers nothing"):
            data.verify(data.snapshot())


def test_files_of_one_table_agree_in_type(folder: Folder) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT * REPLACE (age::VARCHAR AS age) FROM ({VISITS})) TO '{folder.data / 'visits2.parquet'}'"
        )
    with served(folder) as (_, data), pytest.raises(DataError, match="`age` of table `visits`"):
        data.verify_first()


def test_files_of_one_table_may_order_their_columns_as_they_like(folder: Folder) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT kind, * EXCLUDE kind FROM ({VISITS})) TO '{folder.data / 'visits2.parquet'}'")
    with served(folder) as (engine, data):
        data.verify_first()
        assert engine.run("SELECT count(*) AS n FROM visits WHERE kind = 'inpatient'").to_pydict() == {"n": [400]}


HEADER = "person_id,insured"


def with_csv(folder: Folder, *files: bytes) -> None:
    for number, content in enumerate(files):
        (folder.data / f"people{number}.csv").write_bytes(content)
    folder.edit('["../data/residents.parquet"]', '["../data/people*.csv"]')


def test_csv_is_read_as_text_and_converted_by_the_view(folder: Folder) -> None:
    with_csv(folder, f'\ufeff{HEADER}\n1,true\n"2","false"\n3,0\n4,\n,true\n'.encode())
    with served(folder) as (engine, data):
        data.verify_first()
        rows = engine.run("SELECT person_id, insured FROM residents ORDER BY person_id").to_pylist()
    assert [(row["person_id"], row["insured"]) for row in rows] == [(1, True), (2, False), (3, False), (4, None)]


@pytest.mark.parametrize(
    "content",
    [
        f"{HEADER}\n1,true\n2,perhaps\n".encode(),
        f"{HEADER}\n1,true\n2\n".encode(),
        f"{HEADER}\n1,true\n2,true,3\n".encode(),
        f'{HEADER}\n1,true\n"2,true\n3,true\n'.encode(),
        HEADER.encode() + b"\n1,\xff\xfe\n",
        b"person_id,person_id\n1,2\n",
        b"",
    ],
)
def test_csv_that_does_not_parse_strictly_is_not_served(folder: Folder, content: bytes) -> None:
    with_csv(folder, content)
    with served(folder) as (_, data), pytest.raises(DataError, match="residents"):
        data.verify_first()


def test_csv_files_with_other_headers_are_not_served(folder: Folder) -> None:
    with_csv(folder, f"{HEADER}\n1,true\n".encode(), b"insured,person_id\ntrue,1\n")
    with served(folder) as (_, data), pytest.raises(DataError, match="residents"):
        data.verify_first()


def test_a_label_names_the_data_and_files_that_change_are_looked_at_all_the_same(folder: Folder) -> None:
    folder.edit("ledger =", 'snapshot = "2026-Q3"\nledger =')
    with served(folder) as (engine, data):
        data.verify_first()
        first = data.snapshot()
        write(folder.data / "residents.parquet", "SELECT i AS person_id, true AS insured FROM range(150) t(i)")
        second = data.snapshot()
        assert (first.name, second.name) == ("2026-Q3", "2026-Q3")
        assert first.files != second.files
        data.verify(second)
        assert engine.run("SELECT count(*) AS n FROM residents").to_pydict() == {"n": [150]}
        write(folder.data / "residents.parquet", f"{RESIDENTS} UNION ALL SELECT 5, true")
        with pytest.raises(DataError, match="answers nothing"):
            data.verify(data.snapshot())
