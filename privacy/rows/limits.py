"""How many rows of one unit count after joins on the unit, where the catalog's limits are those of one table.

Every pair of a unit's rows in two tables may meet, so limits multiply: 50 orders × 350 items. But an item has one order
where the catalog says that `o_orderkey` tells a unit's orders apart; then 350 is enough.

These limits are kept by bounding, whatever the data (privacy/bounding.py). So a `key` that is wrong costs rows of the
unit that it is wrong for, and no privacy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from privacy.rows.source import LARGEST_LIMIT, Owner

Place = tuple[str, str]  # a source's name, a column
Equality = tuple[Place, Place]
_MOST_SOURCES = 6  # subsets of more are not tried


@dataclass(frozen=True)
class Member:
    """A private source among those that are joined.

    Attributes:
        key: columns that tell the rows of a unit apart; None where nothing is known to.
        on: of a LEFT JOIN, its equalities, which say nothing about the rows that it is joined to; empty elsewhere.
    """

    name: str
    owner: Owner
    key: frozenset[str] | None
    on: tuple[Equality, ...] = ()


def limits(members: Sequence[Member], equalities: Iterable[Equality]) -> tuple[int, int]:
    """`max_rows` and `max_groups` of the join.

    Args:
        equalities: that hold on every row.
    """
    known = list(equalities)
    choices = [chosen for chosen in _choices(members) if _determined(chosen, members, known)]
    return _least(choices, lambda owner: owner.most_rows), _least(choices, lambda owner: owner.rows or owner.max_groups)


def _least(choices: Iterable[Sequence[Member]], limit: Callable[[Owner], int]) -> int:
    return min(LARGEST_LIMIT, *(math.prod(limit(member.owner) for member in chosen) for chosen in choices))


def _choices(members: Sequence[Member]) -> Iterator[Sequence[Member]]:
    yield members
    if len(members) <= _MOST_SOURCES:
        for size in range(1, len(members)):
            yield from combinations(members, size)


def _determined(chosen: Sequence[Member], members: Sequence[Member], equalities: Sequence[Equality]) -> bool:
    """Whether one row of each of `chosen` has at most one row of every other member beside it."""
    names = {member.name for member in chosen}
    waiting = [member for member in members if member.name not in names]
    while waiting:
        found = next((one for one in waiting if _is_told(one, names, [*one.on, *equalities])), None)
        if found is None:
            return False
        names.add(found.name)
        waiting.remove(found)
    return True


def _is_told(member: Member, names: set[str], equalities: Iterable[Equality]) -> bool:
    """Whether each column of its key is equal to one of the sources `names`."""
    if member.key is None:
        return False
    sides = [(one, other) for pair in equalities for one, other in (pair, pair[::-1])]
    told = {column for (name, column), (other, _) in sides if name == member.name and other in names}
    return member.key <= told
