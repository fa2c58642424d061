"""Merged histograms → the columns that the rest of the query reads: quantiles, and what counts of single bins say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from privacy.dense import SATURATION
from privacy.presence import bins_with_rows
from privacy.trees import Rank, Tree, quantiles

if TYPE_CHECKING:
    from collections.abc import Container

    from numpy.typing import NDArray

    from privacy.fragment import ReadOff

    Counts = NDArray[np.float64]

_MAPPED = 8  # numbers whose time and memory one entry of a MAP takes


@dataclass(frozen=True)
class Histogram:
    """One merged histogram and what is asked of it.

    Attributes:
        counts: of the tree's nodes (cells × nodes), noisy.
        deviation: standard deviation of each count of a cell (cells).
    """

    measure: str
    tree: Tree
    counts: NDArray[np.int64]
    deviation: NDArray[np.float64]
    read_off: tuple[ReadOff, ...]

    @property
    def work(self) -> int:
        """What a draw of one cell costs, in numbers."""
        mapped = any(column.asked == "counts" for column in self.read_off)
        return self.tree.size * (_MAPPED if mapped else 1)

    def asked(self, names: Container[str]) -> Histogram:
        """The same of which only these columns are asked."""
        return replace(self, read_off=tuple(column for column in self.read_off if column.name in names))

    def columns(self) -> dict[str, pa.Array]:
        """By what is read off, one value a cell; NULL where there are no rows."""
        return self._columns(self.counts.astype(np.float64), self.deviation)

    def simulated_columns(self, noise: NDArray[np.float64], part: slice) -> dict[str, pa.Array]:
        """The same for every draw of the cells of `part`: `noise` is cells × draws × nodes, on top of the counts."""
        cells, draws, nodes = noise.shape
        counts = (self.counts[part, np.newaxis, :] + noise).reshape(cells * draws, nodes)
        return self._columns(counts, np.repeat(self.deviation[part], draws))

    def _columns(self, counts: Counts, deviation: NDArray[np.float64]) -> dict[str, pa.Array]:
        found: dict[str, pa.Array] = {}
        ranked: dict[str, Rank] = {}
        for column in self.read_off:
            if column.asked == "distinct":
                found[column.name] = pa.array(bins_with_rows(counts[:, : self.tree.leaves], deviation))
            elif column.asked == "mode":
                found[column.name] = _largest(column, counts[:, : self.tree.leaves])
            elif column.asked == "counts":
                found[column.name] = _map(column, counts[:, : self.tree.leaves])
            else:
                ranked[column.name] = column.asked
        if ranked:
            values = quantiles(self.tree, counts, list(ranked.values()), deviation=deviation)
            columns = zip(ranked, values.T, strict=True)
            found |= {name: pa.array(column, mask=np.isnan(column)) for name, column in columns}
        return found


def _largest(column: ReadOff, counts: Counts) -> pa.Array:
    """What stands for the bin of the largest count, the first of equal ones; NULL where none has a row."""
    place = counts.argmax(axis=1)
    none = counts[np.arange(len(counts)), place] < 1
    return column.values.take(pa.array(place, mask=none))


def _map(column: ReadOff, counts: Counts) -> pa.Array:
    """Each bin's count, of those whose count is not 0: DuckDB too leaves out what no row has. NULL where all are 0."""
    whole = np.rint(counts).clip(-SATURATION, SATURATION).astype(np.int64)
    shown = whole != 0
    none = ~shown.any(axis=1)
    shown[:, : column.boundaries] = ~none[:, np.newaxis]
    cells, places = np.nonzero(shown)
    offsets = np.searchsorted(cells, np.arange(len(counts) + 1)).astype(np.int32)
    keys, items = column.values.take(pa.array(places)), pa.array(whole[cells, places])
    return pa.MapArray.from_arrays(pa.array(offsets), keys, items, type=column.type, mask=pa.array(none))
