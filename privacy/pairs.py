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
"""

from __future__ import annotations

from collections.abc import Sequence


def apart(counts: Sequence[int], sums: Sequence[int], low: int, high: int) -> list[int]:
    """(n, s) of all cells → their u, then their v."""
    pairs = list(zip(counts, sums, strict=True))
    return [s - low * n for n, s in pairs] + [high * n - s for n, s in pairs]


def joined(parts: Sequence[int], low: int, high: int) -> tuple[list[int], list[int]]:
    """The noisy u of all cells, then their v → n and s, to the nearest integer."""
    half = len(parts) // 2
    pairs = list(zip(parts[:half], parts[half:], strict=True))
    counts = [_nearest(u + v, high - low) for u, v in pairs]
    sums = [_nearest(high * u + low * v, high - low) for u, v in pairs]
    return counts, sums


def _nearest(value: int, divisor: int) -> int:
    return max(-_LARGEST, min(_LARGEST, (2 * value + divisor) // (2 * divisor)))


_LARGEST = 2**63 - 1
