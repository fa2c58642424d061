"""Merged cells → the groups of ROLLUP, CUBE and GROUPING SETS.

Each group is the sum of the noisy cells that it consists of, so all levels agree.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from coordinator.merge import halves, whole
from privacy.codes import ranks
from privacy.grouping import rolled_up
from privacy.roll_up import roll_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from coordinator.merge import Merged
    from privacy.roll_up import RollUp


def by_grouping_sets(merged: Merged, sets: Sequence[tuple[int, ...]], keys: int) -> Merged:
    """`merged` with a row for each group of each of `sets`, as `privacy.fragment.Rest` describes it.

    Args:
        sets: for each grouping set, the places of its keys; without any, `merged` stays as it is.
        keys: how many there are in all.
    """
    if not sets:
        return merged
    columns = [merged.table.column(f"k{place}") for place in range(keys)]
    rolled, first = roll_up([ranks(column)[0] for column in columns], sets, cells=merged.table.num_rows)
    cell, chosen = np.divmod(first, len(sets))
    table = pa.table({"cell": np.arange(rolled.groups, dtype=np.int64)})
    left_out = [np.array([place not in kept for kept in sets])[chosen] for place in range(keys)]
    for place, column in enumerate(columns):
        table = table.append_column(f"k{place}", column.take(pa.array(cell, mask=left_out[place])))
    for place, marks in enumerate(left_out):
        table = table.append_column(rolled_up(place), pa.array(marks.astype(np.int64)))
    for name in merged.table.column_names[1 + keys :]:
        table = table.append_column(name, pa.array(_sums(merged.table.column(name).to_numpy(), rolled)))
    trees = {name: _sums(counts, rolled) for name, counts in merged.trees.items()}
    return replace(merged, table=table, trees=trees, roll_up=rolled)


def _sums(values: NDArray[np.int64], rolled: RollUp) -> NDArray[np.int64]:
    """Exact; beyond an int64 the end of the range."""
    high, low = halves(values)
    return whole(rolled.sums(high), rolled.sums(low))
