"""How much one unit can change a fragment: the form of bounding, and the sensitivity of each measure."""

from __future__ import annotations

import math

from privacy.fragment import Bounding
from privacy.measures import RawMeasure
from privacy.rows.relation import Relation
from privacy.split import KeyColumn

_ROUNDED_UP = 1 + 1e-12  # more than floating point can lose in a root and a product


def choose_bounding(relation: Relation, keys: tuple[KeyColumn, ...], *, cells: int | None) -> Bounding:
    """The cheapest sound form (see privacy/bounding.py), from public facts alone.

    Args:
        cells: how many groups there are at the node; None where nobody can say.
    """
    owner, unit = relation.owned, relation.owned.unit
    if owner.rows is not None:
        rows = owner.rows
        reason = f"one row per {unit}" if rows == 1 else f"at most {rows} rows per {unit}, whatever its data"
        return Bounding("none", rows, rows if cells is None else min(rows, cells), reason)
    max_rows, max_groups = owner.max_rows, owner.max_groups
    if not keys:
        return Bounding("clip", max_rows, 1, "one group")
    if all(relation.is_fixed(key.reading.sql) for key in keys):
        return Bounding("clip", max_rows, 1, f"the key is fixed per {unit}")
    if cells is None:
        return Bounding("clip_and_limit", max_rows, max_groups, f"one {unit} may touch {max_groups} groups")
    if cells <= max_groups:
        return Bounding("clip", max_rows, cells, f"there are {cells} groups, no more than one {unit} may touch")
    return Bounding("clip_and_limit", max_rows, max_groups, f"one {unit} may touch {max_groups} of {cells} groups")


def sensitivity(measure: RawMeasure, bounding: Bounding) -> int:
    """L1 sensitivity in steps: the most by which one unit's rows change the whole vector of sums at a node."""
    if measure.kind == "units":
        return bounding.max_groups  # a unit counts once in a group, however many rows it has there
    rows = bounding.max_rows if bounding.form == "none" else bounding.max_rows * bounding.max_groups
    return _levels(measure) * rows * max(abs(measure.low), abs(measure.high))


def sensitivity_l2(measure: RawMeasure, bounding: Bounding) -> float:
    """L2 sensitivity in steps.

    With `max_rows` rows in each of `max_groups` groups at most, the norm is largest when all groups are full:
    √max_groups × max_rows × max(|low|, |high|). Where rows are bounded in all, it is largest when all fall in one.
    Of a coarser level: `heaped`.
    """
    most_cells = measure.level.most_cells if measure.level is not None else 1
    if measure.kind == "units":
        return math.sqrt(_heaped(bounding.max_groups, most_cells)) * _ROUNDED_UP
    groups = heaped(bounding, most_cells)
    largest = bounding.max_rows * max(abs(measure.low), abs(measure.high))
    return math.sqrt(_levels(measure) * groups) * largest * _ROUNDED_UP


def heaped(bounding: Bounding, most_cells: int) -> int:
    """The square of the L2 norm of one unit's groups, each counted as 1, at a level with `most_cells` cells in a group.

    What a unit has in several cells of one group adds up there. The norm is largest when as many of its cells as fit
    lie in one group, as many as fit of the others in the next, and so on: squares are convex. Where rows are bounded
    in all, they may fall in one cell at every level: its groups count as one, which holds all rows.
    """
    return 1 if bounding.form == "none" else _heaped(bounding.max_groups, most_cells)


def _heaped(cells: int, most_cells: int) -> int:
    full, rest = divmod(cells, most_cells)
    return full * most_cells**2 + rest**2


def _levels(measure: RawMeasure) -> int:
    """How many numbers one row adds to: of a tree, one node in each level."""
    return len(measure.tree.levels) if measure.tree is not None else 1
