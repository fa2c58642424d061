"""The rest runs in a DuckDB that reaches nothing, keeps nothing and ends in time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from coordinator.rest import RestEngine
from privacy.errors import ConstructRefused, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

MERGED = pa.table({"cell": [0, 1], "k0": ["a", None], "m0": [4, 6]})


def run(sql: str, engine: RestEngine | None = None, *, timeout_s: float = 5, **tables: pa.Table) -> pa.Table:
    with (engine or RestEngine()).session(timeout_s=timeout_s) as session:
        return session.run(sql, **tables)


def test_a_select_over_merged() -> None:
    table = run("SELECT k0, m0 / 2 AS half, cell FROM merged ORDER BY m0 DESC", merged=MERGED)
    assert table.to_pydict() == {"k0": [None, "a"], "half": [3.0, 2.0], "cell": [1, 0]}


def test_numbers_are_floats_and_null_is_nan() -> None:
    columns = ("m0 / 2", "CASE WHEN m0 > 5 THEN m0 END", "SUM(m0) OVER ()", "m0::DECIMAL(18, 2)", "NULL::INTEGER")
    with RestEngine().session(timeout_s=5) as session:
        found = session.numbers(f"SELECT {', '.join(columns)} FROM merged ORDER BY cell", merged=MERGED)
    assert [column.dtype for column in found] == [np.float64] * 5
    assert [[None if np.isnan(one) else one for one in column] for column in found] == [
        [2.0, 3.0],
        [None, 6.0],
        [10.0, 10.0],
        [4.0, 6.0],
        [None, None],
    ]


def test_the_order_of_merged_is_kept_without_order_by() -> None:
    many = pa.table({"cell": range(200_000)})
    table = run("SELECT cell FROM merged WHERE cell % 2 = 0", merged=many)
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
        run(sql.format(file=file), merged=MERGED)
    assert "secret" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]


def test_python_variables_and_other_runs_are_out_of_sight() -> None:
    engine = RestEngine()
    hidden = pa.table({"x": [1]})
    assert hidden.num_rows == 1
    run("SELECT * FROM merged", engine, merged=MERGED)
    for name in ("hidden", "MERGED", "merged"):
        with pytest.raises(ConstructRefused):
            run(f"SELECT * FROM {name}", engine)


def test_messages_do_not_repeat_values() -> None:
    table = pa.table({"k0": ["a value"], "cell": [0]})
    with pytest.raises(ConstructRefused) as caught:
        run("SELECT k0::INTEGER, cell FROM merged", merged=table)
    assert "a value" not in str(caught.value)


def test_a_rest_that_takes_too_long_ends() -> None:
    endless = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE hash(a.range, b.range) = 0"
    with pytest.raises(UnavailableError, match="too long"):
        run(endless, timeout_s=0.2)


def test_concurrent_runs_see_their_own_tables() -> None:
    engine = RestEngine()

    def echo(number: int) -> int:
        table = pa.table({"cell": [0], "m0": [number]})
        found: int = run("SELECT m0, cell FROM merged", engine, merged=table)["m0"][0].as_py()
        return found

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(echo, range(200))) == list(range(200))


def test_closing_ends_what_runs() -> None:
    engine = RestEngine()
    endless = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE hash(a.range, b.range) = 0"
    with ThreadPoolExecutor(1) as pool, engine.session(timeout_s=60) as session:
        running = pool.submit(session.run, endless)
        while not running.done():
            engine.close()
        with pytest.raises(UnavailableError):
            running.result()


def test_bind_checks_types_without_computing() -> None:
    with RestEngine().session(timeout_s=5) as session:
        session.bind("SELECT sqrt(m0), cell FROM merged", merged=MERGED.slice(0, 0))
        with pytest.raises(ConstructRefused, match="BinderException"):
            session.bind("SELECT date_trunc('month', m0), cell FROM merged", merged=MERGED.slice(0, 0))


def test_what_was_bound_once_is_not_bound_again(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, opened = RestEngine(), []
    session = engine.session
    monkeypatch.setattr(engine, "session", lambda **given: opened.append(given) or session(**given))
    for _ in range(3):
        engine.bind("SELECT m0, cell FROM merged", {"merged": MERGED.schema}, timeout_s=5)
        with pytest.raises(ConstructRefused):
            engine.bind("SELECT date_trunc('month', m0), cell FROM merged", {"merged": MERGED.schema}, timeout_s=5)
    assert len(opened) == 1 + 3  # a refusal is found anew each time
    other = MERGED.schema.set(MERGED.schema.get_field_index("m0"), pa.field("m0", pa.string()))
    engine.bind("SELECT m0, cell FROM merged", {"merged": other}, timeout_s=5)
    assert len(opened) == 5
