"""Times that are compared are taken in turn, so that whatever else the machine does falls on all of them alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """Several measurements of one thing: times in seconds, or ratios."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def quantile(self, share: float) -> float:
        """The smallest value that `share` of all values do not exceed."""
        ordered = sorted(self.values)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    def over(self, other: Sample) -> Sample:
        """The ratio of each round, so that a slow moment of the machine slows both sides."""
        return Sample(tuple(own / theirs for own, theirs in zip(self.values, other.values, strict=True)))


def timed(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that `work` takes."""
    start = clock()
    work()
    return clock() - start


def in_turn(
    cases: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Sample]:
    """Times of all `cases`, one after the other in each round."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(warm_up + rounds):
        for name, work in cases.items():
            seconds = timed(work, clock)
            if number >= warm_up:
                taken[name].append(seconds)
    return samples(taken)


def samples(taken: Mapping[str, Iterable[float]]) -> dict[str, Sample]:
    return {name: Sample(tuple(values)) for name, values in taken.items()}
