"""The rest runs in a DuckDB that reaches nothing, keeps nothing and ends in time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from coordinator.rest import RestEngine
from privacy.errors import ConstructRefused, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

MERGED = pa.table({"cell": [0, 1], "k0": ["a", None], "m0": [4, 6]})


def test_a_select_over_merged() -> None:
    table = RestEngine().run(
        "SELECT k0, m0 / 2 AS half, cell FROM merged ORDER BY m0 DESC", {"merged": MERGED}, timeout_s=5
    )
    assert table.to_pydict() == {"k0": [None, "a"], "half": [3.0, 2.0], "cell": [1, 0]}


def test_the_order_of_merged_is_kept_without_order_by() -> None:
    many = pa.table({"cell": range(200_000)})
    table = RestEngine().run("SELECT cell FROM merged WHERE cell % 2 = 0", {"merged": many}, timeout_s=5)
    assert table["cell"].to_pylist() == list(range(0, 200_000, 2))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM '{file}'",
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM glob('{file}')",
        "SELECT * FROM MERGED_OUTSIDE",
        "SELECT getenv('HOME')",
        "COPY (SELECT 1) TO '{file}.out'",
        "ATTACH '{file}.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 1",
        "SET enable_external_access = true",
        "PRAGMA database_list",
        "CREATE TABLE left_behind AS SELECT 1",
        "INSERT INTO merged VALUES (1)",
        "SELECT 1; SELECT 2",
        "SELECT 1 FROM",
    ],
)
def test_nothing_else_works(sql: str, tmp_path: Path) -> None:
    file = tmp_path / "secret.csv"
    file.write_text("secret\n1\n")
    with pytest.raises(ConstructRefused) as caught:
        RestEngine().run(sql.format(file=file), {"merged": MERGED}, timeout_s=5)
    assert "secret" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]


def test_python_variables_and_other_runs_are_out_of_sight() -> None:
    engine = RestEngine()
    hidden = pa.table({"x": [1]})
    assert hidden.num_rows == 1
    engine.run("SELECT * FROM merged", {"merged": MERGED}, timeout_s=5)
    for name in ("hidden", "MERGED", "merged"):
        with pytest.raises(ConstructRefused):
            engine.run(f"SELECT * FROM {name}", {}, timeout_s=5)


def test_messages_do_not_repeat_values() -> None:
    table = pa.table({"k0": ["a value"], "cell": [0]})
    with pytest.raises(ConstructRefused) as caught:
        RestEngine().run("SELECT k0::INTEGER, cell FROM merged", {"merged": table}, timeout_s=5)
    assert "a value" not in str(caught.value)


def test_a_rest_that_takes_too_long_ends() -> None:
    endless = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE hash(a.range, b.range) = 0"
    with pytest.raises(UnavailableError, match="too long"):
        RestEngine().run(endless, {}, timeout_s=0.2)


def test_concurrent_runs_see_their_own_tables() -> None:
    engine = RestEngine()

    def run(number: int) -> int:
        table = pa.table({"cell": [0], "m0": [number]})
        found: int = engine.run("SELECT m0, cell FROM merged", {"merged": table}, timeout_s=5)["m0"][0].as_py()
        return found

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, range(200))) == list(range(200))
