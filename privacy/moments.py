"""Variances, covariances and regression from means of centred products.

With d = x − midpoint of its range, Var(x) = E[d²] − E[d]²: centring first keeps the products, and so the noise, small.
Each mean is held within its bounds by `MeasureBook.mean`; a variance that comes out negative is 0.
"""

from __future__ import annotations

import math
from dataclasses import replace

from sqlglot import exp

from privacy.expressions import Facts, Reading
from privacy.expressions.rules import cast, integer
from privacy.grids import number
from privacy.measures import Lowered, MeasureBook
from privacy.positions import shown

_SAMPLE = (exp.Variance, exp.Stddev, exp.StddevSamp, exp.CovarSamp)


def variance(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    """VAR_POP(x), and VAR_SAMP(x) = VARIANCE(x)."""
    spread = _spread(book, node.this, node.this, kept, label=shown(node))
    return _corrected(book, node, node.this, kept, spread)


def deviation(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    """STDDEV_POP(x), and STDDEV_SAMP(x) = STDDEV(x)."""
    squared = variance(book, node, kept)
    root = exp.Sqrt(this=squared.reading.sql)
    high = math.sqrt(squared.reading.facts.high)
    return Lowered(Reading(root, Facts("DOUBLE", 0.0, high, nullable=True)), squared.importance)


def covariance(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    """COVAR_POP(y, x) and COVAR_SAMP(y, x), over rows in which neither is NULL."""
    both = _both(book, node, kept)
    spread = _spread(book, node.this, node.expression, both, label=shown(node))
    return _corrected(book, node, node.this, both, spread)


def correlation(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    """CORR(y, x), within [−1, 1]."""
    both, label = _both(book, node, kept), shown(node)
    joint = _spread(book, node.this, node.expression, both, label=label)
    ys = _spread(book, node.this, node.this, both, label=label)
    xs = _spread(book, node.expression, node.expression, both, label=label)
    scale = exp.Sqrt(this=exp.Mul(this=exp.Paren(this=ys.reading.sql), expression=exp.Paren(this=xs.reading.sql)))
    ratio = exp.Div(this=exp.Paren(this=joint.reading.sql), expression=exp.Nullif(this=scale, expression=integer(0)))
    floored = exp.Greatest(this=ratio, expressions=[number(-1.0)], ignore_nulls=True)
    within = exp.Least(this=floored, expressions=[number(1.0)], ignore_nulls=True)
    some = exp.Not(this=exp.Is(this=exp.Paren(this=ratio.copy()), expression=exp.Null()))
    value = exp.Case(ifs=[exp.If(this=some, true=within)])  # LEAST and GREATEST would make a bound of NULL
    return Lowered(Reading(value, Facts("DOUBLE", -1.0, 1.0, nullable=True)), _together(joint, ys, xs))


def slope(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    """REGR_SLOPE(y, x) = COVAR_POP(y, x) / VAR_POP(x)."""
    both, label = _both(book, node, kept), shown(node)
    joint = _spread(book, node.this, node.expression, both, label=label)
    xs = _spread(book, node.expression, node.expression, both, label=label)
    divisor = exp.Nullif(this=xs.reading.sql, expression=integer(0))
    ratio = exp.Div(this=exp.Paren(this=joint.reading.sql), expression=divisor)
    return Lowered(Reading(ratio, Facts("DOUBLE", nullable=True)), _together(joint, xs))


def intercept(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    """REGR_INTERCEPT(y, x) = AVG(y) − REGR_SLOPE(y, x) × AVG(x)."""
    both, label = _both(book, node, kept), shown(node)
    steepness = slope(book, node, kept)
    y, x = (book.mean(part, both, label=label) for part in (node.this, node.expression))
    product = exp.Mul(this=exp.Paren(this=steepness.reading.sql), expression=exp.Paren(this=x.reading.sql))
    value = exp.Sub(this=exp.Paren(this=y.reading.sql), expression=product)
    return Lowered(Reading(value, Facts("DOUBLE", nullable=True)), _together(steepness, y, x))


def _spread(book: MeasureBook, left: exp.Expr, right: exp.Expr, kept: exp.Expr | None, *, label: str) -> Lowered:
    """E[dl × dr] − E[dl] × E[dr]; of one variable, not below 0."""
    one, other = _centred(book, left), _centred(book, right)
    product = exp.Mul(this=exp.Paren(this=one), expression=exp.Paren(this=other))
    reading = book.number(product)
    same = left == right
    if same:
        reading = replace(reading, facts=replace(reading.facts, low=0))  # a square, which intervals do not see
    products = book.mean(product, kept, label=label, reading=reading)
    means = [book.mean(part, kept, label=label) for part in ([one] if same else [one, other])]
    first, second = means[0].reading.sql, means[-1].reading.sql
    taken = exp.Mul(this=exp.Paren(this=first), expression=exp.Paren(this=second.copy()))
    value: exp.Expr = exp.Sub(this=exp.Paren(this=products.reading.sql), expression=taken)
    largest = max(abs(reading.facts.low), abs(reading.facts.high))
    low = 0.0 if same else -2.0 * largest
    if same:
        some = exp.Not(this=exp.Is(this=exp.Paren(this=products.reading.sql.copy()), expression=exp.Null()))
        floored = exp.Greatest(this=value, expressions=[number(0.0)], ignore_nulls=True)
        value = exp.Case(ifs=[exp.If(this=some, true=floored)])
    return Lowered(Reading(value, Facts("DOUBLE", low, 2.0 * largest, nullable=True)), _together(products, *means))


def _centred(book: MeasureBook, node: exp.Expr) -> exp.Expr:
    facts = book.number(node).facts
    middle = (facts.low + facts.high) / 2
    exact = int((facts.low + facts.high) // 2) if facts.type == "BIGINT" else middle
    return exp.Sub(this=exp.Paren(this=node.copy()), expression=number(exact))


def _corrected(book: MeasureBook, node: exp.Expr, counted: exp.Expr, kept: exp.Expr | None, spread: Lowered) -> Lowered:
    """× n / (n − 1) where the sample form is asked for; NULL below two rows."""
    if not isinstance(node, _SAMPLE):
        return spread
    count = exp.column(book.count(counted, kept, label=f"COUNT of {shown(node)}").name)
    less = exp.Paren(this=exp.Sub(this=count.copy(), expression=integer(1)))
    factor = exp.Div(this=cast(count.copy(), "DOUBLE"), expression=less)
    value = exp.Mul(this=exp.Paren(this=spread.reading.sql), expression=factor)
    enough = exp.GT(this=count.copy(), expression=integer(1))
    facts = spread.reading.facts
    known = Facts("DOUBLE", 2 * facts.low, 2 * facts.high, nullable=True)  # n / (n − 1) is 2 at most
    return Lowered(Reading(exp.Case(ifs=[exp.If(this=enough, true=value)]), known), spread.importance)


def _both(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> exp.Expr | None:
    """`kept`, and neither of the two variables is NULL."""
    tests = [kept] if kept is not None else []
    for part in (node.this, node.expression):
        reading = book.number(part)
        if reading.facts.nullable:
            tests.append(exp.Not(this=exp.Is(this=exp.Paren(this=reading.sql), expression=exp.Null())))
    return exp.and_(*tests) if tests else None


def _together(*parts: Lowered) -> dict[str, float]:
    importance: dict[str, float] = {}
    for part in parts:
        for name, share in part.importance.items():
            importance[name] = importance.get(name, 0.0) + share
    return importance
