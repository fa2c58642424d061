"""Releases of several nodes → one table with a row per cell.

Everything here is public or already noisy: merging is post-processing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from privacy.chains import chains_of
from privacy.codes import group_codes, regional_cells
from privacy.error_bars import Contribution
from privacy.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from privacy.chains import Chain
    from privacy.fragment import Fragment, Measure
    from privacy.roll_up import RollUp

_HALF = 32  # bits: sums run in two halves, so that they are exact whatever a node sends
_LEAST, _GREATEST = -(2**63), 2**63 - 1


@dataclass(frozen=True)
class Merged:
    """The regional cells.

    Attributes:
        table: `cell` (int64, from 0), the keys `k0` …, the sums `m0` … (int64), sorted by the keys, NULL last.
        trees: by measure, the counts of the nodes of its histogram (cells × nodes).
        contributions: which cells each node added to and with how much noise, for the error bars.
        roll_up: which of those cells each row of `table` is the sum of; None where each row is one.
    """

    table: pa.Table
    trees: dict[str, NDArray[np.int64]]
    contributions: tuple[Contribution, ...]
    roll_up: RollUp | None = None


def checked_release(fragment: Fragment, release: pa.Table) -> pa.Table:
    """`release` if it has the cells and columns that the fragment asks for.

    Raises:
        InternalError: the node answered something else.
    """
    names = [*(key.name for key in fragment.keys), *(measure.name for measure in fragment.measures)]
    fine = (
        release.column_names == names
        and all(
            release.column(measure.name).type == measure_type(measure) and _complete(release.column(measure.name))
            for measure in fragment.measures
        )
        and _are_cells_of(fragment, release)
    )
    if not fine:
        raise InternalError("The node answered other cells than were asked for.")
    return release


def _are_cells_of(fragment: Fragment, release: pa.Table) -> bool:
    """Whether the keys are all those of the fragment, or such as its threshold may let pass, each once."""
    keys, threshold = _keys(fragment, release), fragment.threshold
    if threshold is None:
        same = (keys.column(name).equals(fragment.cells.column(name)) for name in keys.column_names)
        return release.num_rows == fragment.cell_count and all(same)
    counts = release.column(threshold.measure).to_numpy()
    return (
        keys.schema.types == fragment.cells.schema.types
        and release.num_rows <= threshold.most_groups
        and bool((counts > threshold.above).all())
        and len(np.unique(group_codes(keys.columns, keys.num_rows))) == release.num_rows
    )


def _keys(fragment: Fragment, release: pa.Table) -> pa.Table:
    return release.select([key.name for key in fragment.keys])


def merge(fragments: Mapping[str, Fragment], releases: Mapping[str, pa.Table]) -> Merged:
    """The sum of `releases`, cell by cell; a cell that only some nodes have, or released, is the sum over those.

    Args:
        fragments: by province, at least those of `releases`; keys and measures are the same in all.
        releases: by province, at least one, each as `checked_release` gives it.
    """
    asked = [fragments[province] for province in sorted(releases)]
    keys, places = _regional_cells(asked, releases)
    cells = [places[_cells_name(fragment)] for fragment in asked]
    table = keys.add_column(0, "cell", pa.array(np.arange(keys.num_rows, dtype=np.int64)))
    trees: dict[str, NDArray[np.int64]] = {}
    chains = chains_of(asked)
    for measure in asked[0].finest:
        parts = [
            _numbers(measure, releases[fragment.province], of_node.get(measure.name))
            for fragment, of_node in zip(asked, chains, strict=True)
        ]
        total = _exact_sum((keys.num_rows, measure.width), cells, parts)
        if measure.tree is None:
            table = table.append_column(measure.name, pa.array(total[:, 0]))
        else:
            trees[measure.name] = total
    contributions = (
        Contribution(
            place, {part.name: (part.mechanism, part.scale) for part in fragment.finest}, _pairs(fragment), of_node
        )
        for place, fragment, of_node in zip(cells, asked, chains, strict=True)
    )
    return Merged(table, trees, tuple(contributions))


def _pairs(fragment: Fragment) -> dict[str, str]:
    """By sum that was released together with a count, that count."""
    return {
        measure.name: measure.weight
        for measure in fragment.finest
        if measure.mechanism == "laplace_pair" and measure.weight is not None
    }


def measure_type(measure: Measure) -> pa.DataType:
    """The type of a measure's column in a release."""
    return pa.int64() if measure.tree is None else pa.list_(pa.int64(), measure.width)


def _complete(column: pa.ChunkedArray) -> bool:
    flat = column.combine_chunks()
    inner = flat.flatten() if pa.types.is_fixed_size_list(flat.type) else flat
    return bool(column.null_count == 0 and inner.null_count == 0)


def _numbers(measure: Measure, release: pa.Table, chain: Chain | None) -> NDArray[np.int64]:
    """One measure's column as cells × width; where it is released at several levels, what they say together."""
    if chain is not None:
        return chain.combined([release.column(name).to_numpy() for name in chain.names])[:, np.newaxis]
    column = release.column(measure.name).combine_chunks()
    flat = column.flatten() if measure.tree is not None else column
    numbers: NDArray[np.int64] = flat.to_numpy(zero_copy_only=False).reshape(release.num_rows, measure.width)
    return numbers


def _cells_name(fragment: Fragment) -> str:
    """Equal where two fragments have the same cells; where thresholds decide, each node has its own."""
    return fragment.cells_digest if fragment.threshold is None else fragment.province


def _regional_cells(
    fragments: Sequence[Fragment], releases: Mapping[str, pa.Table]
) -> tuple[pa.Table, dict[str, NDArray[np.int64]]]:
    """The distinct keys of all nodes, sorted, and for each `_cells_name` the place of its cells among them."""
    distinct = {
        _cells_name(fragment): _keys(fragment, releases[fragment.province]) if fragment.threshold else fragment.cells
        for fragment in fragments
    }
    if not fragments[0].keys:
        return fragments[0].cells, {digest: np.zeros(1, dtype=np.int64) for digest in distinct}
    return regional_cells(distinct)


def _exact_sum(
    shape: tuple[int, int], cells: Sequence[NDArray[np.int64]], parts: Sequence[NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Σ of `parts` at their cells; beyond an int64 it stays at the end of the range."""
    high, low = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for place, part in zip(cells, parts, strict=True):
        upper, lower = halves(part)
        high[place] += upper  # a node has each cell once, so += loses nothing
        low[place] += lower
    return whole(high, low)


def halves(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The high and the low halves of `values`, each of which may be summed without leaving an int64."""
    return values >> _HALF, values & (2**_HALF - 1)


def whole(high: NDArray[np.int64], low: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of which these are sums of halves; beyond an int64 the end of the range."""
    high = high + (low >> _HALF)
    limit = 2 ** (63 - _HALF)
    total = (np.clip(high, -limit, limit - 1) << _HALF) + (low & (2**_HALF - 1))
    return np.where(high >= limit, _GREATEST, np.where(high < -limit, _LEAST, total))
