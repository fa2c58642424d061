"""Text: case, parts, length and concatenation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.expressions.facts import Facts, Reading, item_of
from privacy.expressions.rules import cast, grouped, refuse_types, rule
from privacy.positions import position_of, shown

if TYPE_CHECKING:
    from privacy.expressions.reader import Reader


def _letters(kind: type[exp.Func]) -> Callable[[Reader, exp.Func], Reading]:
    def apply(reader: Reader, node: exp.Func) -> Reading:
        inner = reader.value(node.this)
        if inner.facts.type != "VARCHAR":
            raise refuse_types(node, inner.facts)
        return Reading(kind(this=inner.sql), Facts("VARCHAR", nullable=inner.facts.nullable))

    return apply


def _text(reader: Reader, node: exp.Expr, operand: exp.Expr) -> Reading:
    inner = reader.value(operand)
    if inner.facts.type != "VARCHAR":
        raise refuse_types(node, inner.facts)
    return inner


def _count(node: exp.Expr, value: exp.Expr | None, *, least: int) -> exp.Expr:
    """A literal number of characters."""
    if not isinstance(value, exp.Literal) or value.is_string or not value.name.isdigit():
        raise _not_literal(node)
    if not least <= int(value.name) <= _LONGEST:
        raise _not_literal(node)
    return value.copy()


def _end(kind: type[exp.Func]) -> Callable[[Reader, exp.Func], Reading]:
    """LEFT(x, 2), RIGHT(x, 2)."""

    def apply(reader: Reader, node: exp.Func) -> Reading:
        inner = _text(reader, node, node.this)
        sql = kind(this=inner.sql, expression=_count(node, node.expression, least=0))
        return Reading(sql, Facts("VARCHAR", nullable=inner.facts.nullable))

    return apply


def part(reader: Reader, node: exp.Substring) -> Reading:
    """SUBSTRING(x, 2), SUBSTRING(x, 2, 3)."""
    inner, length = _text(reader, node, node.this), node.args.get("length")
    sql = exp.Substring(this=inner.sql, start=_count(node, node.args.get("start"), least=1))
    if length is not None:
        sql.set("length", _count(node, length, least=0))
    return Reading(sql, Facts("VARCHAR", nullable=inner.facts.nullable))


def trimmed(reader: Reader, node: exp.Trim) -> Reading:
    """TRIM(x), LTRIM(x), RTRIM(x): without spaces around."""
    inner = _text(reader, node, node.this)
    return Reading(exp.Trim(this=inner.sql, position=node.args.get("position")), inner.facts)


def length(reader: Reader, node: exp.Length) -> Reading:
    """LENGTH(x) of a text or a list."""
    inner = reader.value(node.this)
    if inner.facts.type != "VARCHAR" and item_of(inner.facts.type) is None:
        raise refuse_types(node, inner.facts)
    return Reading(exp.Length(this=inner.sql), Facts("BIGINT", 0, 2**31, inner.facts.nullable))


def _has(kind: type[exp.Func]) -> Callable[[Reader, exp.Func], Reading]:
    """STARTS_WITH(x, 'SH'), CONTAINS(x, 'H0')."""

    def apply(reader: Reader, node: exp.Func) -> Reading:
        inner, sought = _text(reader, node, node.this), node.expression
        if not isinstance(sought, exp.Literal) or not sought.is_string:
            raise _not_literal(node)
        sql = kind(this=inner.sql, expression=sought.copy())
        return Reading(sql, Facts("BOOLEAN", nullable=inner.facts.nullable))

    return apply


_LONGEST = 1_000


def _not_literal(node: exp.Expr) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(node)}`: all but the text must be literals, positions from 1 and lengths up to {_LONGEST:,}",
        remedy="Write for example LEFT(x, 2), SUBSTRING(x, 1, 3) or STARTS_WITH(x, 'SH').",
        position=position_of(node),
    )


def concatenation(reader: Reader, node: exp.DPipe) -> Reading:
    """a || b of texts and integers."""
    readings = [reader.value(part) for part in (node.left, node.right)]
    if not all(reading.facts.type in ("VARCHAR", "BIGINT") for reading in readings):
        raise refuse_types(node, *(reading.facts for reading in readings))
    left, right = (_as_text(reading) for reading in readings)
    nullable = any(reading.facts.nullable for reading in readings)
    return Reading(exp.DPipe(this=left, expression=right), Facts("VARCHAR", nullable=nullable))


def _as_text(reading: Reading) -> exp.Expr:
    return grouped(reading.sql) if reading.facts.type == "VARCHAR" else cast(reading.sql, "VARCHAR")


RULES = {
    exp.Lower: rule(_letters(exp.Lower), "this"),
    exp.Upper: rule(_letters(exp.Upper), "this"),
    exp.Left: rule(_end(exp.Left), "this", "expression"),
    exp.Right: rule(_end(exp.Right), "this", "expression"),
    exp.Substring: rule(part, "this", "start", "length"),
    exp.Trim: rule(trimmed, "this", "position"),
    exp.Length: rule(length, "this"),
    exp.StartsWith: rule(_has(exp.StartsWith), "this", "expression"),
    exp.Contains: rule(_has(exp.Contains), "this", "expression"),
    exp.DPipe: rule(concatenation, "this", "expression", "safe"),
}
