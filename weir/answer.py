"""An answer: rows, their standard errors, and what they cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from privacy.errors import RequestRefused
from weir.budget import Budget, Missing

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from matplotlib.axes import Axes
    from rich.console import RenderableType

NOISY_MARK = b"noisy"  # metadata of a field of the standard errors: b"true" or b"false"


@dataclass(frozen=True)
class Charge:
    """What one node took for its part.

    Attributes:
        epsilon_charged: 0 where the same release had been paid for already.
        already_released: the node sent the noisy numbers that it had sent before.
        snapshot: identifies the data that the node answered from.
        budget: of the node, after the charge.
    """

    province: str
    epsilon_charged: float
    already_released: bool
    snapshot: str
    budget: Budget


@dataclass(frozen=True, eq=False, repr=False)
class Answer:
    """The regional answer to one query.

    >>> answer = con.sql("SELECT year, COUNT(*) AS n FROM visits GROUP BY year", epsilon=0.5)
    >>> answer.df()                # the noisy values
    >>> answer.standard_errors()   # how far each may be off, the same shape
    >>> answer.plot(x="year", y="n")

    Attributes:
        sql: the question.
        epsilon, delta: the regional guarantee: the most that any one person loses, over all nodes; δ is 0 where all
            noise is Laplace.
        epsilon_per_node: the guarantee of each node by itself.
        span: how many nodes may hold one person's records.
        charges: what each node that answered took.
        missing: provinces that the answer lacks, and why.
        notes: what a reader of the answer must know.
    """

    sql: str
    epsilon: float
    delta: float
    epsilon_per_node: float
    span: int
    charges: tuple[Charge, ...]
    missing: tuple[Missing, ...]
    notes: tuple[str, ...]
    _rows: pa.Table
    _errors: pa.Table

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the answer's columns, in order."""
        return tuple(self._rows.column_names)

    @property
    def noisy_columns(self) -> tuple[str, ...]:
        """The columns that have error bars."""
        return tuple(name for place, name in enumerate(self.columns) if self._noisy(place))

    def arrow(self) -> pa.Table:
        """The rows, as an Arrow table."""
        return self._rows

    def error_table(self) -> pa.Table:
        """The standard errors, as an Arrow table."""
        return self._errors

    def df(self) -> pd.DataFrame:
        """The rows, as a pandas frame."""
        frame: pd.DataFrame = self._rows.to_pandas(date_as_object=False)
        return frame

    def standard_errors(self) -> pd.DataFrame:
        """The standard error of each cell: the same shape as `df()`, missing for cells without noise."""
        frame: pd.DataFrame = self._errors.to_pandas()
        return frame

    def interval(self, confidence: float = 0.95) -> pd.DataFrame:
        """`df()` with `<name>_low` and `<name>_high` beside each noisy column.

        The half-width is the standard error times the wider of the normal and the Laplace quantile, because one node's
        noise is Laplace and the sum of many is near normal.

        Raises:
            RequestRefused: `confidence` is not between 0 and 1.
        """
        if not 0 < confidence < 1:
            raise RequestRefused(f"No interval holds with {confidence}.", remedy="Use a confidence such as 0.95.")
        factor = max(NormalDist().inv_cdf((1 + confidence) / 2), -math.log(1 - confidence) / math.sqrt(2))
        frame, errors = self.df(), self.standard_errors()
        for name in self.noisy_columns:
            place = list(frame.columns).index(name)
            half = errors[name] * factor
            frame.insert(place + 1, f"{name}_low", frame[name] - half)
            frame.insert(place + 2, f"{name}_high", frame[name] + half)
        return frame

    def receipt(self) -> dict[str, Any]:
        """What was asked, guaranteed and charged, for the file: plain values that JSON can hold."""
        from weir.export import receipt

        return receipt(self)

    def plot(self, x: str | None = None, y: str | None = None, *, ax: Axes | None = None) -> Axes:
        """Bars with error bars (a line where `x` is a date); needs matplotlib.

        Args:
            x: the column along the axis; by default the columns without noise, side by side.
            y: the column that is drawn; by default the first with noise.
            ax: axes to draw on; new ones by default.

        Raises:
            RequestRefused: no such column, several rows at one place, or no matplotlib.
        """
        from weir.plot import plot

        return plot(self, x, y, ax)

    def _noisy(self, place: int) -> bool:
        # The coordinator marks the columns, so that an answer without rows has the same ones; else the bars tell.
        mark = (self._errors.schema.field(place).metadata or {}).get(NOISY_MARK)
        bars = self._errors.column(place)
        return bool(mark == b"true" if mark is not None else bars.null_count < len(bars))

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    def __rich__(self) -> RenderableType:
        from weir.answer_view import answer_text

        return answer_text(self)

    def __repr__(self) -> str:
        from weir.display import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from weir.answer_view import answer_html

        return answer_html(self)
