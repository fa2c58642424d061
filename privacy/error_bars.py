"""The standard error of every noisy cell of an answer, by simulating the known noise through the rest.

The noise's distribution is public (each measure states its scale), and the merged values are released already: nothing
here costs budget, and nothing here is ever added to data.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from privacy.noise import simulated_noise, variance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from privacy.fragment import Mechanism, OutputColumn
    from privacy.histograms import Histogram
    from privacy.request import Request
    from privacy.roll_up import RollUp

MOST_DRAWS = 2_000  # a cell: standard errors of ratios to about 3 %
LEAST_DRAWS = 10  # a cell: sums stay exact (see _matched), ratios are rough
SIMULATED_ROWS = 4_000_000  # cells × draws, about 100 MB with its columns
NOISE_DRAWS = 40_000_000  # cells × draws × measures × nodes, about 20 ns each


@dataclass(frozen=True)
class Contribution:
    """The noise of one node.

    Attributes:
        cells: the numbers of the merged cells that it added to, each at most once.
        noises: by measure, the mechanism and the scale of its noise, in steps.
    """

    cells: NDArray[np.int64]
    noises: Mapping[str, tuple[Mechanism, float]]


def seed_of(request: Request) -> int:
    """The same for the same question, so that asking again gives the same error bars."""
    question = request.model_dump_json(include={"sql", "epsilon", "delta", "options"})
    return int.from_bytes(hashlib.sha256(question.encode()).digest()[:8], "big")


def draws_per_cell(cells: int, noises: int) -> int:
    """How many draws of each cell are worth their time and memory.

    Args:
        cells: merged cells.
        noises: noise terms of one draw of all cells: Σ over nodes of cells × measures.
    """
    affordable = min(SIMULATED_ROWS // max(cells, 1), NOISE_DRAWS // max(noises, 1))
    return max(LEAST_DRAWS, min(MOST_DRAWS, affordable))


def cell_deviations(
    measure: str, contributions: Sequence[Contribution], cells: int, *, roll_up: RollUp | None = None
) -> NDArray[np.float64]:
    """The standard deviation of a measure's noise in each merged cell; rolled up where `roll_up` says how."""
    total = np.zeros(cells if roll_up is None else roll_up.cells)
    for part in contributions:
        total[part.cells] += variance(*part.noises[measure])
    deviations: NDArray[np.float64] = np.sqrt(total if roll_up is None else roll_up.sums(total))
    return deviations


def simulated(
    merged: pa.Table,
    histograms: Sequence[Histogram],
    contributions: Sequence[Contribution],
    *,
    seed: int,
    roll_up: RollUp | None = None,
) -> pa.Table:
    """The table `simulated` of `Rest.error_sql`: every row of `merged` many times, its measures with fresh noise.

    Args:
        merged: `cell` (0 …, in order), the keys, the measures (int64), the quantiles of `histograms`.
        roll_up: which of the cells of `contributions` each row of `merged` is the sum of; None where each is one.

    Returns:
        The same columns, numbers as float64; the draws of a cell follow each other.
    """
    rows = merged.num_rows
    cells = roll_up.cells if roll_up is not None else rows
    asked = [quantile.name for histogram in histograms for quantile in histogram.quantiles]
    trees = {histogram.measure for histogram in histograms}
    measures = [name for name in contributions[0].noises if name not in trees]
    numbers = len(measures) + sum(histogram.tree.size for histogram in histograms)
    draws = draws_per_cell(max(cells, rows), sum(len(part.cells) for part in contributions) * numbers)
    repeated = pa.array(np.repeat(np.arange(rows, dtype=np.int64), draws))
    table = merged.drop_columns([*measures, *asked]).take(repeated)
    for number, measure in enumerate(measures):
        values = merged.column(measure).to_numpy().astype(np.float64)[:, np.newaxis]
        noise = _summed(measure, contributions, (cells, draws), roll_up, seed=seed + number * len(contributions))
        noise = _matched(noise, cell_deviations(measure, contributions, cells, roll_up=roll_up) ** 2)
        table = table.append_column(measure, pa.array((values + noise).ravel()))
    for number, histogram in enumerate(histograms, start=len(measures)):
        # So many independent numbers need no matching.
        shape = (cells, draws, histogram.tree.size)
        noise = _summed(histogram.measure, contributions, shape, roll_up, seed=seed + number * len(contributions))
        for name, column in histogram.simulated_columns(noise).items():
            table = table.append_column(name, column)
    return table


def _summed(
    measure: str,
    contributions: Sequence[Contribution],
    shape: tuple[int, ...],
    roll_up: RollUp | None,
    *,
    seed: int,
) -> NDArray[np.float64]:
    """The sum of the nodes' noise: rows × draws × …, from `shape` = cells × draws × …."""
    noise = np.zeros(shape)
    for number, part in enumerate(contributions):
        mechanism, scale = part.noises[measure]
        noise[part.cells] += simulated_noise(mechanism, scale, (len(part.cells), *shape[1:]), seed=seed + number)
    return noise if roll_up is None else roll_up.sums(noise)


def _matched(noise: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """`noise` shifted and stretched to mean 0 and `variance` in each cell (moment matching).

    Then sums have their analytic standard error however few draws there are, and the continuous draws get the variance
    of the discrete noise that they stand for.
    """
    noise -= noise.mean(axis=1, keepdims=True)
    spread = noise.var(axis=1, ddof=1)
    stretch = np.sqrt(np.divide(variance, spread, out=np.zeros_like(variance), where=spread > 0))
    noise *= stretch[:, np.newaxis]
    return noise


def standard_errors(
    answer_cells: pa.ChunkedArray, deviations: pa.Table | None, columns: Sequence[OutputColumn]
) -> pa.Table:
    """Standard errors in the shape of the answer.

    Args:
        answer_cells: the merged cell of each row of the answer.
        deviations: what `Rest.error_sql` gives: `cell`, then one column for each noisy column of the answer; None where
            there is none.

    Returns:
        One float64 column for each of `columns`; NULL where the column is not noisy or the deviation is no number.
    """
    rows = len(answer_cells)
    place = pa.array(_places(answer_cells, deviations.column(0))) if deviations is not None else None
    noisy = iter(() if deviations is None else deviations.columns[1:])
    arrays = [
        _finite(next(noisy), place) if column.noisy and place is not None else pa.nulls(rows, pa.float64())
        for column in columns
    ]
    # The mark tells a noisy column from another even where there are no rows.
    fields = [pa.field(column.name, pa.float64(), metadata={"noisy": str(column.noisy).lower()}) for column in columns]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _places(wanted: pa.ChunkedArray, cells: pa.ChunkedArray) -> NDArray[np.int64]:
    """The row of `cells` that holds each of `wanted`; one past the end where there is none."""
    held, asked = cells.to_numpy(), wanted.to_numpy()
    place = np.full(max(held.max(initial=-1), asked.max(initial=-1)) + 1, len(held), dtype=np.int64)
    place[held] = np.arange(len(held))
    found: NDArray[np.int64] = place[asked]
    return found


def _finite(deviations: pa.ChunkedArray, place: pa.Array) -> pa.Array:
    found = np.append(deviations.cast(pa.float64()).to_numpy(), np.nan)[place]
    return pa.array(found, mask=~np.isfinite(found))
