"""Root mean square errors, their ratios, and how sure both are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.accuracy.task import Releases


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error."""

    value: float
    error: float

    def over(self, other: Estimate) -> Estimate:
        """The ratio; its relative error is that of both (delta method)."""
        ratio = self.value / other.value
        return Estimate(ratio, ratio * math.hypot(self.error / self.value, other.error / other.value))

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.error:.2f}"


def rmse(releases: Releases, truth: Sequence[Sequence[float]]) -> list[Estimate]:
    """Of each column, over all keys and repetitions; repetitions are independent, the cells of one may not be."""
    return [_of_column(releases, truth, column) for column in range(len(truth[0]))]


def _of_column(releases: Releases, truth: Sequence[Sequence[float]], column: int) -> Estimate:
    squares = [
        statistics.fmean((cell[column] - exact[column]) ** 2 for cell, exact in zip(cells, truth, strict=True))
        for cells in releases.values
    ]
    root = math.sqrt(statistics.fmean(squares))
    return Estimate(root, statistics.stdev(squares) / math.sqrt(len(squares)) / (2 * root))


def geometric_mean(ratios: Sequence[Estimate]) -> Estimate:
    """Of the columns of one query, taken as independent."""
    mean = math.exp(statistics.fmean(math.log(ratio.value) for ratio in ratios))
    spread = math.sqrt(sum((ratio.error / ratio.value) ** 2 for ratio in ratios)) / len(ratios)
    return Estimate(mean, mean * spread)
