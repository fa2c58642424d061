"""Group keys as numbers: which rows or cells belong to one group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from privacy.fragment import Fragment, Level


def group_codes(columns: Sequence[pa.ChunkedArray], rows: int) -> NDArray[np.int64]:
    """One number a row, from 0: equal where all `columns` are equal (NULL equals NULL), in their order, NULL last."""
    codes = np.zeros(rows, dtype=np.int64)
    for column in columns:
        found, count = ranks(column)
        # Dense again after every key, so that the product stays below rows × rows.
        codes = np.unique(codes * count + found, return_inverse=True)[1].astype(np.int64)
    return codes


def group_of_cells(fragment: Fragment, level: Level) -> NDArray[np.int64]:
    """For each cell the number of its group at a coarser level."""
    return group_codes([fragment.cells.column(name) for name in level.keys], fragment.cell_count)


def ranks(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], int]:
    """The dense rank of each value, NULL after all others, and the number of ranks."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):  # older releases combine into one chunk instead of an array
        encoded = encoded.combine_chunks()
    count = len(encoded.dictionary)
    order = np.empty(count + 1, dtype=np.int64)
    order[pc.array_sort_indices(encoded.dictionary).to_numpy(zero_copy_only=False)] = np.arange(count)
    order[count] = count
    return order[encoded.indices.fill_null(count).to_numpy(zero_copy_only=False)], count + 1


def regional_cells(tables: Mapping[str, pa.Table]) -> tuple[pa.Table, dict[str, NDArray[np.int64]]]:
    """The distinct rows of all `tables`, sorted, NULL last; and by table the place of each of its rows among them."""
    together = pa.concat_tables(tables.values())
    codes = group_codes(together.columns, together.num_rows)
    _, first, place = np.unique(codes, return_index=True, return_inverse=True)
    starts = np.cumsum([0, *(table.num_rows for table in tables.values())])
    spans = zip(tables, starts[:-1], starts[1:], strict=True)
    places = {name: place[start:end].astype(np.int64) for name, start, end in spans}
    return together.take(pa.array(first)), places
