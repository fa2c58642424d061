"""Releases of a fragment whose groups a threshold decides on, as rows of numbers that an audit can look at.

A release is any number of groups. As a row it has every place where one could be, those of the groups of either data set,
and a group that is not shown stands there with numbers that were fixed before: of the count that decides the threshold
itself, which no group that is shown has. So a row says all that a release says.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from privacy.fragment import Fragment, Threshold
from privacy.noise import noisy
from tests.statistics.audit import Releases
from tests.statistics.copies import COPY, repeated, repeated_rows

COPIES = 500  # of the groups in one call of `noisy`


def threshold_of(fragment: Fragment) -> Threshold:
    assert fragment.threshold is not None
    return fragment.threshold


@dataclass(frozen=True)
class Showing:
    """Releases of one fragment with one key over one exact result, through `privacy.noise.noisy`.

    Attributes:
        fragment: with the noise and the threshold of the node.
        exact: the result of the node's engine.
        places: the keys of the groups that may be shown.
        hidden: (places, measures), what stands for a group that is not.
    """

    fragment: Fragment
    exact: pa.Table
    places: pa.Array
    hidden: NDArray[np.float64]

    def __call__(self, count: int) -> Releases:
        """`count` independent releases; one call of `noisy` makes COPIES of them."""
        threshold = threshold_of(self.fragment)
        assert self.exact.num_rows <= threshold.most_groups  # so that no group of a release takes another's place
        every = replace(threshold, most_groups=COPIES * threshold.most_groups)
        wide, exact = repeated(replace(self.fragment, threshold=every), COPIES), repeated_rows(self.exact, COPIES)
        with ThreadPoolExecutor(2) as both_cores:
            parts = both_cores.map(lambda _: self._rows(noisy(wide, exact)), range(math.ceil(count / COPIES)))
            return np.concatenate(list(parts))[:count]

    def _rows(self, release: pa.Table) -> Releases:
        [key], measures = self.fragment.keys, self.fragment.measures
        rows = np.tile(self.hidden, (COPIES, 1, 1))
        place = pc.index_in(release.column(key.name), self.places).to_numpy()
        shown = np.stack([release.column(measure.name).to_numpy() for measure in measures], axis=1)
        rows[release.column(COPY.name).to_numpy(), place] = shown
        return rows.reshape(COPIES, -1)


def both(fragment: Fragment, one: pa.Table, other: pa.Table) -> tuple[Showing, Showing]:
    """The releases over two neighbouring exact results, as rows of the same places.

    Sums beside the count that decides stand as the second result has them where a group is not shown, so that they say
    nothing of their own there.
    """
    [key] = fragment.keys
    typed = [part.column(key.name).cast(fragment.cells.schema.field(key.name).type) for part in (one, other)]
    places = pa.chunked_array([chunk for column in typed for chunk in column.chunks]).unique()
    at = pc.index_in(places, typed[1])
    hidden = np.zeros((len(places), len(fragment.measures)))
    for number, measure in enumerate(fragment.measures):
        sums = pc.fill_null(other.column(measure.name).cast(pa.float64()).combine_chunks().take(at), 0.0)
        hidden[:, number] = sums.to_numpy()
        if measure.name == threshold_of(fragment).measure:
            hidden[:, number] = threshold_of(fragment).above
    return Showing(fragment, one, places, hidden), Showing(fragment, other, places, hidden)
