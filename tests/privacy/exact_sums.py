"""The exact sums of a fragment over rows that a test makes up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import duckdb
from hypothesis import strategies as st

from privacy.bounding import bounded_sql
from privacy.dense import numbers
from privacy.fragment import Fragment
from privacy.layout import Stored
from privacy.unit_sums import unit_sums_sql
from tests.privacy.corpus_planner import catalog

PERSON = 7
SECRET = "ab"

visit = st.tuples(
    st.integers(1, 20),
    st.integers(0, 100),
    st.sampled_from(["F", "M"]),
    st.integers(0, 100_000),
    st.integers(0, 730),
    st.sampled_from(["outpatient", "inpatient", "emergency", "checkup", "test", "unknown"]),
)


VISITS = ("person_id BIGINT", "n INT", "age BIGINT", "sex VARCHAR", "cents INT", "day INT", "kind VARCHAR")
RESIDENTS = ("person_id BIGINT", "birth_year BIGINT", "sex VARCHAR", "home_province VARCHAR", "insured BOOLEAN")


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config={"threads": 1})
    connection.execute("CREATE TABLE hospitals (hospital VARCHAR, city VARCHAR, level INT)")
    connection.executemany("INSERT INTO hospitals VALUES (?, ?, ?)", catalog().public_tables["hospitals"].rows)
    return connection


def _values(columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    """A SELECT of the rows, with the declared types."""
    typed = ", ".join(f"{name}::{kind} AS {name}" for name, kind in (column.split() for column in columns))
    names = ", ".join(column.split()[0] for column in columns)
    listed = (
        ", ".join(f"({', '.join(repr(value) for value in row)})" for row in rows)
        or f"({', '.join(['NULL'] * len(columns))})"
    )
    return f"SELECT {typed} FROM (VALUES {listed}) AS v({names}) WHERE v.person_id IS NOT NULL"


def exact_sums(
    fragment: Fragment,
    visits: Sequence[tuple[object, ...]],
    residents: Sequence[tuple[object, ...]],
    *,
    large: bool = False,
    stored: Sequence[Stored] = (),
) -> dict[object, tuple[int, ...]]:
    engine = _engine()
    engine.execute(
        "CREATE OR REPLACE VIEW visits AS SELECT person_id, age, sex, kind, cents / 100 AS cost, DATE '2023-01-01' + day AS visit_date,"
        f" h.hospital FROM ({_values(VISITS, visits)}) AS r JOIN (SELECT *, row_number() OVER () AS n FROM hospitals) AS h USING (n)"
    )
    engine.execute(f"CREATE OR REPLACE VIEW residents AS {_values(RESIDENTS, residents)}")
    for one in stored:
        _store(engine, one)
    ready = [one.sums.within("temp") for one in stored]
    cells = {tuple(cell.values()) for cell in fragment.cells.to_pylist()} or {()}
    found = engine.sql(bounded_sql(fragment, secret=SECRET, large=large, stored=ready)).to_arrow_table()
    vectors = [
        numbers(measure, found.column(measure.name)).reshape(-1, measure.width).tolist()
        for measure in fragment.measures
    ]
    sums: dict[object, tuple[int, ...]] = {}
    for row, *parts in zip(found.to_pylist(), *vectors, strict=True):
        cell = tuple(row[key.name] for key in fragment.keys)
        if cell in cells:
            sums[cell] = tuple(number for part in parts for number in part)
    return sums


def _store(engine: duckdb.DuckDBPyConnection, stored: Stored) -> None:
    sums = stored.sums.within("temp")
    if stored.places is not None:
        engine.register("#places", stored.places)
        engine.execute(f'CREATE OR REPLACE TEMP TABLE {sums.places} AS FROM "#places"')
    made = unit_sums_sql(sums, rows=sums.table, secret=SECRET)
    engine.execute(f"CREATE OR REPLACE TEMP TABLE {sums.name} AS {made}")
