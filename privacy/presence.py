"""How many bins of a noisy histogram hold rows: COUNT(DISTINCT x), without another look at data.

Noise is symmetric, so it lifts as many empty bins above a line t as it pushes below −t. Therefore

    D(t) = bins with a count above t − bins with a count below −t

has no part of the empty bins in its mean, whatever the noise; a bin of n rows adds P[Z > t − n] − P[Z < −t − n]:
between 0 and 1, and nearly 1 where n is well above t and the noise. So D(t) errs downwards, by the bins that few rows
are in: less with a low line, and then it varies by √(2 × empty bins beyond it). Of a few lines that one is taken whose
D(t), less 2.5 of these standard deviations, is the most, or 0 where none is positive: many bins of a few rows each are
then counted by a low line, a few large ones among many empty ones by a high one. Without noise all of them count the
bins with a row.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.float64]

_SURE = 2.5  # standard deviations
# Lines by how much of empty bins noise lifts above them: a share of the bins, or so many of them.
_SHARES = (1 / 2, 1 / 8, 1 / 32)
_FEW = (1.0, 0.1, 0.001)


def bins_with_rows(counts: Counts, deviation: Counts) -> Counts:
    """The estimate of each cell.

    Args:
        counts: noisy (cells × bins).
        deviation: standard deviation of a cell's counts (cells).
    """
    bins = counts.shape[1]
    found, best = np.zeros(len(counts)), np.zeros(len(counts))
    for share in sorted({*_SHARES, *(min(0.5, few / bins) for few in _FEW)}):
        line = np.maximum(0.5, deviation * _line(share))
        seen = (counts > line[:, np.newaxis]).sum(axis=1) - (counts < -line[:, np.newaxis]).sum(axis=1)
        sure = seen - _SURE * np.sqrt(2 * bins * _lifted(line, deviation))
        found = np.where(sure > best, seen, found)
        best = np.maximum(sure, best)
    return found


def _line(share: float) -> float:
    """Above which noise lifts `share` of the bins, in standard deviations √2 b: P[Z > t] = e^(−t/b) / 2 (Laplace)."""
    return -math.log(2 * share) / math.sqrt(2)


def _lifted(line: Counts, deviation: Counts) -> Counts:
    ratio = np.divide(line, deviation, out=np.full_like(line, np.inf), where=deviation > 0)
    lifted: Counts = np.exp(-math.sqrt(2) * ratio) / 2
    return lifted
