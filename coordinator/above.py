"""Above the privacy line: releases → merged cells → the answer's rows and their error bars. Blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from coordinator.merge import merge
from coordinator.roll_up import by_grouping_sets
from privacy.error_bars import cell_deviations, draws_per_cell, simulated
from privacy.errors import ConstructRefused, UnavailableError, WeirError
from privacy.grouping import rolled_up
from privacy.histograms import Histogram
from privacy.intervals import ErrorBars, Spread, drawn_spread, error_bars, linear_spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from coordinator.merge import Merged
    from coordinator.rest import RestEngine, Session
    from privacy.fragment import Block, Plan

NO_ERROR_BARS = "The error bars of some columns could not be computed."
MOST_JOINT_DRAWS = 399  # each computes the whole answer
_NAME = re.compile(r"\w+")
_APART = 1_000  # between the seeds of blocks: more than measures × nodes of one


@dataclass(frozen=True)
class Computed:
    """The answer's rows, their error bars, and what else its reader must know."""

    rows: pa.Table
    bars: ErrorBars
    notes: tuple[str, ...]


def rehearse(rest: RestEngine, plan: Plan, *, timeout_s: float) -> None:
    """Bind the rest over no rows: what cannot work is refused before anything is charged.

    Raises:
        ConstructRefused: DuckDB refuses the types of the expressions over aggregates.
    """
    rest.bind(plan.rest.sql, {block.name: _schema(block) for block in plan.blocks}, timeout_s=timeout_s)


def computed(
    rest: RestEngine, plan: Plan, releases: Mapping[str, Mapping[str, pa.Table]], *, seed: int, timeout_s: float
) -> Computed:
    """The answer over `releases` (by province, at least one, and block).

    Raises:
        ConstructRefused: the noisy values are outside the range of some expression above the line.
        UnavailableError: it takes longer than `timeout_s`.
    """
    blocks = [_merged(block, releases) for block in plan.blocks]
    with rest.session(timeout_s=timeout_s) as session:
        rows, cells = _rows(session, plan, blocks)
        drawn: list[Spread] = []
        notes: tuple[str, ...] = ()
        try:
            if plan.rest.error_sql and rows.num_rows:
                of_all = _drawn_jointly if plan.rest.joint else _drawn
                drawn = of_all(session, plan, blocks, seed=seed)
        except WeirError:  # the budget is spent: an answer without error bars is better than none
            notes = (NO_ERROR_BARS,)
    spreads = _spreads(plan, blocks[0], drawn)
    return Computed(rows, error_bars(rows, cells, plan.rest.columns, spreads), notes)


@dataclass(frozen=True)
class _MergedBlock:
    """The releases of one block: the table that the rest reads, and what its noise is simulated from."""

    block: Block
    merged: Merged
    histograms: list[Histogram]
    table: pa.Table

    def simulated(self, error_sql: str, *, seed: int, draws: int | None = None) -> Iterator[tuple[pa.Table, int]]:
        """Of what is read off histograms only what `error_sql` names: a MAP a draw takes time and memory."""
        contributions, roll_up, named = self.merged.contributions, self.merged.roll_up, set(_NAME.findall(error_sql))
        table = self.table.drop_columns([column.name for column in self.block.read_off if column.name not in named])
        asked = [histogram.asked(named) for histogram in self.histograms]
        return simulated(table, asked, contributions, seed=seed, roll_up=roll_up, draws=draws)

    @property
    def work(self) -> int:
        """What a draw of all cells of all nodes costs, in numbers."""
        sums = sum(measure.tree is None for measure in self.block.any_fragment.finest)
        each = sums + sum(histogram.work for histogram in self.histograms)
        return int(self.table.num_rows) * len(self.block.fragments) * each


def _merged(block: Block, releases: Mapping[str, Mapping[str, pa.Table]]) -> _MergedBlock:
    own = {province: by_block[block.name] for province, by_block in releases.items() if block.name in by_block}
    if not own:
        raise UnavailableError(
            "No province that a part of the query asks has answered.",
            remedy="Ask the same again: the provinces that were charged answer it again for nothing.",
        )
    merged = by_grouping_sets(merge(block.fragments, own), block.grouping_sets, len(block.any_fragment.keys))
    histograms = _histograms(block, merged)
    return _MergedBlock(block, merged, histograms, _with_read_off(merged.table, histograms))


