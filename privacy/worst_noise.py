"""The noise in the row of an answer that has most of it: over all nodes that add to the row, and all its cells.

With grouping sets that is the row of each set. A row of a coarser set holds several of the finest groups that are
shown: if each of those has so many rows of data behind it, the coarser one has so many times more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from privacy.chains import chains_of
from privacy.codes import ranks, regional_cells
from privacy.error_bars import Contribution, cell_deviations
from privacy.roll_up import RollUp, roll_up

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from privacy.fragment import Fragment

_MOST_TABLES = 62  # a bit each in an int64


@dataclass(frozen=True, eq=False)
class Rows:
    """What the rows of an answer are the sums of, as far as their noise may differ.

    Attributes:
        cells: of the region; those that the same nodes have count as one, where no row is a sum of several.
        places: by digest of a node's cells, which of them they are.
        roll_up: which cells each row is the sum of; None where each is one.
        sets: by grouping set, its rows, and how many of the finest groups that are shown each holds at least.
    """

    cells: int
    places: Mapping[str, NDArray[np.int64]]
    roll_up: RollUp | None = None
    sets: tuple[tuple[NDArray[np.int64], int], ...] = ()


@dataclass(frozen=True)
class Worst:
    """The noise of the rows of one grouping set, or of all rows.

    Attributes:
        holds: how many of the finest groups that are shown each row holds at least.
        deviations: by measure of the cells that is no histogram, the standard deviation of its noise where that is
            greatest, in steps.
    """

    holds: int
    deviations: Mapping[str, float]


def rows_of(tables: Mapping[str, pa.Table], sets: Sequence[tuple[int, ...]]) -> Rows:
    """The rows of an answer to nodes whose cells, by digest, are `tables`, with these grouping sets."""
    if not sets and len(tables) == 1:
        return Rows(1, dict.fromkeys(tables, np.zeros(1, np.int64)))
    if next(iter(tables.values())).num_columns:
        keys, places = regional_cells(tables)
        cells, ranked = keys.num_rows, [ranks(column)[0] for column in keys.columns]
    else:  # one cell, without keys
        cells, ranked, places = 1, [], dict.fromkeys(tables, np.zeros(1, np.int64))
    if sets:
        rolled = roll_up(ranked, sets, cells=cells)[0]
        return Rows(cells, places, rolled, tuple(_sets(rolled, sets)))
    if len(tables) > _MOST_TABLES:
        return Rows(cells, places)
    who = np.zeros(cells, np.int64)
    for number, place in enumerate(places.values()):
        who[place] |= 1 << number
    masks = np.unique(who)
    alike = {digest: np.flatnonzero(masks >> number & 1) for number, digest in enumerate(places)}
    return Rows(len(masks), alike)


def _sets(rolled: RollUp, sets: Sequence[tuple[int, ...]]) -> Iterator[tuple[NDArray[np.int64], int]]:
    every = set[int]().union(*sets)
    finest = next((place for keys, place in zip(sets, rolled.places, strict=True) if every == set(keys)), None)
    for place in rolled.places:
        rows = np.unique(place)
        if finest is None:
            yield rows, 1
        else:
            held = np.unique(np.stack([place, finest]), axis=1)[0]
            yield rows, int(np.bincount(held)[rows].min())


def worst_noise(rows: Rows, fragments: Sequence[Fragment]) -> list[Worst]:
    """By grouping set; without any, of all rows.

    Args:
        fragments: of a block, whose cells are those of `rows`.
    """
    chains = chains_of(fragments)
    contributions = [
        Contribution(
            rows.places[fragment.cells_digest],
            {measure.name: (measure.mechanism, measure.scale) for measure in fragment.finest},
            chains=of_node,
        )
        for fragment, of_node in zip(fragments, chains, strict=True)
    ]
    deviations = {
        measure.name: cell_deviations(measure.name, contributions, rows.cells, roll_up=rows.roll_up)
        for measure in fragments[0].finest
        if measure.tree is None
    }
    sets = rows.sets or ((np.arange(rows.cells), 1),)
    return [Worst(holds, {name: float(of[those].max()) for name, of in deviations.items()}) for those, holds in sets]
