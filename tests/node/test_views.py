"""Views are total: whatever a row holds, a value of the standard or NULL comes out, never an error."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.views import conversion, engine_type, standard_value, view
from privacy.catalog import Column, Description, PrivateTable

_TEXT = Description(en="x", zh="x")
BOUNDED = Column(type="DOUBLE", bounds=(-5, 1000), grid=0.01, description=_TEXT)
FREE = Column(type="DOUBLE", description=_TEXT)
AGE = Column(type="INTEGER", bounds=(-5, 100), description=_TEXT)
NUMBER = Column(type="BIGINT", description=_TEXT)
DAY = Column(type="DATE", range=(dt.date(2023, 1, 1), dt.date(2024, 12, 31)), description=_TEXT)
ANY_DAY = Column(type="DATE", description=_TEXT)
FLAG = Column(type="BOOLEAN", description=_TEXT)
CODE = Column(type="VARCHAR", values=("a", "b"), description=_TEXT)

_connection = duckdb.connect()


def through(column: Column, local_type: str, value: Any, *, is_unit: bool = False) -> Any:
    """`value` of DuckDB type `local_type` as the view shows it."""
    sql = standard_value(column, "c", local_type, is_unit=is_unit)
    return _connection.execute(f"SELECT {sql} FROM (SELECT CAST($1 AS {local_type}) AS c)", [value]).fetchall()[0][0]


@pytest.mark.parametrize("column", [BOUNDED, FREE, BOUNDED.model_copy(update={"bounds": (-0.0, 5.0)})])
@pytest.mark.parametrize(
    ("local_type", "value"), [("DOUBLE", -0.0), ("FLOAT", -0.0), ("VARCHAR", "-0"), ("DOUBLE", -9e9)]
)
def test_no_value_is_minus_zero(column: Column, local_type: str, value: Any) -> None:
    assert repr(through(column, local_type, value)) != "-0.0"


@pytest.mark.parametrize(
    ("column", "local_type", "value", "expected"),
    [
        (BOUNDED, "DOUBLE", 3.25, 3.25),
        (BOUNDED, "DOUBLE", math.nan, None),
        (BOUNDED, "DOUBLE", math.inf, 1000.0),
        (BOUNDED, "DOUBLE", -math.inf, -5.0),
        (BOUNDED, "DOUBLE", 1e308, 1000.0),
        (BOUNDED, "DOUBLE", None, None),
        (BOUNDED, "FLOAT", math.nan, None),
        (BOUNDED, "DECIMAL(18,2)", 1000.01, 1000.0),
        (BOUNDED, "INTEGER", 2_000, 1000.0),
        (BOUNDED, "VARCHAR", "12.5", 12.5),
        (BOUNDED, "VARCHAR", "1e999", 1000.0),
        (BOUNDED, "VARCHAR", "Zhang San", None),
        (FREE, "DOUBLE", math.inf, None),
        (FREE, "DOUBLE", math.nan, None),
        (AGE, "INTEGER", 101, 100),
        (AGE, "INTEGER", None, None),
        (AGE, "TINYINT", -100, -5),
        (AGE, "UTINYINT", 200, 100),
        (AGE, "BIGINT", 2**62, 100),
        (AGE, "HUGEINT", -(2**100), -5),
        (AGE, "UBIGINT", 2**64 - 1, 100),
        (AGE, "DOUBLE", math.nan, None),
        (AGE, "DOUBLE", 1e308, 100),
        (AGE, "DOUBLE", -math.inf, -5),
        (AGE, "BOOLEAN", True, 1),
        (AGE, "VARCHAR", "41", 41),
        (AGE, "VARCHAR", "inf", 100),
        (AGE, "VARCHAR", "forty", None),
        (NUMBER, "DOUBLE", 1e308, None),
        (NUMBER, "VARCHAR", "99999999999999999999", None),
        (DAY, "DATE", dt.date(1900, 1, 1), dt.date(2023, 1, 1)),
        (DAY, "DATE", dt.date(2999, 1, 1), dt.date(2024, 12, 31)),
        (DAY, "DATE", "infinity", dt.date(2024, 12, 31)),
        (DAY, "DATE", None, None),
        (DAY, "TIMESTAMP", dt.datetime(2023, 5, 6, 7, 8), dt.date(2023, 5, 6)),
        (DAY, "TIMESTAMP", "-infinity", dt.date(2023, 1, 1)),
        (DAY, "VARCHAR", "2023-05-06", dt.date(2023, 5, 6)),
        (DAY, "VARCHAR", "2023-02-30", None),
        (ANY_DAY, "DATE", "infinity", None),
        (FLAG, "BOOLEAN", True, True),
        (FLAG, "INTEGER", 5, True),
        (FLAG, "VARCHAR", "maybe", None),
        (CODE, "VARCHAR", "a", "a"),
        (CODE, "ENUM('a', 'z')", "z", "z"),
        (CODE, "INTEGER", 5, "5"),
    ],
)
def test_value(column: Column, local_type: str, value: Any, expected: Any) -> None:
    assert through(column, local_type, value) == expected


def test_identifiers_are_not_clamped_nor_rounded() -> None:
    assert through(AGE, "BIGINT", 2**40, is_unit=True) == 2**40
    for rounded in ("FLOAT", "DOUBLE", "DECIMAL(10,2)"):
        assert conversion(AGE, rounded, is_unit=True) is None


@pytest.mark.parametrize(
    "local_type", ["INTEGER[]", "STRUCT(a INTEGER)", "MAP(INTEGER, INTEGER)", "BLOB", "TIME", "x and y"]
)
@pytest.mark.parametrize("column", [BOUNDED, AGE, DAY, FLAG, CODE])
def test_what_cannot_become_the_type(column: Column, local_type: str) -> None:
    assert conversion(column, local_type, is_unit=False) is None


@settings(deadline=None)
@given(value=st.floats(), local_type=st.sampled_from(["DOUBLE", "FLOAT", "VARCHAR"]))
def test_every_float_ends_within_bounds(value: float, local_type: str) -> None:
    for column in (BOUNDED, AGE):
        try:
            seen = through(column, local_type, str(value))
        except duckdb.ConversionException:
            continue  # the test's own cast to FLOAT, of 1e300
        assert seen is None or column.bounds is None or column.bounds[0] <= seen <= column.bounds[1]
        assert (seen is None) == math.isnan(value)


@settings(deadline=None)
@given(value=st.integers(-(2**127), 2**127 - 1))
def test_every_integer_ends_within_bounds(value: int) -> None:
    assert through(AGE, "HUGEINT", value) == min(100, max(-5, value))
    assert through(BOUNDED, "HUGEINT", value) == min(1000, max(-5, value))


@settings(deadline=None)
@given(text=st.text(max_size=20).filter(lambda text: "\0" not in text))
def test_no_text_is_an_error(text: str) -> None:
    for column in (BOUNDED, FREE, AGE, NUMBER, DAY, ANY_DAY, FLAG, CODE):
        through(column, "VARCHAR", text)


@settings(deadline=None)
@given(day=st.dates() | st.none())
def test_every_date_ends_within_the_range(day: dt.date | None) -> None:
    assert DAY.range is not None
    first, last = DAY.range
    assert through(DAY, "DATE", day) == (None if day is None else min(last, max(first, day)))


@pytest.mark.parametrize("column", [BOUNDED, FREE, AGE, NUMBER, DAY, FLAG, CODE])
def test_types_are_those_of_the_standard(column: Column) -> None:
    sql = standard_value(column, "c", "VARCHAR", is_unit=False)
    found = _connection.execute(f"SELECT typeof({sql}) FROM (SELECT ''::VARCHAR AS c)").fetchall()[0][0]
    assert found == engine_type(column)


def test_rows_without_a_unit_are_dropped_where_there_are_some() -> None:
    table = PrivateTable(
        access="private",
        description=_TEXT,
        unit="person",
        unit_column="id",
        span=1,
        rows_per_unit=1,
        columns={"id": NUMBER, "age": AGE},
    )
    rows = "(VALUES ('1', 5), (NULL, 6), ('x', 7)) t(\"Local ID\", a)"
    columns, types = {"id": "Local ID", "age": "a"}, {"Local ID": "VARCHAR", "a": "INTEGER"}
    with duckdb.connect() as connection:
        for drop, expected in ((True, [(1, 5)]), (False, [(1, 5), (None, 6), (None, 7)])):
            connection.execute(view("t", table, columns, types, rows, drop_null_units=drop))
            assert connection.execute("SELECT id, age FROM t ORDER BY age").fetchall() == expected


def test_a_column_of_the_right_type_costs_no_cast() -> None:
    assert "CAST" not in standard_value(NUMBER, "c", "BIGINT", is_unit=False)
    assert standard_value(CODE, "c", "VARCHAR", is_unit=False) == '"c"'
    assert standard_value(FLAG, "c", "BOOLEAN", is_unit=False) == '"c"'
