"""Many independent releases for the price of few: the cells of a fragment repeated under one more key.

`privacy.noise.noisy` adds noise to every cell on its own (test_noise_distribution.py tests that), so that the copies of a
fragment within one wide release are as independent as releases are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from privacy.fragment import Fragment, Key, Level

COPY = Key("copy", "BIGINT", "copy")


def repeated(fragment: Fragment, copies: int) -> Fragment:
    """`fragment` with each of its cells `copies` times: first all cells of copy 0, then of copy 1 …"""
    cells = fragment.cells if fragment.keys else pa.table({"one": [1]})
    wide = repeated_rows(cells, copies).select([COPY.name, *(key.name for key in fragment.keys)])
    measures = (
        measure if measure.level is None else replace(measure, level=_of_each_copy(measure.level))
        for measure in fragment.measures
    )
    keys = (COPY, *fragment.keys)
    return replace(fragment, keys=keys, measures=tuple(measures), cells=wide, cell_count=wide.num_rows)


def _of_each_copy(level: Level) -> Level:
    return replace(level, keys=(COPY.name, *level.keys))


def repeated_rows(rows: pa.Table, copies: int) -> pa.Table:
    """`rows`, `copies` times, with the number of the copy."""
    place = np.arange(rows.num_rows * copies)
    wide = rows.take(pa.array(place % max(rows.num_rows, 1)))
    return wide.append_column(COPY.name, pa.array(place // max(rows.num_rows, 1), pa.int64()))
