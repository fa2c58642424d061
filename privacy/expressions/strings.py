"""Text: case, parts, places, padding and replacement."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.expressions.facts import Facts, Reading, item_of
from privacy.expressions.rules import refuse_types, rule
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
    """SUBSTRING(x, 2), SUBSTRING(x, 2, 3), SUBSTRING(x, -2) from the end."""
    inner, length, start = _text(reader, node, node.this), node.args.get("length"), node.args.get("start")
    if isinstance(start, exp.Neg):
        start = exp.Neg(this=_count(node, start.this, least=1))
    else:
        start = _count(node, start, least=1)
    sql = exp.Substring(this=inner.sql, start=start)
    if length is not None:
        sql.set("length", _count(node, length, least=0))
    return Reading(sql, Facts("VARCHAR", nullable=inner.facts.nullable))


def trimmed(reader: Reader, node: exp.Trim) -> Reading:
    """TRIM(x), LTRIM(x), RTRIM(x): without spaces around; TRIM(x, 'ab'): without these letters."""
    inner, letters = _text(reader, node, node.this), node.expression
    sql = exp.Trim(this=inner.sql, position=node.args.get("position"))
    if letters is not None:
        sql.set("expression", text_literal(node, letters))
    return Reading(sql, inner.facts)


def length(reader: Reader, node: exp.Length) -> Reading:
    """LENGTH(x) of a text or a list."""
    inner = reader.value(node.this)
    if inner.facts.type != "VARCHAR" and item_of(inner.facts.type) is None:
        raise refuse_types(node, inner.facts)
    return Reading(exp.Length(this=inner.sql), Facts("BIGINT", 0, 2**31, inner.facts.nullable))


def _has(kind: type[exp.Func]) -> Callable[[Reader, exp.Func], Reading]:
    """STARTS_WITH(x, 'SH'), ENDS_WITH(x, '01'), CONTAINS(x, 'H0')."""

    def apply(reader: Reader, node: exp.Func) -> Reading:
        inner = _text(reader, node, node.this)
        sql = kind(this=inner.sql, expression=text_literal(node, node.expression))
        return Reading(sql, Facts("BOOLEAN", nullable=inner.facts.nullable))

    return apply


def place(reader: Reader, node: exp.StrPosition) -> Reading:
    """STRPOS(x, 'H0') = INSTR(x, 'H0') = POSITION('H0' IN x); 0 where it is not there."""
    inner = _text(reader, node, node.this)
    sql = exp.StrPosition(this=inner.sql, substr=text_literal(node, node.args.get("substr")))
    return Reading(sql, Facts("BIGINT", 0, 2**31, inner.facts.nullable))


def replaced(reader: Reader, node: exp.Replace) -> Reading:
    """REPLACE(x, 'a', 'b'); privacy/growth.py bounds how much longer texts may become."""
    inner = _text(reader, node, node.this)
    sought, new = (text_literal(node, node.args.get(name)) for name in ("expression", "replacement"))
    sql = exp.Replace(this=inner.sql, expression=sought, replacement=new)
    return Reading(sql, Facts("VARCHAR", nullable=inner.facts.nullable))


def padded(reader: Reader, node: exp.Pad) -> Reading:
    """LPAD(x, 2, '0'), RPAD(x, 9, ' '); cut where it is longer."""
    inner, filling = _text(reader, node, node.this), text_literal(node, node.args.get("fill_pattern"))
    if not filling.name:
        raise _not_literal(node)  # engines have nothing to pad with
    sql = exp.Pad(
        this=inner.sql,
        expression=_count(node, node.expression, least=0),
        fill_pattern=filling,
        is_left=node.args.get("is_left"),
    )
    return Reading(sql, Facts("VARCHAR", nullable=inner.facts.nullable))


def piece(reader: Reader, node: exp.SplitPart) -> Reading:
    """SPLIT_PART(x, '-', 1); empty where there are fewer parts."""
    inner = _text(reader, node, node.this)
    sql = exp.SplitPart(
        this=inner.sql,
        delimiter=text_literal(node, node.args.get("delimiter")),
        part_index=_count(node, node.args.get("part_index"), least=1),
    )
    return Reading(sql, Facts("VARCHAR", nullable=inner.facts.nullable))


_LONGEST = 1_000


def text_literal(node: exp.Expr, value: exp.Expr | None) -> exp.Expr:
    """A short text that is written out.

    Raises:
        ConstructRefused: it is none.
    """
    if not isinstance(value, exp.Literal) or not value.is_string or len(value.name) > _LONGEST:
        raise _not_literal(node)
    return value.copy()


def _not_literal(node: exp.Expr) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(node)}`: all but the text must be literals, positions from 1 and lengths up to {_LONGEST:,}",
        remedy="Write for example LEFT(x, 2), SUBSTRING(x, 1, 3) or STARTS_WITH(x, 'SH').",
        position=position_of(node),
    )


RULES = {
    exp.Lower: rule(_letters(exp.Lower), "this"),
    exp.Upper: rule(_letters(exp.Upper), "this"),
    exp.Left: rule(_end(exp.Left), "this", "expression"),
    exp.Right: rule(_end(exp.Right), "this", "expression"),
    exp.Substring: rule(part, "this", "start", "length"),
    exp.Reverse: rule(_letters(exp.Reverse), "this"),
    exp.Trim: rule(trimmed, "this", "position", "expression"),
    exp.Length: rule(length, "this"),
    exp.StartsWith: rule(_has(exp.StartsWith), "this", "expression"),
    exp.Contains: rule(_has(exp.Contains), "this", "expression"),
    exp.EndsWith: rule(_has(exp.EndsWith), "this", "expression"),
    exp.StrPosition: rule(place, "this", "substr"),
    exp.Replace: rule(replaced, "this", "expression", "replacement"),
    exp.Pad: rule(padded, "this", "expression", "fill_pattern", "is_left"),
    exp.SplitPart: rule(piece, "this", "delimiter", "part_index"),
}
