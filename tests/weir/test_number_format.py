import datetime as dt
import math

import pytest

from weir.number_format import Figure, epsilon_text, error_text, figure, key_text, plain_text


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (12345, 14.1, ("12,345", "± 14")),
        (12345.678, 141.0, ("12,350", "± 140")),
        (1234567, 12345.0, ("1,235,000", "± 12,000")),
        (123.4567, 0.0345, ("123.457", "± 0.035")),
        (81.5, 2.1, ("81.5", "± 2.1")),
        (19611, 9.43, ("19,611", "± 9.4")),
        (19611, 0.0343, ("19,611", "± 0.034")),
        (0.5, 0.0996, ("0.50", "± 0.10")),  # rounding the error lifts it to the next power of ten
        (-3.2, 14.0, ("-3", "± 14")),
        (-0.2, 14.0, ("0", "± 14")),  # never "-0"
        (0.0, 0.0345, ("0.000", "± 0.035")),
        (1e18, 1e16, ("1.000e+18", "± 1.0e+16")),
        (1.5, 2.5e-11, ("1.500000000000e+00", "± 2.5e-11")),
        (7.0, math.inf, ("7", "± ?")),
        (7.25, 0.0, ("7.25", "")),
        (7, None, ("7", "")),
        (None, 3.0, ("–", "")),
        (math.nan, 3.0, ("–", "")),
        (math.inf, 3.0, ("inf", "")),
    ],
)
def test_the_standard_error_decides_the_digits(value: object, error: float | None, shown: tuple[str, str]) -> None:
    assert figure(value, error) == Figure(*shown)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (True, "true"),
        (1234567, "1,234,567"),
        (1234567.0, "1,234,567"),
        (1234567.891, "1,234,567.89"),
        (0.1234567, "0.123457"),
        (-0.0, "0"),
        (1e-9, "1e-09"),
        (dt.date(2024, 1, 31), "2024-01-31"),
        (dt.datetime(2024, 1, 1), "2024-01-01"),
        (dt.datetime(2024, 1, 1, 8, 30), "2024-01-01 08:30:00"),
        ("上海", "上海"),
    ],
)
def test_values_without_noise_are_plain(value: object, shown: str) -> None:
    assert plain_text(value) == shown


def test_a_year_has_no_thousands_separator() -> None:
    assert key_text(2024) == "2024"
    assert key_text(False) == "false"


def test_epsilon_shows_no_digits_that_nobody_chose() -> None:
    texts = [epsilon_text(e) for e in (0.5, 1 / 3, 1e6, 1e-6, 0, 19.999999999)]
    assert texts == ["0.5", "0.333333", "1e+06", "1e-06", "0", "20"]


def test_errors_by_themselves_have_two_digits() -> None:
    assert [error_text(e) for e in (0, 124.45, 0.0345, 1e20, math.inf)] == ["0", "120", "0.035", "1.0e+20", "inf"]


def test_texts_from_data_cannot_steer_a_terminal() -> None:
    assert key_text("\x1b[2J浙江\n\u202eab") == "\\x1b[2J浙江\\n\\u202eab"
    assert key_text("a b · é") == "a b · é"
