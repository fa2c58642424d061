"""Noisy hierarchical histograms: their layout, and quantiles from them.

A value's public range is cut into equal bins, the leaves; each level above joins ten neighbours, up to a level of a few
nodes. Every row counts once in each level, so a quantile adds up few noisy nodes instead of many leaves. Counts of
several provinces add up node by node.

Source: Hay, Rastogi, Miklau and Suciu 2010, "Boosting the accuracy of differentially private histograms through
consistency", §4: the two passes of least squares, written here for nodes with any number of children. Fan-out of about
ten: Qardaji, Yang and Li 2013.

Where each bin is looked at by itself there are no levels above: a row then counts once, and the noise is the less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FAN_OUT = 10
_TOP = 12  # a level of at most so many nodes is the last

Rank = float | Literal["least", "greatest"]  # a fraction of the rows, or an end of the range


@dataclass(frozen=True)
class Tree:
    """The layout of one histogram.

    Attributes:
        low: lower edge of the first bin, in the value's own unit.
        width: of a bin.
        leaves: how many bins.
        whole: the values are integers and a bin holds one of them.
        flat: there are the leaves only.
    """

    low: float
    width: float
    leaves: int
    whole: bool
    flat: bool = False

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """Nodes of each level, the leaves first."""
        found = [self.leaves]
        while found[-1] > _TOP and not self.flat:
            found.append(math.ceil(found[-1] / FAN_OUT))
        return tuple(found)

    @property
    def size(self) -> int:
        """Nodes in all: the width of the released vector, level after level."""
        return sum(self.levels)


def tree_over(low: float, high: float, *, whole: bool, most_leaves: int) -> Tree:
    """The finest tree over [low, high] with at most `most_leaves` bins; integers get bins of whole width."""
    if whole:
        step = math.ceil((high - low + 1) / most_leaves)
        return Tree(low, float(step), math.ceil((high - low + 1) / step), step == 1)
    width = (high - low) / most_leaves
    return Tree(low, width or 1.0, most_leaves if width else 1, False)


def flat_tree(leaves: int) -> Tree:
    """Bins that are numbered, whatever stands for each."""
    return Tree(0.0, 1.0, leaves, whole=True, flat=True)


def counts_of_levels(tree: Tree, leaves: NDArray[np.int64]) -> NDArray[np.int64]:
    """Exact counts of all nodes from those of the leaves; the last axis is the tree's."""
    parts = [leaves]
    for nodes in tree.levels[1:]:
        starts = np.arange(nodes) * FAN_OUT
        parts.append(np.add.reduceat(parts[-1], starts, axis=-1))
    return np.concatenate(parts, axis=-1)


def consistent(tree: Tree, noisy: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Least-squares counts of each level, leaves first: every node is the sum of its children.

    Args:
        noisy: released counts (…, tree.size), all with the same variance.
    """
    ends = np.cumsum(tree.levels)[:-1]
    levels = np.split(noisy.astype(np.float64), ends, axis=-1)
    variances = [np.ones(nodes) for nodes in tree.levels]
    for place in range(1, len(levels)):  # upwards: a node's own count and its children's sum, by inverse variance
        starts = np.arange(tree.levels[place]) * FAN_OUT
        below, spread = (np.add.reduceat(part[place - 1], starts, axis=-1) for part in (levels, variances))
        share = spread / (1 + spread)
        levels[place] = share * levels[place] + (1 - share) * below
        variances[place] = share
    for place in range(len(levels) - 1, 0, -1):  # downwards: what is left goes to the children by their variance
        starts = np.arange(tree.levels[place]) * FAN_OUT
        parent = np.arange(tree.levels[place - 1]) // FAN_OUT
        missing = levels[place] - np.add.reduceat(levels[place - 1], starts, axis=-1)
        share = variances[place - 1] / np.add.reduceat(variances[place - 1], starts)[parent]
        levels[place - 1] = levels[place - 1] + missing[..., parent] * share
    return levels


def quantiles(
    tree: Tree, noisy: NDArray[np.float64], ranks: list[Rank], *, deviation: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Values at `ranks`, NaN where there is less than one row.

    Args:
        noisy: released counts (cells, tree.size).
        deviation: standard deviation of each count of a cell (cells); the least and greatest value are those that
            stand out of it.

    Returns:
        (cells, ranks), in the value's own unit, to the width of a bin.
    """
    levels = [np.maximum(level, 0.0) for level in consistent(tree, noisy)]
    total = levels[-1].sum(axis=-1)
    # The least value that is seen is where as many rows lie below as noise could make up.
    margin = np.minimum(np.maximum(0.5, 2 * deviation), total / 2)
    found = []
    for rank in ranks:
        if rank == "least":
            below = margin
        elif rank == "greatest":
            below = total - margin
        else:
            below = rank * np.maximum(total - 1, 0) + 0.5  # the middle of a row's own step, as QUANTILE_CONT counts
        leaf, share = _descend(tree, levels, below)
        found.append(np.where(total >= 1, _value(tree, leaf, share, rank), np.nan))
    values: NDArray[np.float64] = np.stack(found, axis=-1)
    return values


def _value(tree: Tree, leaf: NDArray[np.int64], share: NDArray[np.float64], rank: Rank) -> NDArray[np.float64]:
    inside = share
    if tree.whole or rank == "least":
        inside = np.zeros_like(share)
    elif rank == "greatest":
        inside = np.ones_like(share)
    value: NDArray[np.float64] = (tree.low + (leaf + inside) * tree.width).astype(np.float64)
    return value


def _descend(
    tree: Tree, levels: list[NDArray[np.float64]], below: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The leaf with `below` rows under it, and the share of that leaf's rows that lie under."""
    rows = np.arange(len(below))
    node, held = np.zeros(len(below), dtype=np.int64), levels[-1].sum(axis=-1)
    for place in range(len(levels) - 1, -1, -1):
        top = place == len(levels) - 1
        width = levels[place].shape[-1]
        first = np.zeros_like(node) if top else node * FAN_OUT
        fan = width if top else FAN_OUT
        children = first[:, np.newaxis] + np.arange(fan)
        counts = np.where(children < width, levels[place][rows[:, np.newaxis], np.minimum(children, width - 1)], 0.0)
        whole = counts.sum(axis=-1)
        if not top:  # clamping at 0 broke the sums: keep the proportion
            counts = counts * np.divide(held, whole, out=np.ones_like(whole), where=whole > 0)[:, np.newaxis]
        ends = np.cumsum(counts, axis=-1)
        pick = np.minimum((ends < below[:, np.newaxis]).sum(axis=-1), fan - 1)
        pick = np.minimum(pick, width - 1 - first)
        held = counts[rows, pick]
        below = np.clip(below - (ends[rows, pick] - held), 0.0, held)
        node = first + pick
    return node, np.divide(below, held, out=np.full_like(below, 0.5), where=held > 0)
