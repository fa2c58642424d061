"""An answer: rows, their standard errors and intervals, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    >>> answer.interval()          # the values, and beside each where the true one lies in 95 of 100 answers
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
    _low: pa.Table
    _high: pa.Table

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
        """The rows, as a pandas frame; a MAP is a dict there, as in DuckDB's."""
        frame: pd.DataFrame = self._rows.to_pandas(date_as_object=False, maps_as_pydicts="strict")
        return frame

    def standard_errors(self) -> pd.DataFrame:
        """The standard error of each cell: the same shape as `df()`, missing for cells without noise."""
        frame: pd.DataFrame = self._errors.to_pandas()
        return frame

    def interval_tables(self) -> tuple[pa.Table, pa.Table]:
        """The lower and the upper ends of the 95 % intervals, as Arrow tables of the same shape."""
        return self._low, self._high

    def interval(self) -> pd.DataFrame:
        """`df()` with `<name>_low` and `<name>_high` beside each noisy column: its 95 % interval.

        It is of the noise, as the standard error is: in 95 of 100 answers the value without noise lies between the two.
        """
        frame, low, high = self.df(), self._low.to_pandas(), self._high.to_pandas()
        for place in reversed(range(len(self.columns))):
            if self._noisy(place):
                name = self.columns[place]
                frame.insert(place + 1, f"{name}_high", high.iloc[:, place], allow_duplicates=True)
                frame.insert(place + 1, f"{name}_low", low.iloc[:, place], allow_duplicates=True)
        return frame

    def receipt(self) -> dict[str, Any]:
        """What was asked, guaranteed and charged, for the file: plain values that JSON can hold."""
        from weir.export import receipt

        return receipt(self)

    def plot(self, x: str | None = None, y: str | None = None, *, ax: Axes | None = None) -> Axes:
        """Bars with their 95 % intervals (a line where `x` is a date); needs matplotlib.

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
