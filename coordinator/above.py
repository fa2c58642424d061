"""Above the privacy line: releases → merged cells → the answer's rows and their standard errors. Blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from coordinator.merge import merge
from privacy.error_bars import simulated, standard_errors
from privacy.errors import ConstructRefused, WeirError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coordinator.merge import Merged
    from coordinator.rest import RestEngine
    from privacy.fragment import Fragment, Plan

NO_ERROR_BARS = "The standard errors of this answer could not be computed."


@dataclass(frozen=True)
class Computed:
    """The answer's rows, their standard errors in the same shape, and what else its reader must know."""

    rows: pa.Table
    standard_errors: pa.Table
    notes: tuple[str, ...]


def rehearse(rest: RestEngine, plan: Plan, *, timeout_s: float) -> None:
    """Run the rest over no rows: what cannot work is refused before anything is charged.

    Raises:
        ConstructRefused: DuckDB refuses the types of the expressions over aggregates.
    """
    fragment = next(iter(plan.fragments.values()))
    rest.run(plan.rest.sql, {"merged": _empty(fragment, pa.int64())}, timeout_s=timeout_s)
    if plan.rest.error_sql:
        rest.run(plan.rest.error_sql, {"simulated": _empty(fragment, pa.float64())}, timeout_s=timeout_s)


def computed(
    rest: RestEngine, plan: Plan, releases: Mapping[str, pa.Table], *, seed: int, timeout_s: float
) -> Computed:
    """The answer over `releases` (by province, at least one).

    Raises:
        ConstructRefused: the noisy values are outside the range of some expression above the line.
        UnavailableError: it takes longer than `timeout_s`.
    """
    merged = merge(plan.fragments, releases)
    try:
        table = rest.run(plan.rest.sql, {"merged": merged.table}, timeout_s=timeout_s)
    except ConstructRefused as fault:
        raise _after_release(fault) from None
    columns = plan.rest.columns
    cells = table.column(table.num_columns - 1).cast(pa.int64())
    rows = table.select(range(table.num_columns - 1)).rename_columns([column.name for column in columns])
    try:
        deviations = _deviations(rest, plan, merged, seed=seed, timeout_s=timeout_s)
    except WeirError:  # the budget is spent: an answer without error bars is better than none
        return Computed(rows, standard_errors(cells, None, columns), (NO_ERROR_BARS,))
    return Computed(rows, standard_errors(cells, deviations, columns), ())


def _deviations(rest: RestEngine, plan: Plan, merged: Merged, *, seed: int, timeout_s: float) -> pa.Table | None:
    if not plan.rest.error_sql:
        return None
    draws = simulated(merged.table, merged.contributions, seed=seed)
    return rest.run(plan.rest.error_sql, {"simulated": draws}, timeout_s=timeout_s)


def _empty(fragment: Fragment, measure_type: pa.DataType) -> pa.Table:
    keys = [fragment.cells.schema.field(key.name) for key in fragment.keys]
    measures = [pa.field(measure.name, measure_type) for measure in fragment.measures]
    return pa.schema([pa.field("cell", pa.int64()), *keys, *measures]).empty_table()


def _after_release(fault: ConstructRefused) -> ConstructRefused:
    return ConstructRefused(
        "An expression over aggregates cannot be computed on the noisy values.",
        remedy="Guard it, for example with greatest(COUNT(*), 1). The budget was charged, and a corrected query over "
        f"the same aggregates costs nothing more. {fault.remedy}".rstrip(),
    )
