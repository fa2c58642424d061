"""A memory that forgets what was not used for longest, and never holds more than it may."""

from collections.abc import Callable

import pytest

from privacy.remembered import Remembered


def made(log: list[str], key: str) -> Callable[[], str]:
    def make() -> str:
        log.append(key)
        return key.upper()

    return make


def memory(most: int = 3, most_bytes: int = 100) -> Remembered[str, str]:
    return Remembered(most, most_bytes, lambda key, value: len(key) + len(value))


def test_a_value_is_made_once() -> None:
    known, log = memory(), list[str]()
    assert [known.get("a", made(log, "a")) for _ in range(3)] == ["A"] * 3
    assert log == ["a"]


def test_what_was_not_used_for_longest_is_forgotten() -> None:
    known, log = memory(most=2), list[str]()
    for key in ("a", "b", "a", "c", "a", "b"):
        known.get(key, made(log, key))
    assert log == ["a", "b", "c", "b"]
    assert len(known) == 2


def test_all_together_take_no_more_bytes_than_they_may() -> None:
    known, log = memory(most=100, most_bytes=20), list[str]()
    for key in ("a" * 5, "b" * 5, "c" * 5, "d" * 11, "c" * 5):
        known.get(key, made(log, key))
    assert len(known) == 2
    assert log == ["a" * 5, "b" * 5, "c" * 5, "d" * 11]  # too large by itself: it is not kept, and drives nothing out


def test_what_cannot_be_made_is_not_remembered() -> None:
    known = memory()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            known.get("a", lambda: str(1 // 0))
    assert known.get("a", lambda: "A") == "A"
