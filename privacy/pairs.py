"""A count and a centred sum of the same rows, released at once: the noise of one measure for both.

Let n be the number of rows and s = Σ d the sum of their distances d from the centre, low ≤ d ≤ high, low ≤ 0 ≤ high.
Instead of n and s the node adds noise to

    u = Σ (d − low)  = s − low × n
    v = Σ (high − d) = high × n − s

No row makes either smaller, and each adds exactly M = high − low to u + v, wherever between its bounds it lies. So a
unit of at most r rows changes (u, v) by M × r in L1, and discrete Laplace noise of scale M r / ε on both is ε-DP:
the whole ε for both, where n and s apart get a share each. What is released is computed from the noisy u and v alone,

    n = (u + v) / M        s = (high × u + low × v) / M

rounded. With b = r / ε the variances are 4 b² and, the centre being the middle, 4 b² high²: as if each had 71 % of ε.
The noises of n and s are uncorrelated (but not independent).

(u, v) is an extreme case of the K-norm mechanism (Hardt and Talwar 2010): all (1, d) and their negatives span a
parallelogram, which is the L1 ball of these coordinates.

The products exceed 64 bits, so arrays of Python's integers hold them (numpy's `object`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Integers = Sequence[int] | NDArray[np.int64] | NDArray[np.object_]


def apart(counts: Integers, sums: Integers, low: int, high: int) -> NDArray[np.object_]:
    """(n, s) of all cells → their u, then their v."""
    n, s = np.array(counts, object), np.array(sums, object)
    return np.concatenate([s - low * n, high * n - s])


def joined(parts: Integers, low: int, high: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The noisy u of all cells, then their v → n and s, to the nearest integer."""
    u, v = np.split(np.array(parts, object), 2)
    return _nearest(u + v, high - low), _nearest(high * u + low * v, high - low)


def _nearest(values: NDArray[np.object_], divisor: int) -> NDArray[np.int64]:
    nearest: NDArray[np.object_] = (2 * values + divisor) // (2 * divisor)
    return nearest.clip(-_LARGEST, _LARGEST).astype(np.int64)


_LARGEST = 2**63 - 1
