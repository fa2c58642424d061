from __future__ import annotations

import threading

import pytest

from node.one_at_a_time import OneAtATime
from privacy.errors import UnavailableError


def test_one_name_is_held_alone_and_another_is_free() -> None:
    turns = OneAtATime(timeout_s=0.01)
    with turns.turn("a"):
        with turns.turn("b"):
            pass
        with pytest.raises(UnavailableError), turns.turn("a"):
            pass
    with turns.turn("a"):
        pass
    assert not turns._locks
    assert not turns._users


def test_waiters_come_one_after_another() -> None:
    turns, inside, most = OneAtATime(timeout_s=60), [], []

    def work() -> None:
        with turns.turn("a"):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    workers = [threading.Thread(target=work) for _ in range(20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert most == [1] * 20
