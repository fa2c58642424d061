"""The exact result of a node as vectors, one a measure, over all cells of a fragment in the order of the cells.

Of a coarser level (privacy/levels.py) it is one number a group, the sum of its cells'.

Columns are handled whole: of 100,000 cells, Python's objects would take as long as the noise. Of a few cells they take
less time than Arrow needs to begin. Sums stay integers all the way; engines give them in up to 128 bits.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from privacy.codes import group_of_cells
from privacy.fragment import Fragment, Measure
from privacy.trees import Tree, counts_of_levels

SATURATION = 2**62  # sums are clamped here before noise, so that the noisy value fits an int64

_FEW = 100
_SUM = pa.decimal128(38, 0)
_LOWEST, _NONE, _HIGHEST = (pa.scalar(value, _SUM) for value in (-SATURATION, 0, SATURATION))
_BINS = pa.list_(pa.struct([("leaf", pa.int64()), ("n", pa.int64())]))


def dense(fragment: Fragment, exact: pa.Table) -> dict[str, NDArray[np.int64]]:
    """By measure, `width` integers a cell, or one a group of its level, one after the other: 0 where no row fell.

    Args:
        exact: columns as `bounding.bounded_sql` gives them; groups outside `fragment.cells` are dropped.
    """
    find = _cells_by_row if fragment.cell_count < _FEW else _cells_by_column  # by what is public: the cells
    cells = find(fragment, exact)
    groups = exact.select([measure.name for measure in fragment.finest]).filter(pa.array(cells >= 0))
    vectors = {}
    for measure in fragment.finest:
        vector = np.zeros((fragment.cell_count, measure.width), np.int64)
        vector[cells[cells >= 0]] = numbers(measure, groups.column(measure.name)).reshape(-1, measure.width)
        vectors[measure.name] = vector.ravel()
    coarser = [(measure.name, measure.level) for measure in fragment.measures if measure.level is not None]
    return vectors | {name: _added(vectors[level.of], group_of_cells(fragment, level)) for name, level in coarser}


def _added(sums: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """`sums` of cells added up by group; in Python's integers, because many may leave an int64."""
    totals = np.zeros(int(groups.max()) + 1, object)
    np.add.at(totals, groups, sums.astype(object))
    return totals.clip(-SATURATION, SATURATION).astype(np.int64)


def numbers(measure: Measure, column: pa.ChunkedArray) -> NDArray[np.int64]:
    """What the groups of `column` stand for, `width` integers each: a sum, or the counts of a tree's nodes."""
    if measure.tree is not None:
        return counts_of_levels(measure.tree, _leaves(measure.tree, column)).ravel()
    if len(column) < _FEW:
        held = [max(-SATURATION, min(SATURATION, int(value or 0))) for value in column.to_pylist()]
        return np.array(held, np.int64)
    sums = pc.coalesce(column.cast(_SUM), _NONE)
    clamped = pc.max_element_wise(pc.min_element_wise(sums, _HIGHEST), _LOWEST)
    found: NDArray[np.int64] = clamped.cast(pa.int64()).to_numpy()
    return found.copy()  # Arrow's memory is read-only, which OpenDP does not take


def _leaves(tree: Tree, column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Lists of bins with rows in them → (groups, leaves)."""
    lists = column.combine_chunks().cast(_BINS)
    bins = pc.list_flatten(lists)
    found = np.zeros((len(lists), tree.leaves), np.int64)
    np.add.at(found, (pc.list_parent_indices(lists).to_numpy(), bins.field("leaf").to_numpy()), bins.field("n"))
    return found


def _cells_by_row(fragment: Fragment, exact: pa.Table) -> NDArray[np.int64]:
    """For each row of `exact` the number of its cell, −1 where it has none."""
    names = [key.name for key in fragment.keys]
    place = {cell: number for number, cell in enumerate(_rows(fragment.cells, names))}
    return np.array([place.get(group, -1) for group in _rows(exact, names)], np.int64)


def _rows(table: pa.Table, names: list[str]) -> list[tuple[object, ...]]:
    return list(zip(*(table.column(name).to_pylist() for name in names), strict=True)) or [()] * table.num_rows


def _cells_by_column(fragment: Fragment, exact: pa.Table) -> NDArray[np.int64]:
    """The same for many cells: a column after the other, without an object for each value."""
    names = [key.name for key in fragment.keys]
    both = pa.concat_tables([fragment.cells.select(names), exact.select(names)], promote_options="permissive")
    groups = np.zeros(fragment.cell_count + exact.num_rows, np.int64)
    for name in names:
        own, count = _numbered(_comparable(both.column(name)))
        groups, _ = _numbered(pa.array(groups * count + own))
    cell_of = np.full(len(groups), -1)
    cell_of[groups[: fragment.cell_count]] = np.arange(fragment.cell_count)
    return cell_of[groups[fragment.cell_count :]]


def _numbered(values: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.int64], int]:
    """Equal values as equal numbers, NULL too, and how many there are."""
    encoded = (values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values).dictionary_encode("encode")
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)


def _comparable(key: pa.ChunkedArray) -> pa.ChunkedArray:
    """Engines group −0.0 and 0.0 together, and either may stand for both; Arrow tells them apart."""
    return pc.add(key, 0.0) if pa.types.is_floating(key.type) else key
