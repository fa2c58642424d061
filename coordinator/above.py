"""Above the privacy line: releases → merged cells → the answer's rows and their error bars. Blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from coordinator.merge import merge
from coordinator.roll_up import by_grouping_sets
from privacy.error_bars import cell_deviations, simulated
from privacy.errors import ConstructRefused, WeirError
from privacy.grouping import rolled_up
from privacy.histograms import Histogram
from privacy.intervals import ErrorBars, Spread, drawn_spread, error_bars, linear_spread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from coordinator.merge import Merged
    from coordinator.rest import RestEngine, Session
    from privacy.fragment import Fragment, Plan

NO_ERROR_BARS = "The error bars of some columns could not be computed."


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
    fragment = next(iter(plan.fragments.values()))
    rest.bind(plan.rest.sql, _merged(fragment, plan), timeout_s=timeout_s)


def computed(
    rest: RestEngine, plan: Plan, releases: Mapping[str, pa.Table], *, seed: int, timeout_s: float
) -> Computed:
    """The answer over `releases` (by province, at least one).

    Raises:
        ConstructRefused: the noisy values are outside the range of some expression above the line.
        UnavailableError: it takes longer than `timeout_s`.
    """
    keys = next(iter(plan.fragments.values())).keys
    merged = by_grouping_sets(merge(plan.fragments, releases), plan.rest.grouping_sets, len(keys))
    histograms = _histograms(plan, merged)
    table = _with_quantiles(merged.table, histograms)
    with rest.session(timeout_s=timeout_s) as session:
        rows, cells = _rows(session, plan, table)
        drawn: list[Spread] = []
        notes: tuple[str, ...] = ()
        try:
            drawn = _drawn(session, plan, merged, table, histograms, seed=seed)
        except WeirError:  # the budget is spent: an answer without error bars is better than none
            notes = (NO_ERROR_BARS,)
    spreads = _spreads(plan, merged, drawn)
    return Computed(rows, error_bars(rows, cells, plan.rest.columns, spreads), notes)


def _drawn(
    session: Session, plan: Plan, merged: Merged, table: pa.Table, histograms: list[Histogram], *, seed: int
) -> list[Spread]:
    """The spread of each noisy column that is not linear, by simulation."""
    if not plan.rest.error_sql or not table.num_rows:
        return []
    parts: list[list[NDArray[np.float64]]] = []
    for draws, count in simulated(table, histograms, merged.contributions, seed=seed, roll_up=merged.roll_up):
        found = session.run(plan.rest.error_sql, simulated=draws)
        parts.append([column.cast(pa.float64()).to_numpy().reshape(-1, count) for column in found.columns])
    return [drawn_spread(np.concatenate(column)) for column in zip(*parts, strict=True)]


def _spreads(plan: Plan, merged: Merged, drawn: list[Spread]) -> list[Spread | None]:
    """The spread of each column of the answer; None where it is not noisy or was not simulated."""
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


def _histograms(plan: Plan, merged: Merged) -> list[Histogram]:
    """The merged histograms with the quantiles that the rest reads off them."""
    measures = next(iter(plan.fragments.values())).measures
    return [
        Histogram(
            measure.name,
            measure.tree,
            merged.trees[measure.name],
            cell_deviations(measure.name, merged.contributions, merged.table.num_rows, roll_up=merged.roll_up),
            tuple(quantile for quantile in plan.rest.quantiles if quantile.measure == measure.name),
        )
        for measure in measures
        if measure.tree is not None
    ]


def _with_quantiles(table: pa.Table, histograms: list[Histogram]) -> pa.Table:
    for histogram in histograms:
        for name, column in histogram.columns().items():
            table = table.append_column(name, column)
    return table


def _rows(session: Session, plan: Plan, merged: pa.Table) -> tuple[pa.Table, pa.ChunkedArray]:
    """The answer's rows, and the merged cell of each."""
    try:
        table = session.run(plan.rest.sql, merged=merged)
    except ConstructRefused as fault:
        raise _after_release(fault) from None
    last = table.num_columns - 1
    names = [column.name for column in plan.rest.columns]
    return table.select(range(last)).rename_columns(names), table.column(last)


def _merged(fragment: Fragment, plan: Plan) -> pa.Schema:
    """The columns that the rest reads."""
    keys = [fragment.cells.schema.field(key.name) for key in fragment.keys]
    marks = [pa.field(rolled_up(place), pa.int64()) for place in range(len(keys))] if plan.rest.grouping_sets else []
    measures = [pa.field(measure.name, pa.int64()) for measure in fragment.measures if measure.tree is None]
    quantiles = [pa.field(quantile.name, pa.float64()) for quantile in plan.rest.quantiles]
    return pa.schema([pa.field("cell", pa.int64()), *keys, *marks, *measures, *quantiles])


def _after_release(fault: ConstructRefused) -> ConstructRefused:
    return ConstructRefused(
        "An expression over aggregates cannot be computed on the noisy values.",
        remedy="Guard it, for example with greatest(COUNT(*), 1). The budget was charged, and a corrected query over "
        f"the same aggregates costs nothing more. {fault.remedy}".rstrip(),
    )
