"""Lists and MAPs, which some aggregates give: their items, keys and values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.expressions.facts import Facts, Reading, item_of, list_of, parts_of
from privacy.expressions.rules import cast, refuse_types, rule
from privacy.positions import position_of, shown

if TYPE_CHECKING:
    from privacy.expressions.reader import Reader


def item(reader: Reader, node: exp.Bracket) -> Reading:
    """`q[1]` of a list, `h['x']` of a MAP, NULL where there is no such item; `x[1]` and `x[1:2]` of a text."""
    whole = reader.value(node.this)
    if whole.facts.type == "VARCHAR":
        return _letters(reader, node)
    if len(node.expressions) != 1 or isinstance(node.expressions[0], exp.Slice):
        raise ConstructRefused(
            f"`{shown(node)}`: one item can be taken",
            remedy="Write q[1], or h['x'] of a MAP.",
            position=position_of(node),
        )
    place = reader.value(node.expressions[0])
    kind, parts = item_of(whole.facts.type), parts_of(whole.facts.type)
    if kind is not None and place.facts.type == "BIGINT":
        return _called("LIST_EXTRACT", kind, whole, place)
    if parts is not None and _is_key(place.facts.type, parts[0]):
        return _called("MAP_EXTRACT_VALUE", parts[1], whole, place)
    raise refuse_types(node, whole.facts, place.facts)


def _letters(reader: Reader, node: exp.Bracket) -> Reading:
    places = node.expressions[0] if len(node.expressions) == 1 else None
    ends = [places.this, places.expression] if isinstance(places, exp.Slice) else [places, places]
    if (places is None or not places.args.get("step")) and all(
        end is None or (isinstance(end, exp.Literal) and end.is_int) for end in ends
    ):
        first, last = (int(end.name) if end is not None else default for end, default in zip(ends, (1, 0), strict=True))
        if first >= 1 and (ends[1] is None or last >= first):
            part = exp.Substring(this=node.this, start=exp.Literal.number(first))
            if ends[1] is not None:
                part.set("length", exp.Literal.number(last - first + 1))
            return reader.value(part)
    raise ConstructRefused(
        f"`{shown(node)}`: places in a text are numbers from 1",
        remedy="Write x[1], x[1:2], or SUBSTRING(x, 1, 2).",
        position=position_of(node),
    )


def _is_key(given: str, kind: str) -> bool:
    return given == kind or (given, kind) == ("BIGINT", "DOUBLE")


def _called(name: str, kind: str, *arguments: Reading) -> Reading:
    call = exp.Anonymous(this=name, expressions=[argument.sql for argument in arguments])
    return Reading(call, Facts(kind, nullable=True))


def keys(reader: Reader, node: exp.MapKeys) -> Reading:
    return _of_map(reader, node, node.this, "MAP_KEYS", lambda key, _: list_of(key))


def values(reader: Reader, node: exp.Anonymous, operand: exp.Expr) -> Reading:
    return _of_map(reader, node, operand, "MAP_VALUES", lambda _, value: list_of(value))


def cardinality(reader: Reader, node: exp.Anonymous, operand: exp.Expr) -> Reading:
    found = _of_map(reader, node, operand, "CARDINALITY", lambda *_: "BIGINT")
    return Reading(cast(found.sql, "BIGINT"), found.facts)


def _of_map(reader: Reader, node: exp.Expr, operand: exp.Expr, name: str, kind: Callable[[str, str], str]) -> Reading:
    whole = reader.value(operand)
    parts = parts_of(whole.facts.type)
    if parts is None:
        raise refuse_types(node, whole.facts)
    return _called(name, kind(*parts), whole)


RULES = {
    exp.Bracket: rule(item, "this", "expressions", "offset"),
    exp.MapKeys: rule(keys, "this"),
}
