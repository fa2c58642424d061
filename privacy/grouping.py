"""GROUP BY → the keys, and the grouping sets over them.

Every grouping set is a sum of the finest groups, those of all keys together, above the privacy line
(coordinator/roll_up.py), so that all levels agree with one another. What nodes release beside: privacy/levels.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.positions import position_of, shown

MAX_SETS = 256  # of one query: CUBE over 8 keys
MAX_ROWS = 400_000  # of all grouping sets: as many as error bars can be simulated for
MAX_BITS = 62  # of GROUPING(…), a BIGINT
_MANY = exp.Rollup | exp.Cube | exp.GroupingSets

Keys = tuple[int, ...]  # places of keys among `Grouping.keys`


@dataclass(frozen=True)
class Grouping:
    """The clause, resolved.

    Attributes:
        keys: the distinct expressions that are grouped by, in the order in which they are written.
        sets: the keys of each grouping set, in the order in which DuckDB would list them; empty where the
            only set is that of all keys.
    """

    keys: tuple[exp.Expr, ...]
    sets: tuple[Keys, ...]

    def always(self, key: int) -> bool:
        """Whether no grouping set leaves the key out."""
        return all(key in kept for kept in self.sets)


def read_grouping(select: exp.Select) -> Grouping:
    """The keys and grouping sets of a bound SELECT.

    Before: `GROUP BY a, ROLLUP (b, (c, d))`
    After:  keys a, b, c, d; sets (a, b, c, d), (a, b), (a)

    Raises:
        ConstructRefused: a form of GROUP BY that is not answered, or too many grouping sets.
    """
    group = select.args.get("group")
    if group is None:
        return Grouping((), ())
    _refuse_suffixes(group)
    places: dict[exp.Expr, int] = {}
    parts = [_sets(node, places) for node in group.expressions]
    if math.prod(len(part) for part in parts) > MAX_SETS:
        raise _too_many(group)
    sets = [_union(chosen) for chosen in product(*parts)]
    plain = len(sets) == 1 and len(sets[0]) == len(places)
    return Grouping(tuple(places), () if plain else tuple(sets))


def rolled_up(place: int) -> str:
    """The column above the line that is 1 where the key at `place` is rolled up, else 0."""
    return f"r{place}"


def grouping_places(node: exp.Expr, named: Sequence[exp.Expr], grouping: Grouping) -> list[int]:
    """The places of the keys that `node`, GROUPING(…) or GROUPING_ID(…), names; of all keys where it names none.

    Raises:
        ConstructRefused: an argument that is no key, or there are no keys.
    """
    arguments = [argument.unnest() for argument in named] or list(grouping.keys)
    unknown = next((argument for argument in arguments if argument not in grouping.keys), None)
    if unknown is not None or not arguments:
        what = f"`{shown(unknown)}` is no key of GROUP BY" if unknown is not None else "there is no GROUP BY"
        raise ConstructRefused(
            f"`{shown(node)}`: {what}",
            remedy="GROUPING(k) says whether a row leaves out k, a key of ROLLUP, CUBE or GROUPING SETS: name one.",
            position=position_of(node),
        )
    if len(arguments) > MAX_BITS:
        raise ConstructRefused(
            f"`{shown(node)}` names more than {MAX_BITS} keys", remedy="Name fewer.", position=position_of(node)
        )
    return [grouping.keys.index(argument) for argument in arguments]


def expand_positions(select: exp.Select) -> None:
    """Positions inside of grouping sets → the expressions that they stand for; others are expanded by sqlglot.

    Before: `SELECT kind, COUNT(*) FROM visits GROUP BY ROLLUP (1)`
    After:  `SELECT kind, COUNT(*) FROM visits GROUP BY ROLLUP (kind)`
    """
    group = select.args.get("group")
    for node in list(group.expressions) if group is not None else ():
        if isinstance(node, exp.Tuple | _MANY):
            _expand_within(node, select)


def _expand_within(node: exp.Expr, select: exp.Select) -> None:
    for inner in [node.this] if isinstance(node, exp.Paren) else list(node.expressions):
        if isinstance(inner, exp.Literal) and inner.is_int:
            inner.replace(_item(select, inner))
        elif isinstance(inner, exp.Tuple | exp.Paren | _MANY):
            _expand_within(inner, select)


def _item(select: exp.Select, position: exp.Literal) -> exp.Expr:
    place = int(position.name)
    if not 1 <= place <= len(select.expressions):
        raise ConstructRefused(
            f"GROUP BY position {place} is not in the SELECT list",
            remedy=f"It has {len(select.expressions)} columns.",
            position=position_of(position),
        )
    item: exp.Expr = select.expressions[place - 1].unalias().copy()
    return item


def _refuse_suffixes(group: exp.Group) -> None:
    extra = [name for name, value in group.args.items() if value and name != "expressions"]
    if extra:
        raise ConstructRefused(
            f"GROUP BY … WITH {extra[0].upper()} is not answered",
            remedy="Write GROUP BY ROLLUP (a, b), CUBE (a, b) or GROUPING SETS ((a, b), (a), ()).",
            position=position_of(group),
        )


def _sets(node: exp.Expr, places: dict[exp.Expr, int]) -> list[Keys]:
    """The grouping sets of one element of GROUP BY; new keys get the next place."""
    node = node.unnest()
    if isinstance(node, exp.GroupingSets):
        return [found for inner in node.expressions for found in _sets(inner, places)]
    if isinstance(node, exp.Rollup | exp.Cube):
        parts = [_together(inner, places) for inner in node.expressions]
        if isinstance(node, exp.Cube) and 2 ** len(parts) > MAX_SETS:
            raise _too_many(node)
        chosen = _prefixes(parts) if isinstance(node, exp.Rollup) else _subsets(parts)
        return [_union(part) for part in chosen]
    return [_together(node, places)]


def _together(node: exp.Expr, places: dict[exp.Expr, int]) -> Keys:
    """The keys of `a` or of `(a, b)`."""
    node = node.unnest()
    if isinstance(node, exp.Tuple):
        return _union([_together(inner, places) for inner in node.expressions])
    if isinstance(node, _MANY):
        raise ConstructRefused(
            f"`{shown(node)}` cannot stand inside ROLLUP, CUBE or a list of keys",
            remedy="Put it into GROUPING SETS (…), or beside the other keys.",
            position=position_of(node),
        )
    return (places.setdefault(node, len(places)),)


def _prefixes(parts: Sequence[Keys]) -> Iterator[Sequence[Keys]]:
    return (parts[:length] for length in range(len(parts), -1, -1))


def _subsets(parts: Sequence[Keys]) -> Iterator[Sequence[Keys]]:
    return (chosen for length in range(len(parts), -1, -1) for chosen in combinations(parts, length))


def _union(parts: Sequence[Keys]) -> Keys:
    return tuple(sorted({key for part in parts for key in part}))


def _too_many(node: exp.Expr) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(node)}` makes more than {MAX_SETS} grouping sets",
        remedy="Name those that you need: GROUPING SETS ((a, b), (a), ()).",
        position=position_of(node),
    )