def _drawn(session: Session, plan: Plan, blocks: Sequence[_MergedBlock], *, seed: int) -> list[Spread]:
    """The spread of each noisy column that is not linear, by simulation, part by part."""
    parts: list[list[NDArray[np.float64]]] = []
    for draws, count in blocks[0].simulated(plan.rest.error_sql, seed=seed):
        found = session.numbers(plan.rest.error_sql, **{blocks[0].block.simulated_name: draws})
        parts.append([column.reshape(-1, count) for column in found])
    return [drawn_spread(np.concatenate(column)) for column in zip(*parts, strict=True)]


def _drawn_jointly(session: Session, plan: Plan, blocks: Sequence[_MergedBlock], *, seed: int) -> list[Spread]:
    """The same where rows of the answer depend on many cells: the whole answer, once a draw."""
    tables: dict[str, pa.Table] = {one.block.name: one.table for one in blocks}
    rows = sum(one.table.num_rows for one in blocks)
    count = min(MOST_JOINT_DRAWS, draws_per_cell(rows, sum(one.work for one in blocks)))
    for number, one in enumerate(blocks):
        parts = [table for table, _ in one.simulated(plan.rest.error_sql, seed=seed + number * _APART, draws=count)]
        whole = pa.concat_tables(parts)
        numbers = pa.array(np.tile(np.arange(count, dtype=np.int64), one.table.num_rows))
        tables[one.block.simulated_name] = whole.append_column("draw", numbers)
    found = session.numbers(plan.rest.error_sql, **tables)
    return [drawn_spread(column.reshape(-1, count)) for column in found]


def _spreads(plan: Plan, only: _MergedBlock, drawn: list[Spread]) -> list[Spread | None]:
    """The spread of each column of the answer; None where it is not noisy or was not simulated."""
    merged = only.merged
    cells = merged.table.num_rows if merged.roll_up is None else merged.roll_up.cells
    rest = iter(drawn)
    return [
        None
        if not column.noisy
        else next(rest, None)
        if column.linear is None
        else linear_spread(column.linear, merged.contributions, cells, roll_up=merged.roll_up)
        for column in plan.rest.columns
    ]


def _histograms(block: Block, merged: Merged) -> list[Histogram]:
    """The merged histograms with what the rest reads off them."""
    return [
        Histogram(
            measure.name,
            measure.tree,
            merged.trees[measure.name],
            cell_deviations(measure.name, merged.contributions, merged.table.num_rows, roll_up=merged.roll_up),
            tuple(column for column in block.read_off if column.measure == measure.name),
        )
        for measure in block.any_fragment.finest
        if measure.tree is not None
    ]


def _with_read_off(table: pa.Table, histograms: list[Histogram]) -> pa.Table:
    for histogram in histograms:
        for name, column in histogram.columns().items():
            table = table.append_column(name, column)
    return table


def _rows(session: Session, plan: Plan, blocks: Sequence[_MergedBlock]) -> tuple[pa.Table, pa.ChunkedArray]:
    """The answer's rows, and the merged cell of each."""
    try:
        table = session.run(plan.rest.sql, **{one.block.name: one.table for one in blocks})
    except ConstructRefused as fault:
        raise _after_release(fault) from None
    last = table.num_columns - 1
    names = [column.name for column in plan.rest.columns]
    columns = [_whole_numbers(column) for column in table.columns[:last]]
    return pa.table(columns, names=names), table.column(last)


def _whole_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """DuckDB's HUGEINT, the type of a SUM of integers, as int64 where it fits; Arrow has it as decimal."""
    if not pa.types.is_decimal(column.type) or column.type.scale:
        return column
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        return column.cast(pa.float64())


def _schema(block: Block) -> pa.Schema:
    """The columns of a block's table."""
    fragment = block.any_fragment
    keys = [fragment.cells.schema.field(key.name) for key in fragment.keys]
    marks = [pa.field(rolled_up(place), pa.int64()) for place in range(len(keys))] if block.grouping_sets else []
    measures = [pa.field(measure.name, pa.int64()) for measure in fragment.finest if measure.tree is None]
    read_off = [pa.field(column.name, column.type) for column in block.read_off]
    return pa.schema([pa.field("cell", pa.int64()), *keys, *marks, *measures, *read_off])


def _after_release(fault: ConstructRefused) -> ConstructRefused:
    return ConstructRefused(
        "An expression over aggregates cannot be computed on the noisy values.",
        remedy="Guard it, for example with greatest(COUNT(*), 1). The budget was charged, and a corrected query over "
        f"the same aggregates costs nothing more. {fault.remedy}".rstrip(),
    )
