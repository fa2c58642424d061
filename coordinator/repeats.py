"""Answers that were computed: who asks again, and gets the same releases, needs no second computation.

A dashboard asks the same again and again; what it gets hangs on the question and the releases alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from privacy.remembered import Remembered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coordinator.above import Computed
    from coordinator.replies import Answered

_MOST = 1_000
_MOST_BYTES = 64 * 2**20

Repeat = tuple[int, tuple[tuple[str, str, bytes], ...]]


class Repeats:
    """The answers that were computed last. Thread-safe."""

    def __init__(self) -> None:
        self._kept: Remembered[Repeat, Computed] = Remembered(_MOST, _MOST_BYTES, _bytes)

    def known(self, repeat: Repeat) -> Computed | None:
        return self._kept.known(repeat)

    def keep(self, repeat: Repeat, done: Computed) -> None:
        """Unless something is missing in it, for lack of time."""
        if not done.notes:
            self._kept.keep(repeat, done)


def repeat_of(seed: int, releases: Sequence[Answered]) -> Repeat:
    """What an answer hangs on.

    Args:
        seed: of the question, `privacy.error_bars.seed_of`.
    """
    digests = (
        (release.charge.province, block, digest) for release in releases for block, digest in release.digests.items()
    )
    return seed, tuple(sorted(digests))


def _bytes(_: Repeat, done: Computed) -> int:
    tables = (done.rows, done.bars.standard_errors, done.bars.low, done.bars.high)
    return sum(int(table.nbytes) for table in tables)
