"""Duplicates of one release wait for each other."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator

from privacy.errors import UnavailableError


class OneAtATime:
    """Lets duplicates of one release wait for each other, and other releases pass.

    Args:
        timeout_s: how long a duplicate waits at most.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._mutex = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._users: Counter[str] = Counter()

    @contextlib.contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Hold `name` alone.

        Raises:
            UnavailableError: another holds it for longer than the timeout.
        """
        with self._mutex:
            lock = self._locks.setdefault(name, threading.Lock())
            self._users[name] += 1
        try:
            if not lock.acquire(timeout=self._timeout_s):
                raise UnavailableError("The same release runs already.", remedy="Ask again in a while.")
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._mutex:
                self._users[name] -= 1
                if not self._users[name]:
                    del self._users[name], self._locks[name]
