"""What the noise of a plan is predicted to do to the columns of its answer, from public facts alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

from privacy.errors import RequestRefused
from privacy.slopes import Column, NoisyTable, columns_of, columns_of_block
from privacy.worst_noise import Rows, Worst, rows_of, worst_noise

if TYPE_CHECKING:
    from privacy.block_planner import PlannedBlock, Shape
    from privacy.blocks import Around
    from privacy.fragment import Fragment
    from privacy.request import Request
    from privacy.split import Split


_MOST_LEVELS = 64  # each is walked through by itself


@dataclass(frozen=True)
class Level:
    """The rows of one grouping set, or all rows; of several blocks, rows of one set of each that may meet.

    Attributes:
        holds: how many of the finest groups that are shown each row holds at least; 1 where blocks meet.
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
        tables = {name: _table(shape.fitted.cut, Worst(1, {}), rows) for name, shape in self.shapes.items()}
        return self._columns(tables)

    def of(self, request: Request, rows: float | None) -> Predicted:
        """The errors of the plan of `request`.

        Args:
            rows: that are expected in each group, of the finest that are shown.
        """
        planned = self.planned(request)
        noise = [_distinct(worst_noise(self._rows[name], _fragments(one))) for name, one in planned.items()]
        if math.prod(map(len, noise)) > _MOST_LEVELS:
            raise RequestRefused(
                f"An accuracy is asked of blocks whose grouping sets may meet in more than {_MOST_LEVELS} ways.",
                remedy="Name fewer grouping sets, or ask the blocks as queries of their own.",
            )
        levels = [
            Level(
                meeting[0].holds if self.around is None else 1,
                self._columns(
                    {name: _table(planned[name].cut, of, rows) for name, of in zip(planned, meeting, strict=True)}
                ),
            )
            for meeting in product(*noise)
        ]
        return Predicted(tuple(levels), tuple(map(_choices, planned.values())))

    @property
    def has_open_totals(self) -> bool:
        """Whether totals are shown of groups that nobody can list."""
        return any(shape.fitted.cut.decides and shape.fitted.cut.grouping_sets for shape in self.shapes.values())

    @cached_property
    def _rows(self) -> dict[str, Rows]:
        return {
            name: rows_of(
                {below.cells.digest: below.cells.table for below in shape.fitted.below.values()},
                shape.fitted.cut.grouping_sets,
            )
            for name, shape in self.shapes.items()
        }

    def _columns(self, tables: Mapping[str, NoisyTable]) -> tuple[Column, ...]:
        if self.around is not None:
            return tuple(columns_of(self.around.query, tables))
        (only,) = tables.values()
        return tuple(columns_of_block(only))


def _fragments(planned: PlannedBlock) -> tuple[Fragment, ...]:
    return tuple(planned.block.fragments.values())


def _distinct(noise: Sequence[Worst]) -> list[Worst]:
    """Without those that say the same, as of two halves of a CUBE."""
    return list({(of.holds, *of.deviations.items()): of for of in noise}.values())


def _choices(planned: PlannedBlock) -> Hashable:
    measures = planned.block.any_fragment.measures
    return tuple((part.name, part.kind, part.mechanism, part.low, part.level) for part in measures)


def _table(cut: Split, noise: Worst, rows: float | None) -> NoisyTable:
    return NoisyTable(cut.above, cut.measures, noise.deviations, rows * noise.holds if rows is not None else None)
