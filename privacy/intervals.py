"""What a reader of an answer is told about its noise: a standard error and a 95 % interval of each noisy cell.

Where a column is linear in the measures both follow from the noise's moments; else from draws (privacy/error_bars.py).
The interval is that between the quantiles of the draws, which are the released value with noise once more. The noise is
symmetric, so they lie around the released value as the value without noise may. Unlike estimate ± 2 standard errors the
interval is right for skewed expressions, and within the bounds of an average (docs/decisions.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from privacy.error_bars import DRAWS_STEP, cell_deviations, fourth_cumulants

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from privacy.error_bars import Contribution
    from privacy.fragment import OutputColumn
    from privacy.linear import Form
    from privacy.roll_up import RollUp

# The 97.5 % quantile, in standard deviations, of a sum of equal Laplace noises by its excess kurtosis: 3 of one, 1 of
# three, 0 of a Gaussian. Of unequal ones it is up to 1 % more than the true one.
_KURTOSES = np.linspace(0, 3, 13)
_QUANTILES = np.array(
    [1.95996, 1.9778, 1.99567, 2.01263, 2.02842, 2.04303, 2.0565, 2.06893, 2.08041, 2.09102, 2.10082, 2.1099, 2.1183]
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class ErrorBars:
    """In the shape of an answer, float64: NULL where a cell is NULL or not noisy.

    Attributes:
        low, high: the 95 % interval.
    """

    standard_errors: pa.Table
    low: pa.Table
    high: pa.Table


@dataclass(frozen=True, eq=False)
class Bars:
    """Of one column: a standard error and the ends of an interval, one each a cell."""

    deviation: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


class Spread(Protocol):
    """How the noise spreads one column, by merged cell."""

    def around(self, estimates: NDArray[np.float64], cells: NDArray[np.int64]) -> Bars:
        """The bars of released values, each of one of `cells`."""


@dataclass(frozen=True, eq=False)
class LinearSpread:
    """Of a column that is linear in the measures: from the moments of its noise.

    Attributes:
        half: of the interval's width.
    """

    deviation: NDArray[np.float64]
    half: NDArray[np.float64]

    def around(self, estimates: NDArray[np.float64], cells: NDArray[np.int64]) -> Bars:
        half = self.half[cells]
        return Bars(self.deviation[cells], estimates - half, estimates + half)


@dataclass(frozen=True, eq=False)
class DrawnSpread:
    """Of any other column: the standard deviation of its draws, and the draws at the ends of the interval."""

    deviation: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def around(self, estimates: NDArray[np.float64], cells: NDArray[np.int64]) -> Bars:
        # Where many draws are NULL the released value may stand outside of those that are left.
        low, high = np.minimum(self.low[cells], estimates), np.maximum(self.high[cells], estimates)
        return Bars(self.deviation[cells], low, high)


def linear_spread(
    form: Form, contributions: Sequence[Contribution], cells: int, *, roll_up: RollUp | None = None
) -> LinearSpread:
    """The spread of Σ coefficient × measure.

    Args:
        cells, roll_up: as in `error_bars.cell_deviations`.
    """
    unit = max((abs(by) for _, by in form), default=0.0) or 1.0  # taken out, so that no fourth power overflows
    form = tuple((name, by / unit) for name, by in form)
    variance = np.zeros(cells if roll_up is None else roll_up.groups)
    for name, by in form:
        variance += (by * cell_deviations(name, contributions, cells, roll_up=roll_up)) ** 2
    fourth = fourth_cumulants(form, contributions, cells, roll_up=roll_up)
    squared = variance**2  # 0 where next to no noise is left: no float holds it
    kurtosis = np.divide(fourth, squared, out=np.zeros_like(variance), where=squared > 0)
    deviation = np.sqrt(variance)
    half = np.interp(kurtosis, _KURTOSES, _QUANTILES) * deviation
    if len(form) == 1 and form[0][1]:  # a multiple of a whole number has noise in whole steps
        half = np.ceil(half - 0.5)
    deviation, half = unit * deviation, unit * half
    return LinearSpread(deviation, half)


def drawn_spread(draws: NDArray[np.float64]) -> DrawnSpread:
    """The spread of a column from draws of it (cells × draws); NaN is a NULL, which is left out.

    Of n draws that are left the interval is between the ⌊(n + 1) / 40⌋-th from below and from above: what it is to
    cover is one more draw of n + 1, of any rank with equal probability.
    """
    draws = np.sort(draws, axis=1)  # NaN last
    left = draws.shape[1] - np.isnan(draws).sum(axis=1)
    rank = np.maximum(1, (left + 1) // DRAWS_STEP)
    rows = np.arange(len(draws))
    low, high = draws[rows, rank - 1], draws[rows, np.maximum(left - rank, 0)]
    return DrawnSpread(_deviations(draws, left), low, high)


def _deviations(draws: NDArray[np.float64], left: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sample standard deviations of what is no NaN; NaN where that are fewer than two."""
    with np.errstate(invalid="ignore", over="ignore"):  # an infinite draw has no deviation
        mean = np.nansum(draws, axis=1) / np.maximum(left, 1)
        squares = np.nansum((draws - mean[:, np.newaxis]) ** 2, axis=1)
    deviations: NDArray[np.float64] = np.sqrt(
        np.divide(squares, left - 1, out=np.full(len(draws), np.nan), where=left > 1)
    )
    return deviations


def error_bars(
    rows: pa.Table, cells: pa.ChunkedArray, columns: Sequence[OutputColumn], spreads: Sequence[Spread | None]
) -> ErrorBars:
    """The error bars of an answer.

    Args:
        rows: the answer.
        cells: the merged cell of each of its rows.
        spreads: of each of `columns`; None where it has none.
    """
    places, nothing = cells.to_numpy(), pa.nulls(rows.num_rows, pa.float64())
    found: list[tuple[pa.Array, ...]] = []
    for column, spread in zip(rows.columns, spreads, strict=True):
        if spread is None or not _is_number(column.type):
            found.append((nothing,) * 3)
        else:
            found.append(_column(column, spread, places))
    # The mark tells a noisy column from another even where there are no rows.
    fields = [pa.field(column.name, pa.float64(), metadata={"noisy": str(column.noisy).lower()}) for column in columns]
    return ErrorBars(*(pa.Table.from_arrays(list(part), schema=pa.schema(fields)) for part in zip(*found, strict=True)))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _column(column: pa.ChunkedArray, spread: Spread, places: NDArray[np.int64]) -> tuple[pa.Array, ...]:
    estimates = column.cast(pa.float64(), safe=False).to_numpy()
    bars = spread.around(estimates, places)
    low, high = bars.low, bars.high
    if pa.types.is_integer(column.type):  # so are the values without noise
        low, high = np.rint(low), np.rint(high)
    none = np.isnan(estimates)
    return tuple(pa.array(part, mask=none | ~np.isfinite(part)) for part in (bars.deviation, low, high))
