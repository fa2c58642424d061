"""Functions that the parser has no type for: they are looked up by their name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.expressions import containers
from privacy.expressions.arithmetic import clamping
from privacy.expressions.facts import Reading
from privacy.expressions.rules import rule
from privacy.positions import position_of, shown

if TYPE_CHECKING:
    from privacy.expressions.reader import Reader

_OF_ONE: dict[str, Callable[[Reader, exp.Anonymous, exp.Expr], Reading]] = {
    "MAP_VALUES": containers.values,
    "CARDINALITY": containers.cardinality,
}
OF_CONTAINERS = frozenset(_OF_ONE)
NAMES = frozenset({"CLAMP", *_OF_ONE})
_REMEDIES = {
    "NOW": "Write the day out, for example DATE '2024-06-30': a query means the same whenever it is asked.",
    "DATE_FORMAT": "Write STRFTIME(x, '%Y-%m').",
    "ISNULL": "Write COALESCE(x, 0), or x IS NULL.",
}


def anonymous(reader: Reader, node: exp.Anonymous) -> Reading:
    """CLAMP(x, lo, hi), MAP_VALUES(h), CARDINALITY(h).

    Raises:
        ConstructRefused: another function.
    """
    name = node.name.upper()
    if name == "CLAMP":
        return clamping(reader, node)
    of_one = _OF_ONE.get(name)
    if of_one is not None and len(node.expressions) == 1:
        return of_one(reader, node, node.expressions[0])
    raise ConstructRefused(
        f"`{shown(node)}`: the function {node.name} is not on the allow-list",
        remedy=_REMEDIES.get(name, "docs/sql.md lists the functions that may be written."),
        position=position_of(node),
    )


RULES = {exp.Anonymous: rule(anonymous, "this", "expressions")}
