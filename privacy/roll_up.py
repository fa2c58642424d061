"""Sums of the finest cells over the groups of grouping sets: post-processing of noisy values, and of their noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class RollUp:
    """Which cells each group is the sum of.

    Attributes:
        places: by grouping set, the group of each cell; a group belongs to one set.
        groups: of all sets together.
    """

    places: tuple[NDArray[np.int64], ...]
    groups: int

    @property
    def cells(self) -> int:
        return len(self.places[0])

    def sums(self, values: NDArray[Any]) -> NDArray[Any]:
        """`values` (cells × …) added up by group (groups × …), in their own type."""
        total = np.zeros((self.groups, *values.shape[1:]), dtype=values.dtype)
        for place in self.places:
            total += added(values, place, self.groups)
        return total


def added(values: NDArray[Any], place: NDArray[np.int64], groups: int) -> NDArray[Any]:
    """`values` (cells × …) added up at their places (groups × …), in their own type."""
    total = np.zeros((groups, *values.shape[1:]), dtype=values.dtype)
    if len(place):
        order = np.argsort(place, kind="stable")
        found, starts = np.unique(place[order], return_index=True)
        total[found] = np.add.reduceat(values[order], starts, axis=0)
    return total


def roll_up(
    ranks: Sequence[NDArray[np.int64]], sets: Sequence[tuple[int, ...]], *, cells: int
) -> tuple[RollUp, NDArray[np.int64]]:
    """The groups of grouping sets, sorted by the keys: a key that is rolled up comes after all its values.

    Args:
        ranks: by key, the dense rank of each cell's value.
        sets: for each grouping set, the places of its keys.

    Returns:
        What each group sums; and for each group `cell × len(sets) + set`, with one of its cells and its set.
    """
    codes = np.zeros((cells, len(sets)), dtype=np.int64)
    for key, rank in enumerate(ranks):
        rolled_up = rank.max(initial=-1) + 1
        kept = np.array([key in keys for keys in sets])
        codes = codes * (rolled_up + 1) + np.where(kept, rank[:, np.newaxis], rolled_up)
        # Dense again after every key, so that the product stays below groups × ranks.
        codes = np.unique(codes, return_inverse=True)[1].reshape(codes.shape).astype(np.int64)
    # Sets may be repeated; then each has its own groups.
    codes = codes * len(sets) + np.arange(len(sets))
    _, first, place = np.unique(codes, return_index=True, return_inverse=True)
    places = place.reshape(codes.shape).astype(np.int64)
    return RollUp(tuple(places.T), len(first)), first
