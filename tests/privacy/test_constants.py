"""Constants are combined as DuckDB combines them."""

import datetime as dt

import duckdb
import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.expressions import Reader, Reading
from privacy.expressions.facts import Facts

READER = Reader(lambda column: Reading(column, Facts("DATE", 1, 10**6)))


def _read(text: str) -> Reading:
    return READER.read(sqlglot.parse_one(text, dialect="duckdb"))


def _value(sql: str) -> object:
    row = duckdb.execute(f"SELECT {sql}").fetchone()
    assert row is not None
    return row[0]


_DECIMALS = st.decimals(0, 1000, places=2).map(lambda number: f"{number:.2f}")


@given(_DECIMALS, _DECIMALS, st.sampled_from("+-*"), st.sampled_from("+-*"), _DECIMALS)
def test_decimals_are_exact(first: str, second: str, one: str, other: str, third: str) -> None:
    text = f"({first} {one} {second}) {other} {third}"
    found = _read(text)
    assert _value(found.sql.sql("duckdb")) == _value(f"({text})::DOUBLE")
    assert found.facts.low == found.facts.high == _value(f"({text})::DOUBLE")


def test_what_double_would_leave_out() -> None:
    assert _value(_read("0.06 + 0.01").sql.sql("duckdb")) == 0.07 != 0.06 + 0.01
    assert isinstance(_read("6 + 1").sql, exp.Add)  # integers are added by the engine


@given(
    st.dates(dt.date(1600, 1, 1), dt.date(2400, 1, 1)),
    st.sampled_from("+-"),
    st.integers(0, 1500),
    st.sampled_from(["DAY", "WEEK", "MONTH", "YEARS"]),
)
def test_days_are_moved(day: dt.date, sign: str, amount: int, unit: str) -> None:
    text = f"DATE '{day}' {sign} INTERVAL '{amount}' {unit}"
    expected = _value(text)
    assert isinstance(expected, dt.datetime)
    found = _read(text)
    assert _value(found.sql.sql("duckdb")) == expected
    assert found.facts == Facts("TIMESTAMP", expected.toordinal(), expected.toordinal())


def test_intervals_add_up() -> None:
    found = _read("DATE '2024-01-31' + INTERVAL 1 MONTH - INTERVAL 1 DAY")
    assert found.facts.low == dt.date(2024, 2, 28).toordinal()


@pytest.mark.parametrize(
    "text",
    [
        "day + INTERVAL 9999 YEAR",
        "DATE '2024-01-01' + INTERVAL 1 HOUR",
        "DATE '2024-01-01' - INTERVAL 3000 YEAR",
        "DATE '2024-01-01' + INTERVAL 99999999999999999999 DAY",
        "INTERVAL 1 DAY - DATE '2024-01-01'",
        "DATE '2024-01-01' * INTERVAL 1 DAY",
        "INTERVAL 1 DAY + INTERVAL 1 DAY",
    ],
)
def test_other_intervals_are_refused(text: str) -> None:
    with pytest.raises(ConstructRefused) as refusal:
        _read(text)
    assert "DATE '1998-12-01' - INTERVAL 90 DAY" in refusal.value.remedy
