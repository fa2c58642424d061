"""Merged histograms → the quantile columns that the rest of the query reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from privacy.trees import quantiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from privacy.fragment import Quantile
    from privacy.trees import Tree


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
    quantiles: tuple[Quantile, ...]

    def columns(self) -> dict[str, pa.Array]:
        """By quantile, one float64 a cell; NULL where there are no rows."""
        return self._columns(self.counts.astype(np.float64), self.deviation)

    def simulated_columns(self, noise: NDArray[np.float64], part: slice) -> dict[str, pa.Array]:
        """The same for every draw of the cells of `part`: `noise` is cells × draws × nodes, on top of the counts."""
        cells, draws, nodes = noise.shape
        counts = (self.counts[part, np.newaxis, :] + noise).reshape(cells * draws, nodes)
        return self._columns(counts, np.repeat(self.deviation[part], draws))

    def _columns(self, counts: NDArray[np.float64], deviation: NDArray[np.float64]) -> dict[str, pa.Array]:
        values = quantiles(self.tree, counts, [quantile.rank for quantile in self.quantiles], deviation=deviation)
        return {
            quantile.name: pa.array(values[:, place], mask=np.isnan(values[:, place]))
            for place, quantile in enumerate(self.quantiles)
        }
