"""What took long to make and may be asked for again: the values of the keys that were used last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class Remembered(Generic[KeyT, ValueT]):
    """A bounded memory of immutable values. Thread-safe; two threads may make the same value at once.

    Args:
        most: values.
        most_bytes: of all values together; a value that is larger by itself is not kept.
        size: of a value under its key, in bytes, about.
    """

    def __init__(self, most: int, most_bytes: int, size: Callable[[KeyT, ValueT], int]) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._size = size
        self._bytes = 0
        self._kept: OrderedDict[KeyT, tuple[ValueT, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: KeyT, make: Callable[[], ValueT]) -> ValueT:
        """The value of `key`, by `make` where it is not known; what that raises is not remembered."""
        known = self.known(key)
        return known if known is not None else self.keep(key, make())

    def known(self, key: KeyT) -> ValueT | None:
        """The value of `key`, if it is remembered."""
        with self._lock:
            known = self._kept.get(key)
            if known is None:
                return None
            self._kept.move_to_end(key)
            return known[0]

    def keep(self, key: KeyT, value: ValueT) -> ValueT:
        """`value`, which is remembered."""
        size = self._size(key, value)
        with self._lock:
            if key not in self._kept and size <= self._most_bytes:
                self._kept[key] = value, size
                self._bytes += size
            while len(self._kept) > self._most or self._bytes > self._most_bytes:
                _, (_, freed) = self._kept.popitem(last=False)
                self._bytes -= freed
        return value

    def __len__(self) -> int:
        return len(self._kept)
