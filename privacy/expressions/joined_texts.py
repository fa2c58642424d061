"""Several values → one text: ||, CONCAT, CONCAT_WS. privacy/growth.py bounds how long it may become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.expressions.casts import as_text
from privacy.expressions.facts import Facts, Reading
from privacy.expressions.rules import grouped, rule
from privacy.expressions.strings import text_literal

if TYPE_CHECKING:
    from privacy.expressions.reader import Reader


def piped(reader: Reader, node: exp.DPipe) -> Reading:
    """a || b; NULL where one is."""
    left, right = _texts(reader, node, (node.left, node.right))
    facts = Facts("VARCHAR", nullable=left.facts.nullable or right.facts.nullable)
    return Reading(exp.DPipe(this=grouped(left.sql), expression=grouped(right.sql)), facts)


def concatenation(reader: Reader, node: exp.Concat) -> Reading:
    """CONCAT(a, b, …), which leaves out NULLs."""
    texts = _texts(reader, node, node.expressions)
    sql = exp.Concat(expressions=[text.sql for text in texts], safe=True, coalesce=True)
    return Reading(sql, Facts("VARCHAR"))


def separated(reader: Reader, node: exp.ConcatWs) -> Reading:
    """CONCAT_WS('-', a, b, …), which leaves out NULLs."""
    separator, *parts = node.expressions
    texts = [text_literal(node, separator), *(text.sql for text in _texts(reader, node, parts))]
    return Reading(exp.ConcatWs(expressions=texts, safe=True, coalesce=True), Facts("VARCHAR"))


def _texts(reader: Reader, node: exp.Expr, operands: Sequence[exp.Expr]) -> list[Reading]:
    return [as_text(reader.value(operand), node) for operand in operands]


RULES = {
    exp.DPipe: rule(piped, "this", "expression", "safe"),
    exp.Concat: rule(concatenation, "expressions", "safe", "coalesce"),
    exp.ConcatWs: rule(separated, "expressions", "safe", "coalesce"),
}
