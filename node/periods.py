"""Calendar periods over which a budget may be spent anew, in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal, get_args

Length = Literal["day", "week", "month", "quarter", "year"]
LENGTHS: tuple[Length, ...] = get_args(Length)


@dataclass(frozen=True)
class Period:
    """A calendar period.

    Attributes:
        name: `2026-03-01`, `2026-W09`, `2026-03`, `2026-Q1` or `2026`: no two periods have the same.
        end: the first day after it.
    """

    name: str
    end: date


def period(time_ms: int, length: Length) -> Period:
    """The period that the moment `time_ms` (milliseconds since 1970) lies in."""
    day = datetime.fromtimestamp(time_ms / 1000, tz=UTC).date()
    match length:
        case "day":
            return Period(day.isoformat(), day + timedelta(days=1))
        case "week":
            year, week, weekday = day.isocalendar()
            return Period(f"{year}-W{week:02}", day + timedelta(days=8 - weekday))
        case "month":
            return Period(f"{day:%Y-%m}", _first_of(day.year, day.month + 1))
        case "quarter":
            quarter = (day.month + 2) // 3
            return Period(f"{day.year}-Q{quarter}", _first_of(day.year, 3 * quarter + 1))
        case "year":
            return Period(f"{day.year}", date(day.year + 1, 1, 1))


def _first_of(year: int, month: int) -> date:
    return date(year + (month - 1) // 12, (month - 1) % 12 + 1, 1)
