"""Comparisons and boolean logic; the only place where the unit's identifier may stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.expressions.facts import Facts, Reading
from privacy.expressions.literals import date_literal
from privacy.expressions.rules import grouped, refuse_types, rule
from privacy.positions import position_of, shown

if TYPE_CHECKING:
    from privacy.expressions.reader import Reader

_COMPARABLE = (frozenset({"BIGINT", "DOUBLE"}), frozenset({"DATE", "TIMESTAMP"}))


def _comparable(reader: Reader, node: exp.Expr, operands: Sequence[exp.Expr]) -> list[Reading]:
    readings = [reader.read(operand) for operand in operands]
    beside = {reading.facts.type for reading in readings}
    # As DuckDB does, a text that is written out is read as what it is compared with; here and now, not on each row.
    readings = [
        _read_as(operand, beside) or reading if isinstance(operand, exp.Literal) else reading
        for operand, reading in zip(operands, readings, strict=True)
    ]
    kinds = {reading.facts.type for reading in readings} - {"NULL"}
    if len(kinds) > 1 and not any(kinds <= together for together in _COMPARABLE):
        raise refuse_types(node, *(reading.facts for reading in readings))
    return readings


def _read_as(operand: exp.Literal, beside: set[str]) -> Reading | None:
    """`operand` beside a date, a number or a truth value: '2024-03-01', '40', 'true', 1; None where it stays itself."""
    text = operand.name
    if beside & {"DATE", "TIMESTAMP"}:
        return date_literal(operand) if operand.is_string else None
    if "BOOLEAN" in beside and text.lower() in _TRUTHS:
        return Reading(exp.Boolean(this=_TRUTHS[text.lower()]), Facts("BOOLEAN"))
    digits = text.removeprefix("-")
    if operand.is_string and beside & {"BIGINT", "DOUBLE"} and digits.isdigit() and len(digits) <= _DIGITS:
        number: exp.Expr = exp.Literal.number(int(digits))
        sql = exp.Neg(this=number) if text.startswith("-") else number
        return Reading(sql, Facts("BIGINT", int(text), int(text), narrow=True))
    return None


_TRUTHS = {"true": True, "false": False, "1": True, "0": False}
_DIGITS = 9  # of a 32-bit number


def _truth(readings: Sequence[Reading], *, nullable: bool | None = None) -> Facts:
    may_be_null = any(reading.facts.nullable for reading in readings)
    return Facts("BOOLEAN", nullable=may_be_null if nullable is None else nullable)


def _comparison(*, total: bool = False) -> Callable[[Reader, exp.Binary], Reading]:
    def apply(reader: Reader, node: exp.Binary) -> Reading:
        readings = _comparable(reader, node, (node.left, node.right))
        left, right = (grouped(reading.sql) for reading in readings)
        return Reading(type(node)(this=left, expression=right), _truth(readings, nullable=False if total else None))

    return apply


def between(reader: Reader, node: exp.Between) -> Reading:
    readings = _comparable(reader, node, (node.this, node.args["low"], node.args["high"]))
    value, low, high = (grouped(reading.sql) for reading in readings)
    return Reading(exp.Between(this=value, low=low, high=high), _truth(readings))


def membership(reader: Reader, node: exp.In) -> Reading:
    """x IN (constants)."""
    readings = _comparable(reader, node, (node.this, *node.expressions))
    if not node.expressions or not all(_constant(option) for option in node.expressions):
        raise ConstructRefused(
            f"`{shown(node)}`: IN takes a list of constants",
            remedy="Write x IN ('a', 'b').",
            position=position_of(node),
        )
    value, *options = readings
    sql = exp.In(this=grouped(value.sql), expressions=[option.sql for option in options])
    return Reading(sql, _truth(readings))


def _constant(node: exp.Expr) -> bool:
    return not list(node.find_all(exp.Column))


def is_(reader: Reader, node: exp.Is) -> Reading:
    """IS NULL, IS TRUE, IS FALSE."""
    left = reader.read(node.this)
    right = node.expression
    known = isinstance(right, exp.Null) or (isinstance(right, exp.Boolean) and left.facts.type == "BOOLEAN")
    if not known:
        raise ConstructRefused(
            f"`{shown(node)}` is not known", remedy="Write x IS NULL or x IS NOT NULL.", position=position_of(node)
        )
    return Reading(exp.Is(this=grouped(left.sql), expression=right.copy()), Facts("BOOLEAN"))


def condition(reader: Reader, node: exp.Expr) -> Reading:
    """A value that is true or false.

    Raises:
        ConstructRefused: it is of another type.
    """
    reading = reader.value(node)
    if reading.facts.type not in ("BOOLEAN", "NULL"):
        raise ConstructRefused(
            f"`{shown(node)}` is of type {reading.facts.type}, where a condition must stand",
            remedy="Compare it with something, for example x > 0.",
            position=position_of(node),
        )
    return reading


def _connective(reader: Reader, node: exp.Connector) -> Reading:
    readings = [condition(reader, node.left), condition(reader, node.right)]
    left, right = (_enclosed(reading.sql) for reading in readings)
    return Reading(type(node)(this=left, expression=right), _truth(readings))


def _enclosed(node: exp.Expr) -> exp.Expr:
    return exp.Paren(this=node) if isinstance(node, exp.Connector) else node


def negation(reader: Reader, node: exp.Not) -> Reading:
    inner = condition(reader, node.this)
    return Reading(exp.Not(this=grouped(inner.sql)), replace(inner.facts, type="BOOLEAN"))


RULES = {
    exp.EQ: rule(_comparison(), "this", "expression"),
    exp.NEQ: rule(_comparison(), "this", "expression"),
    exp.GT: rule(_comparison(), "this", "expression"),
    exp.GTE: rule(_comparison(), "this", "expression"),
    exp.LT: rule(_comparison(), "this", "expression"),
    exp.LTE: rule(_comparison(), "this", "expression"),
    exp.NullSafeEQ: rule(_comparison(total=True), "this", "expression"),
    exp.NullSafeNEQ: rule(_comparison(total=True), "this", "expression"),
    exp.Between: rule(between, "this", "low", "high"),
    exp.In: rule(membership, "this", "expressions"),
    exp.Is: rule(is_, "this", "expression"),
    exp.And: rule(_connective, "this", "expression"),
    exp.Or: rule(_connective, "this", "expression"),
    exp.Not: rule(negation, "this"),
}
