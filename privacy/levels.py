"""Which levels of ROLLUP, CUBE and GROUPING SETS are released beside the cells, the groups of all keys together.

A total that is a sum of n noisy cells errs √n times as much as one of them. Released once more by itself it errs no
more than one cell, but what that costs makes all else err more. So the sum of the variances of all rows that are shown
is predicted, and the levels are those that make it least; often that is none.

The levels form a chain: each has a part of the keys of the one before, so that each of its groups is a sum of finer
ones, and privacy/chains.py can combine them. A row that is shown is read off the coarsest level that it is a sum of.
Then the variances of all rows of a grouping set add up to n times that level's, n being how many groups the level has,
however they are spread over the rows. With this count as its importance each level is a measure like others, and has
its share of the budget from privacy/calibration.py.

The prediction is exact for these readings. Least squares over all levels errs no more than any other linear unbiased
estimate (Gauss and Markov), so in truth the sum of variances is no more than predicted, and that is no more than
without the level.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from privacy.codes import group_codes
from privacy.fragment import Bounding, Level, Mechanism
from privacy.stability import heaped

if TYPE_CHECKING:
    import pyarrow as pa

    from privacy.measures import RawMeasure
    from privacy.split import KeyColumn

_LEAST_PART = 0.99  # of the predicted error: what gains less is not worth another column


@dataclass(frozen=True)
class Groups:
    """The groups of one grouping set at one node.

    Attributes:
        keys: places of the keys.
        count: how many groups there are.
        most_cells: cells in the largest.
    """

    keys: frozenset[int]
    count: int
    most_cells: int


Loads = Mapping[
    Groups, int
]  # by level that is released, cells first: how often the rows shown count one of its numbers


def groups_of(cells: pa.Table, sets: Sequence[tuple[int, ...]]) -> tuple[Groups, ...]:
    """The groups of each grouping set at a node whose cells these are; of the keys of all sets together first."""
    every = tuple(range(cells.num_columns))
    known: dict[tuple[int, ...], Groups] = {every: Groups(frozenset(every), cells.num_rows, 1)}
    for keys in sets:
        if keys not in known:
            codes = group_codes([cells.column(place) for place in keys], cells.num_rows)
            sizes = np.bincount(codes)
            known[keys] = Groups(frozenset(keys), len(sizes), int(sizes.max()))
    return known[every], *(known[keys] for keys in sets)


@lru_cache(maxsize=64)
def choose_levels(groups: tuple[Groups, ...], bounding: Bounding, mechanism: Mechanism) -> Loads:
    """The levels that a node releases.

    Args:
        groups: as `groups_of` gives them.
    """
    cells, *shown = groups
    best: tuple[Groups, ...] = (cells,)
    best_error = predicted(_loads((cells,), shown), bounding, mechanism)
    while True:
        longer = [_with(best, level) for level in dict.fromkeys(shown) if _fits(level, best)]
        errors = [predicted(_loads(chain, shown), bounding, mechanism) for chain in longer]
        least = min(errors, default=math.inf)
        if least > _LEAST_PART * best_error:
            return _loads(best, shown)
        best, best_error = longer[errors.index(least)], least


def predicted(loads: Loads, bounding: Bounding, mechanism: Mechanism) -> float:
    """The sum of the variances of all rows shown, with the best shares, in units of a cell's with all the budget.

    As in privacy/calibration.py: with Laplace noise a level's variance is 1 / share², because what one unit adds is as
    long in L1 at every level; with Gaussian noise it is 1 / share times how the square of L2 grows.
    """
    if mechanism == "laplace":
        return math.fsum(math.cbrt(load) for load in loads.values()) ** 3
    grown = (load * heaped(bounding, level.most_cells) / heaped(bounding, 1) for level, load in loads.items())
    return math.fsum(map(math.sqrt, grown)) ** 2


def at_levels(
    raws: Sequence[RawMeasure], importance: Mapping[str, float], loads: Loads, keys: Sequence[KeyColumn]
) -> tuple[tuple[RawMeasure, ...], dict[str, float]]:
    """The measures at every level that is released, the cells' first, and how much each matters.

    Args:
        importance: of each of `raws` in one row.
    """
    found: list[RawMeasure] = []
    matters: dict[str, float] = {}
    for number, (level, load) in enumerate(loads.items()):
        for raw in raws:
            found.append(_at_level(raw, level, number, keys) if number else raw)
            matters[found[-1].name] = load * importance[raw.name]
    return tuple(found), matters


def _at_level(raw: RawMeasure, level: Groups, number: int, keys: Sequence[KeyColumn]) -> RawMeasure:
    kept = [key for place, key in enumerate(keys) if place in level.keys]
    where = f" by {', '.join(key.label for key in kept)}" if kept else " in all"
    return replace(
        raw,
        name=_name(raw.name, number),
        label=f"{raw.label}{where}" if raw.label else "",
        total=f"{raw.total}{where}" if raw.total else "",
        weight=_name(raw.weight, number) if raw.weight is not None else None,
        level=Level(raw.name, tuple(key.name for key in kept), level.most_cells),
    )


def _name(measure: str, number: int) -> str:
    return f"{measure}l{number}"


def _loads(chain: tuple[Groups, ...], shown: Sequence[Groups]) -> Loads:
    found = dict.fromkeys(chain, 0)
    for rows in shown:
        read = next(level for level in reversed(chain) if rows.keys <= level.keys)
        found[read] += read.count
    return found


def _fits(level: Groups, chain: tuple[Groups, ...]) -> bool:
    return level not in chain and all(level.keys <= other.keys or other.keys <= level.keys for other in chain)


def _with(chain: tuple[Groups, ...], level: Groups) -> tuple[Groups, ...]:
    return tuple(sorted((*chain, level), key=lambda part: -len(part.keys)))
