"""Text: case and concatenation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.expressions.facts import Facts, Reading
from privacy.expressions.rules import cast, grouped, refuse_types, rule

if TYPE_CHECKING:
    from privacy.expressions.reader import Reader


def _letters(kind: type[exp.Func]) -> Callable[[Reader, exp.Func], Reading]:
    def apply(reader: Reader, node: exp.Func) -> Reading:
        inner = reader.value(node.this)
        if inner.facts.type != "VARCHAR":
            raise refuse_types(node, inner.facts)
        return Reading(kind(this=inner.sql), Facts("VARCHAR", nullable=inner.facts.nullable))

    return apply


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
    exp.DPipe: rule(concatenation, "this", "expression", "safe"),
}
