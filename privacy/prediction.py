"""What the noise of a plan is predicted to do to the columns of its answer, from public facts alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from privacy.slopes import Column, NoisyTable, columns_of, columns_of_block
from privacy.worst_noise import Rows, Worst, rows_of, worst_noise

if TYPE_CHECKING:
    from privacy.block_planner import PlannedBlock, Shape
    from privacy.blocks import Around
    from privacy.request import Request
    from privacy.split import Split


@dataclass(frozen=True)
class Level:
    """The rows of one grouping set, or all rows.

    Attributes:
        holds: how many of the finest groups that are shown each row holds at least.
        columns: of the answer, in their order.
    """

    holds: int
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Predicted:
    """Of the plan of one ε.

    Attributes:
        choices: what the planner chose that depends on ε; between two ε with the same, errors only fall as ε grows.
    """

    levels: tuple[Level, ...]
    choices: Hashable


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicts for one query.

    Attributes:
        around: what stands around the blocks; None where the only block is the whole query.
        shapes: the blocks.
        planned: the plans of the blocks for a request, which is refused where ε is too little for any answer.
    """

    around: Around | None
    shapes: Mapping[str, Shape]
    planned: Callable[[Request], Mapping[str, PlannedBlock]]

    def without_noise(self, rows: float | None) -> tuple[Column, ...]:
        """What is known of the columns as the noise becomes less and less: where even then the error is ∞, nothing
        bounds it."""
        tables = {name: _table(shape.fitted.cut, {}) for name, shape in self.shapes.items()}
        return self._columns(tables, rows)

    def of(self, request: Request, rows: float | None) -> Predicted:
        """The errors of the plan of `request`.

        Args:
            rows: that are expected in each group, of the finest that are shown.
        """
        planned = self.planned(request)
        noise = {
            name: worst_noise(self._rows[name], tuple(one.block.fragments.values())) for name, one in planned.items()
        }
        if self.around is None:
            ((name, one),) = planned.items()
            levels = tuple(self._level({name: _table(one.cut, of.deviations)}, of.holds, rows) for of in noise[name])
        else:  # rows of several blocks may meet in any way
            tables = {name: _table(one.cut, _greatest(noise[name])) for name, one in planned.items()}
            levels = (self._level(tables, 1, rows),)
        return Predicted(levels, tuple(map(_choices, planned.values())))

    def _level(self, tables: Mapping[str, NoisyTable], holds: int, rows: float | None) -> Level:
        return Level(holds, self._columns(tables, rows * holds if rows is not None else None))

    @property
    def has_open_totals(self) -> bool:
        """Whether totals are shown of groups that nobody can list."""
        return any(shape.fitted.cut.decides and shape.fitted.cut.grouping_sets for shape in self.shapes.values())

    @cached_property
    def _rows(self) -> dict[str, Rows]:
        return {
            name: rows_of(
                {cells.digest: cells.table for cells in shape.fitted.cells.values()}, shape.fitted.cut.grouping_sets
            )
            for name, shape in self.shapes.items()
        }

    def _columns(self, tables: Mapping[str, NoisyTable], rows: float | None) -> tuple[Column, ...]:
        if self.around is not None:
            return tuple(columns_of(self.around.query, tables, rows=rows))
        (only,) = tables.values()
        return tuple(columns_of_block(only, rows=rows))


def _greatest(noise: Sequence[Worst]) -> dict[str, float]:
    return {name: max(of.deviations[name] for of in noise) for name in noise[0].deviations}


def _choices(planned: PlannedBlock) -> Hashable:
    measures = planned.block.any_fragment.measures
    return tuple((part.name, part.kind, part.mechanism, part.low, part.level) for part in measures)


def _table(cut: Split, deviations: Mapping[str, float]) -> NoisyTable:
    return NoisyTable(cut.above, cut.measures, deviations)
