"""CAST, TRY_CAST and x::type: NULL where a value is none of that type, never an error."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.expressions.facts import Facts, Reading
from privacy.expressions.literals import date_literal, timestamp_literal
from privacy.expressions.rules import cast, grouped, integer, refuse_types, rule
from privacy.positions import position_of, shown

if TYPE_CHECKING:
    from privacy.expressions.reader import Reader

_INTEGERS = {"INT128", "BIGINT", "INT", "INTEGER", "SMALLINT", "TINYINT"}
_REALS = {"DOUBLE", "FLOAT"}
_TEXTS = {"TEXT", "VARCHAR"}
_DATES = {"DATE", "TIMESTAMP"}
_MOST_DECIMALS = 9


def casting(reader: Reader, node: exp.Cast) -> Reading:
    """A value as another type.

    Raises:
        ConstructRefused: no such cast is known here, or a text that is written out is no such value.
    """
    target = node.to.this.name.upper().removesuffix("NTZ")
    written = isinstance(node.this, exp.Literal) and node.this.is_string
    if written and target == "DATE":
        return date_literal(node.this)
    if written and target == "TIMESTAMP":
        return timestamp_literal(node.this)
    inner = reader.value(node.this)
    if target in _INTEGERS:
        return _whole(inner, node)
    if target in _REALS:
        return _real(inner, node)
    if target == "DECIMAL":
        return _decimal(inner, node)
    if target in _TEXTS:
        return as_text(inner, node)
    if target == "BOOLEAN" and inner.facts.type in ("BOOLEAN", "BIGINT"):
        return _truth(inner)
    if target in _DATES and inner.facts.type in _DATES:
        facts = Facts(target, inner.facts.low, inner.facts.high, inner.facts.nullable)
        return Reading(cast(inner.sql, target), facts)
    raise refuse_types(node, inner.facts)


def _whole(inner: Reading, node: exp.Cast) -> Reading:
    facts = inner.facts
    if facts.type == "BOOLEAN":
        return Reading(cast(inner.sql, "BIGINT"), Facts("BIGINT", 0, 1, facts.nullable))
    if facts.is_number and facts.fits_integer:
        low, high = math.floor(facts.low), math.ceil(facts.high)
        return Reading(cast(inner.sql, "BIGINT"), Facts("BIGINT", low, high, facts.nullable))
    if facts.type in ("DOUBLE", "VARCHAR"):
        return Reading(_tried(inner.sql, "BIGINT"), Facts("BIGINT", nullable=True))
    if facts.type == "BIGINT":
        return inner
    raise refuse_types(node, facts)


def _real(inner: Reading, node: exp.Cast) -> Reading:
    facts = inner.facts
    if facts.is_number:
        return Reading(cast(inner.sql, "DOUBLE"), Facts("DOUBLE", facts.low, facts.high, facts.nullable))
    if facts.type == "BOOLEAN":
        return Reading(cast(cast(inner.sql, "BIGINT"), "DOUBLE"), Facts("DOUBLE", 0, 1, facts.nullable))
    if facts.type == "VARCHAR":
        return Reading(_tried(inner.sql, "DOUBLE"), Facts("DOUBLE", nullable=True), minus_zero=True)
    raise refuse_types(node, facts)


def _decimal(inner: Reading, node: exp.Cast) -> Reading:
    """DECIMAL(p, s) as a DOUBLE that is rounded to s decimals."""
    from privacy.expressions.arithmetic import rounded

    given = [parameter.this for parameter in node.to.expressions]
    places = int(given[1].name) if len(given) > 1 and given[1].name.isdigit() else 0
    if places > _MOST_DECIMALS:
        raise ConstructRefused(
            f"`{shown(node)}` has more than {_MOST_DECIMALS} decimals",
            remedy="Write DECIMAL(18, 3), or DOUBLE.",
            position=position_of(node),
        )
    return rounded(_real(inner, node), places)


def as_text(inner: Reading, node: exp.Expr) -> Reading:
    """A value as it is written.

    Args:
        node: for the message where its type is not known.
    """
    if inner.facts.type == "VARCHAR":
        return inner
    if inner.facts.type == "NULL":
        raise refuse_types(node, inner.facts)
    text = cast(inner.sql, "VARCHAR")
    if inner.facts.type == "DOUBLE" and not inner.facts.bounded:
        # Every NaN is equal to every other, so which of them stands for both would hang on the rows of others.
        text = exp.Replace(this=text, expression=exp.Literal.string("-nan"), replacement=exp.Literal.string("nan"))
    return Reading(text, Facts("VARCHAR", nullable=inner.facts.nullable))


def _truth(inner: Reading) -> Reading:
    if inner.facts.type == "BOOLEAN":
        return inner
    sql = exp.NEQ(this=grouped(inner.sql), expression=integer(0))
    return Reading(sql, Facts("BOOLEAN", nullable=inner.facts.nullable))


def _tried(node: exp.Expr, type_name: str) -> exp.Expr:
    plain = cast(node, type_name)
    return exp.TryCast(this=plain.this, to=plain.args["to"], safe=True)


RULES = {
    exp.Cast: rule(casting, "this", "to"),
    exp.TryCast: rule(casting, "this", "to", "safe", "requires_string"),
}
