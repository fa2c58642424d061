from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.periods import LENGTHS, Length, period


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("moment", "length", "name", "end"),
    [
        ("2026-12-31T23:59:59", "day", "2026-12-31", date(2027, 1, 1)),
        ("2027-01-01T00:00:00", "day", "2027-01-01", date(2027, 1, 2)),
        ("2026-12-31T23:59:59", "week", "2026-W53", date(2027, 1, 4)),
        ("2027-01-03T23:59:59", "week", "2026-W53", date(2027, 1, 4)),
        ("2027-01-04T00:00:00", "week", "2027-W01", date(2027, 1, 11)),
        ("2028-02-29T12:00:00", "month", "2028-02", date(2028, 3, 1)),
        ("2026-12-01T00:00:00", "month", "2026-12", date(2027, 1, 1)),
        ("2026-03-31T23:59:59", "quarter", "2026-Q1", date(2026, 4, 1)),
        ("2026-04-01T00:00:00", "quarter", "2026-Q2", date(2026, 7, 1)),
        ("2026-11-01T00:00:00", "quarter", "2026-Q4", date(2027, 1, 1)),
        ("2026-06-01T00:00:00", "year", "2026", date(2027, 1, 1)),
    ],
)
def test_periods_are_the_calendars(moment: str, length: Length, name: str, end: date) -> None:
    found = period(at(moment), length)
    assert (found.name, found.end) == (name, end)


@given(st.integers(0, 4_000_000_000_000), st.sampled_from(LENGTHS))
def test_a_period_ends_where_the_next_begins(time_ms: int, length: Length) -> None:
    found = period(time_ms, length)
    end_ms = int(datetime(found.end.year, found.end.month, found.end.day, tzinfo=UTC).timestamp() * 1000)
    assert time_ms < end_ms
    assert period(end_ms - 1, length) == found
    assert period(end_ms, length).name != found.name
