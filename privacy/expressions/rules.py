"""A rule of the allow-list, and what the rules share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.expressions.facts import Facts, Reading
from privacy.positions import position_of, shown

if TYPE_CHECKING:
    from privacy.expressions.reader import Reader


@dataclass(frozen=True)
class Rule:
    """How one kind of node is read.

    Attributes:
        arguments: the node's arguments that the rule looks at; a node with any other is refused.
        apply: gives facts and total form.
    """

    arguments: frozenset[str]
    apply: Callable[[Reader, Any], Reading]


_LOOSE = (exp.Binary, exp.Unary, exp.Between, exp.In)


def rule(apply: Callable[[Reader, Any], Reading], *arguments: str) -> Rule:
    return Rule(frozenset(arguments), apply)


def refuse_types(node: exp.Expr, *operands: Facts) -> ConstructRefused:
    """The error for operands whose types do not go together: engines would try casts that can fail on some row."""
    kinds = " and ".join(operand.type for operand in operands)
    return ConstructRefused(
        f"`{shown(node)}` does not take {kinds}",
        remedy="Compare and combine values of one type; write dates as DATE '2024-03-01'.",
        position=position_of(node),
    )


def cast(node: exp.Expr, type_name: str) -> exp.Expr:
    return exp.Cast(this=node, to=_data_type(type_name).copy())


@cache
def _data_type(name: str) -> exp.DataType:
    return exp.DataType.build(name, dialect="duckdb")  # parses the name, which takes 40 times as long as a copy


def grouped(node: exp.Expr) -> exp.Expr:
    """In parentheses where precedence could otherwise regroup it."""
    return exp.Paren(this=node) if isinstance(node, _LOOSE) and not isinstance(node, exp.Paren) else node


def one_zero(node: exp.Expr) -> exp.Expr:
    """`node`, a DOUBLE, with 0.0 in the place of −0.0.

    SQL takes the two as equal, and of equal values one stands for both: which one would hang on the rows of others.
    """
    return exp.Add(this=grouped(node), expression=cast(integer(0), "DOUBLE"))


def integer(value: int) -> exp.Expr:
    return exp.Literal.number(value)


def common_type(node: exp.Expr, *parts: Facts) -> str:
    """The type of a value that may be any of `parts`."""
    kinds = {part.type for part in parts} - {"NULL"}
    if kinds <= {"BIGINT", "DOUBLE"} and len(kinds) == 2:
        return "DOUBLE"
    if len(kinds) > 1:
        raise refuse_types(node, *parts)
    return kinds.pop() if kinds else "NULL"
