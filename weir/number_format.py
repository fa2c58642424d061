"""Numbers for people: the standard error decides how many digits of a value mean something."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, replace
from typing import Any

EMPTY = "–"
_LARGEST = 1e15  # from here on numbers are written in powers of ten
_MOST_DECIMALS = 9
_ITEMS = 40  # of a list or MAP that are shown


@dataclass(frozen=True)
class Figure:
    """One cell for people: its text, and where it is noisy `± …` and the 95 % interval."""

    value: str
    error: str = ""
    interval: str = ""


def figure(value: object, standard_error: float | None) -> Figure:
    """The cell's text; a noisy number is rounded to the second digit of its standard error.

    >>> figure(12345.678, 141.0)
    Figure(value='12,350', error='± 140')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Figure(EMPTY)
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isinf(value):
        return Figure(plain_text(value))
    if standard_error is None or standard_error == 0:
        return Figure(plain_text(value))
    if not math.isfinite(standard_error):
        return Figure(plain_text(value), "± ?")
    decimals = _decimals(standard_error)
    if decimals > _MOST_DECIMALS or abs(value) >= _LARGEST or standard_error >= _LARGEST:
        return Figure(_scientific(value, standard_error), f"± {standard_error:.1e}")
    digits = min(0, decimals) if isinstance(value, int) else decimals  # a count has no places after the point
    return Figure(_fixed(value, digits), f"± {_fixed(standard_error, decimals)}")


def with_interval(cell: Figure, value: object, standard_error: float | None, ends: tuple[Any, Any]) -> Figure:
    """The figure of `value` with its interval, rounded as the value is."""
    if not cell.error or None in ends:
        return cell
    kind = int if isinstance(value, int) else float
    low, high = (figure(kind(end), standard_error).value for end in ends)
    return replace(cell, interval=f"95 %: {low} to {high}")


def plain_text(value: object) -> str:
    """A value without an error bar: all of a whole number, six digits of a fraction."""
    if value is None:
        return EMPTY
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _plain_float(value)
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return str(value.date())
    if isinstance(value, list):
        return _container(value)
    # Texts may come from data: none of them may move a terminal's cursor.
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(value))


def _container(items: list[Any]) -> str:
    """A list, or a MAP, which Arrow gives as a list of pairs."""
    pairs = [item for item in items if isinstance(item, tuple)]
    shown = [f"{key_text(key)}: {plain_text(value)}" for key, value in pairs] or [plain_text(item) for item in items]
    more = [f"… {len(shown) - _ITEMS:,} more"] if len(shown) > _ITEMS else []
    inside = ", ".join([*shown[:_ITEMS], *more])
    return f"{{{inside}}}" if pairs else f"[{inside}]"


def key_text(value: object) -> str:
    """A group key: as `plain_text`, but a year is 2024, not 2,024."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else plain_text(value)


def epsilon_text(epsilon: float) -> str:
    """An ε, without digits that nobody chose."""
    return f"{epsilon:,.6g}" if 1e-4 <= abs(epsilon) < 1e6 or epsilon == 0 else f"{epsilon:.3g}"


def guarantee_text(epsilon: float, delta: float) -> str:
    """A guarantee: δ only where there is one."""
    return f"ε = {epsilon_text(epsilon)}" + (f", δ = {delta:g}" if delta else "")


def error_text(standard_error: float) -> str:
    """A standard error by itself: two digits, whole numbers in full."""
    if standard_error == 0:
        return "0"
    decimals = _decimals(standard_error)
    if not math.isfinite(standard_error) or decimals > _MOST_DECIMALS or standard_error >= _LARGEST:
        return f"{standard_error:.1e}"
    return _fixed(standard_error, decimals)


def _decimals(standard_error: float) -> int:
    """Places after the point at which the second digit of the error stands; negative left of the point."""
    if not math.isfinite(standard_error):
        return 0
    first = int(f"{standard_error:.1e}".partition("e")[2])  # after rounding: 0.0996 counts as 0.10
    return 1 - first


def _fixed(value: float, decimals: int) -> str:
    rounded = round(value, decimals)
    text = f"{rounded:,.{max(0, decimals)}f}"
    return text.removeprefix("-") if float(rounded) == 0 else text


def _scientific(value: float, standard_error: float) -> str:
    if value == 0:
        return "0"
    digits = math.floor(math.log10(abs(value))) - math.floor(math.log10(standard_error)) + 1
    return f"{value:.{min(15, max(1, digits))}e}"


def _plain_float(value: float) -> str:
    size = abs(value)
    if value.is_integer() and size < _LARGEST:
        return f"{value + 0.0:,.0f}"  # + 0.0 turns -0.0 into 0.0
    if 1e4 <= size < _LARGEST:
        return f"{value:,.2f}"
    return f"{value:.6g}"
