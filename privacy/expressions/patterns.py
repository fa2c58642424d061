"""Texts against patterns: LIKE, and regular expressions whose time is linear and whose errors are found while planning.

Engines compile a pattern when they run. So what may be written is less than RE2 knows: letters, classes, groups,
alternatives, repetitions, anchors.
"""

from __future__ import annotations

import math
import re
import warnings
from itertools import pairwise
from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.expressions.facts import Facts, Reading
from privacy.expressions.rules import grouped, refuse_types, rule
from privacy.expressions.strings import text_literal
from privacy.positions import position_of, shown

if TYPE_CHECKING:
    from privacy.expressions.reader import Reader

_LONGEST = 200
_MOST_REPEATS = 1_000  # of all {…} of a pattern together, as RE2 unrolls them
_UNKNOWN = re.compile(
    r"\\[^dDwWsSbB.\\/\-\[\](){}|*+?^$:]"  # escapes that engines read in several ways
    r"|\(\?(?!:)"  # looking around, names, flags
    r"|[*+?}]\+"  # possessive
    r"|\{(?!\d+(,\d*)?\})"  # a brace that is no count
    r"|\[\[|\[:|&&|--|~~|\|\|"  # classes of classes, and what Python warns of
)
_TOKENS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)  # escapes and classes whole
_REPEATS = ("*", "+", "{")
_COUNTS = re.compile(r"\{(\d+)(?:,(\d*))?\}")


def likeness(reader: Reader, node: exp.Like | exp.ILike) -> Reading:
    """x LIKE 'pattern' with a literal pattern."""
    value = reader.value(node.this)
    pattern = node.expression
    if value.facts.type != "VARCHAR" or not (isinstance(pattern, exp.Literal) and pattern.is_string):
        raise ConstructRefused(
            f"`{shown(node)}`: LIKE takes a text column and a literal pattern",
            remedy="Write x LIKE 'A%'.",
            position=position_of(node),
        )
    like: exp.Expr = type(node)(this=grouped(value.sql), expression=pattern.copy())
    sql = exp.Not(this=like) if node.args.get("negate") else like
    return Reading(sql, Facts("BOOLEAN", nullable=value.facts.nullable))


def matched(reader: Reader, node: exp.RegexpLike) -> Reading:
    """REGEXP_MATCHES(x, 'pattern'), x ~ 'pattern'; with 'i' in any case."""
    value, flag = _text(reader, node), node.args.get("flag")
    sql = exp.RegexpLike(this=grouped(value.sql), expression=_pattern(node))
    if flag is not None:
        sql.set("flag", _flag(node, flag, "ic"))
    return Reading(sql, Facts("BOOLEAN", nullable=value.facts.nullable))


def similar(reader: Reader, node: exp.SimilarTo) -> Reading:
    """x SIMILAR TO 'pattern': the whole text matches."""
    value = _text(reader, node)
    sql = exp.SimilarTo(this=grouped(value.sql), expression=_pattern(node))
    return Reading(sql, Facts("BOOLEAN", nullable=value.facts.nullable))


def extracted(reader: Reader, node: exp.RegexpExtract) -> Reading:
    """REGEXP_EXTRACT(x, 'pattern'): what matches; of a group: REGEXP_EXTRACT(x, '(a)b', 1)."""
    value, group, pattern = _text(reader, node), node.args.get("group"), _pattern(node)
    number = int(group.name) if isinstance(group, exp.Literal) and group.is_int else 0 if group is None else -1
    if not 0 <= number <= min(9, re.compile(pattern.name).groups):
        raise _unknown(node)
    sql = exp.RegexpExtract(this=value.sql, expression=pattern)
    if number:
        sql.set("group", exp.Literal.number(number))
    return Reading(sql, Facts("VARCHAR", nullable=value.facts.nullable))


def replaced(reader: Reader, node: exp.RegexpReplace) -> Reading:
    """REGEXP_REPLACE(x, 'pattern', 'text'), with 'g' everywhere; privacy/growth.py bounds the length."""
    value, new = _text(reader, node), text_literal(node, node.args.get("replacement"))
    modifiers = node.args.get("modifiers")
    if "\\" in new.name:
        raise _unknown(node)
    sql = exp.RegexpReplace(this=value.sql, expression=_pattern(node), replacement=new)
    if modifiers is not None:
        sql.set("modifiers", _flag(node, modifiers, "icg"))
    return Reading(sql, Facts("VARCHAR", nullable=value.facts.nullable))


def _text(reader: Reader, node: exp.Expr) -> Reading:
    value = reader.value(node.this)
    if value.facts.type != "VARCHAR":
        raise refuse_types(node, value.facts)
    return value


def _pattern(node: exp.Expr) -> exp.Expr:
    """The pattern, if every engine can compile it.

    Raises:
        ConstructRefused: it cannot, or has what is not known here.
    """
    literal = text_literal(node, node.args.get("expression"))
    pattern = literal.name
    if len(pattern) > _LONGEST or _UNKNOWN.search(pattern) or not _compiles(pattern) or _repeats_repetitions(pattern):
        raise _unknown(node)
    counts = [max(int(low), int(high or 0)) for low, high in _COUNTS.findall(pattern)]
    if math.prod(max(1, count) for count in counts) > _MOST_REPEATS:
        raise _unknown(node)
    return literal


def _compiles(pattern: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            re.compile(pattern)
        except (re.error, Warning, OverflowError, RecursionError):
            return False
    return True


def _repeats_repetitions(pattern: str) -> bool:
    """Whether a repeated group has a repetition in it, `(a+)+`: engines that backtrack may take exponential time."""
    inside = [False]  # for each group that is open, whether a repetition was seen in it
    tokens = _TOKENS.findall(pattern)
    for token, following in pairwise([*tokens, ""]):
        if token == "(":
            inside.append(False)
        elif token == ")":
            repetitive = inside.pop()
            if repetitive and following in _REPEATS:
                return True
            inside[-1] |= repetitive
        elif token in _REPEATS:
            inside[-1] = True
    return False


def _flag(node: exp.Expr, flag: exp.Expr, known: str) -> exp.Expr:
    literal = text_literal(node, flag)
    if not set(literal.name) <= set(known):
        raise _unknown(node)
    return literal


def _unknown(node: exp.Expr) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(node)}`: this form of a pattern is not known here",
        remedy="Write a literal pattern of letters, [classes], (groups), |, *, +, ?, {2,3}, ^ and $, no repetition "
        "inside a repeated group; or LIKE 'A%'.",
        position=position_of(node),
    )


RULES = {
    exp.Like: rule(likeness, "this", "expression", "negate"),
    exp.ILike: rule(likeness, "this", "expression", "negate"),
    exp.RegexpLike: rule(matched, "this", "expression", "flag"),
    exp.SimilarTo: rule(similar, "this", "expression"),
    exp.RegexpExtract: rule(extracted, "this", "expression", "group", "null_if_pos_overflow"),
    exp.RegexpReplace: rule(replaced, "this", "expression", "replacement", "modifiers", "single_replace"),
}
