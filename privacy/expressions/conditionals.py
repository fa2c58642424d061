"""CASE, IF, COALESCE and NULLIF."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.expressions.comparisons import condition
from privacy.expressions.facts import Facts, Reading, hull
from privacy.expressions.rules import common_type, rule

if TYPE_CHECKING:
    from privacy.expressions.reader import Reader


def _either(node: exp.Expr, parts: Sequence[Facts], *, nullable: bool) -> Facts:
    low, high = hull(*parts)
    narrow = all(part.narrow for part in parts)
    return Facts(common_type(node, *parts), low, high, nullable, narrow=narrow)


def case(reader: Reader, node: exp.Case) -> Reading:
    """CASE WHEN c THEN a … ELSE b END, and CASE x WHEN v THEN a … as comparisons with x."""
    operand = node.this
    ifs, parts = [], []
    for branch in node.args["ifs"]:
        test = exp.EQ(this=operand.copy(), expression=branch.this.copy()) if operand else branch.this
        value = reader.value(branch.args["true"])
        ifs.append(exp.If(this=condition(reader, test).sql, true=value.sql))
        parts.append(value.facts)
    default = node.args.get("default")
    otherwise = reader.value(default) if default is not None else None
    if otherwise is not None:
        parts.append(otherwise.facts)
    nullable = otherwise is None or any(part.nullable for part in parts)
    sql = exp.Case(ifs=ifs, default=otherwise.sql if otherwise else None)
    return Reading(sql, _either(node, parts, nullable=nullable))


def if_(reader: Reader, node: exp.If) -> Reading:
    """IF(c, a, b) as CASE."""
    ifs = [exp.If(this=node.this.copy(), true=node.args["true"].copy())]
    default = node.args.get("false")
    return case(reader, exp.Case(ifs=ifs, default=default.copy() if default is not None else None))


def coalesce(reader: Reader, node: exp.Coalesce) -> Reading:
    first, *others = (reader.read(part) for part in (node.this, *node.expressions))
    kinds = {reading.facts.identifier for reading in others}
    if first.facts.identifier and not first.facts.nullable and kinds == {first.facts.identifier}:
        return first  # USING makes this of the identifiers of two tables
    readings = [reader.value(part) for part in (node.this, *node.expressions)]
    parts = [reading.facts for reading in readings]
    sql = exp.Coalesce(this=readings[0].sql, expressions=[reading.sql for reading in readings[1:]])
    return Reading(sql, _either(node, parts, nullable=all(part.nullable for part in parts)))


def nullif(reader: Reader, node: exp.Nullif) -> Reading:
    value, other = reader.value(node.this), reader.value(node.expression)
    common_type(node, value.facts, other.facts)
    return Reading(exp.Nullif(this=value.sql, expression=other.sql), value.facts.or_null())


RULES = {
    exp.Case: rule(case, "this", "ifs", "default"),
    exp.If: rule(if_, "this", "true", "false"),
    exp.Coalesce: rule(coalesce, "this", "expressions", "is_nvl", "is_null"),
    exp.Nullif: rule(nullif, "this", "expression"),
}
