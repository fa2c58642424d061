from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from node.check import Finding, check
from tests.node.makers import RESIDENTS, VISITS, Folder, make_folder


def found(folder: Folder, table: str, column: str) -> list[tuple[str, str]]:
    return [(f.level, f.message) for f in check(folder.config) if (f.table, f.column) == (table, column)]


def test_sound_data_give_one_line_a_column(folder: Folder) -> None:
    findings = check(folder.config)
    assert {finding.level for finding in findings} == {"ok"}
    assert [f.column for f in findings if f.table == "residents"] == ["person_id", "insured"]
    assert [f.message for f in findings if "max_rows" in f.message] == [
        "No unit has more than max_rows = 3 rows; the most is 2."
    ]


@pytest.mark.parametrize(
    ("value", "column", "message"),
    [
        ("101", "age", "values outside the bounds [0, 100], which are clamped: 1 of 401 rows (0.25%)."),
        ("NULL", "age", "NULL in a column that is not nullable: 1 of 401 rows (0.25%)."),
        ("-1", "cost", "values outside the bounds [0, 1000], which are clamped: 1 of 401 rows (0.25%)."),
        ("'inf'", "cost", "values outside the bounds [0, 1000], which are clamped: 1 of 401 rows (0.25%)."),
        ("'nan'", "cost", "values that are not a number and become NULL: 1 of 401 rows (0.25%)."),
        (
            "DATE '2022-12-31'",
            "day",
            "dates outside 2023-01-01 – 2024-12-31, which are clamped: 1 of 401 rows (0.25%).",
        ),
        ("'dental'", "kind", "values outside the domain, which are in no group: 1 of 401 rows (0.25%)."),
        ("NULL", "person_id", "1 rows have no unit; they are dropped."),
    ],
)
def test_shares_of_values_outside_the_standard(tmp_path: Path, value: str, column: str, message: str) -> None:
    row = {
        "person_id": "9999",
        "age": "5",
        "sex": "'F'",
        "cost": "5",
        "day": "DATE '2023-01-01'",
        "kind": "'inpatient'",
    }
    selected = ", ".join((row | {column: value}).values())
    folder = make_folder(tmp_path / "odd", visits=f"{VISITS} UNION ALL SELECT {selected}")
    assert ("warning", message) in found(folder, "visits", column)
    assert {f.level for f in check(folder.config)} == {"ok", "warning"}


def test_values_of_another_type_are_counted_and_an_error(tmp_path: Path) -> None:
    texts = f"SELECT * REPLACE (CASE WHEN age = 7 THEN 'seven' WHEN age = 8 THEN '1e9' ELSE age::VARCHAR END AS age) FROM ({VISITS})"
    messages = found(make_folder(tmp_path / "texts", visits=texts), "visits", "age")
    assert [level for level, _ in messages] == ["warning", "error"]
    assert "VARCHAR is converted to INTEGER" in messages[0][1]
    assert "5 values are no INTEGER" in messages[1][1]


def test_missing_columns_are_errors_with_the_nearest_name(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "missing", visits=f"SELECT * RENAME (kind AS kinds) FROM ({VISITS})")
    assert found(folder, "visits", "kind") == [
        ("error", "There is no local column 'kind'; did you mean 'kinds'? Map it under `columns`.")
    ]
    folder.edit('["../data/visits*.parquet"]', '["../data/visits*.parquet"]\ncolumns = { kind = "kinds" }')
    assert found(folder, "visits", "kind") == [("ok", "VARCHAR serves as VARCHAR.")]


def test_types_that_cannot_be_converted_are_errors(tmp_path: Path) -> None:
    folder = make_folder(
        tmp_path / "types", residents=f"SELECT * REPLACE (DATE '2023-01-01' AS insured) FROM ({RESIDENTS})"
    )
    assert found(folder, "residents", "insured") == [("error", "DATE cannot become BOOLEAN.")]


def test_broken_promises_are_errors(tmp_path: Path) -> None:
    folder = make_folder(
        tmp_path / "promises",
        visits=f"{VISITS} UNION ALL SELECT 1, 5, 'F', 5, DATE '2023-01-01', 'inpatient'",
        residents=f"{RESIDENTS} UNION ALL SELECT 5, true",
    )
    findings = check(folder.config)
    assert (
        Finding("visits", "sex", "error", "1 units have several values, but the catalog says `fixed_per_unit`.")
        in findings
    )
    message = "1 units have more than one row, but the catalog says `rows_per_unit = 1`."
    assert Finding("residents", "person_id", "error", message) in findings


def test_promised_rows_are_counted(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "rows", residents=f"{RESIDENTS} UNION ALL SELECT i, true FROM range(3) AS t(i)")
    catalog = folder.path / "catalog.toml"
    catalog.write_text(catalog.read_text().replace("rows_per_unit = 1", "rows_per_unit = 2"))
    assert [finding for finding in check(folder.config) if finding.level == "error"] == []
    catalog.write_text(catalog.read_text().replace("rows_per_unit = 2", "rows_per_unit = 1"))
    assert "`rows_per_unit = 1`" in found(folder, "residents", "person_id")[-1][1]


def test_units_with_more_rows_than_count_are_a_warning(tmp_path: Path) -> None:
    more = f"{VISITS} UNION ALL SELECT 1, 5, 'M', 5, DATE '2023-01-01', 'inpatient' FROM range(2)"
    level, message = found(make_folder(tmp_path / "many", visits=more), "visits", "person_id")[-1]
    assert level == "warning"
    assert message.startswith("1 of 200 units have more than max_rows = 3 rows, at most 4;")


def test_no_rows_are_a_warning(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "empty", residents=f"FROM ({RESIDENTS}) LIMIT 0")
    assert found(folder, "residents", "") == [("warning", "There are no rows.")]


def test_a_check_leaves_the_ledger_alone(folder: Folder) -> None:
    check(folder.config)
    assert not (folder.path / "state" / "east.ledger").exists()


def test_duckdb_tables_are_checked_too(folder: Folder) -> None:
    with duckdb.connect(str(folder.data / "local.duckdb")) as connection:
        connection.execute("CREATE SCHEMA office")
        connection.execute(f"CREATE TABLE office.people AS {RESIDENTS}")
    folder.edit('files = ["../data/residents.parquet"]', 'database = "../data/local.duckdb"\ntable = "office.people"')
    assert found(folder, "residents", "insured") == [("ok", "BOOLEAN serves as BOOLEAN.")]
