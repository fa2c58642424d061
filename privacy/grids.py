"""The grid of whole steps in which values are summed, so that no sum depends on the order of rows."""

from __future__ import annotations

import math

from sqlglot import exp

from privacy.expressions import Facts, Reading
from privacy.expressions.arithmetic import clamp
from privacy.expressions.rules import cast, grouped

EXACT = 2.0**53  # integers up to here are literals of an integer type and exact as DOUBLE
_LARGEST_STEPS = 10**9  # of one row: 4 × 10⁹ such rows still fit 2⁶²
_LEAST_STEP = 1e-290  # its inverse is a number too
_NEAR = 1e-4  # of a step; dividing by the grid is off by less


def grid_of(facts: Facts, known: float | None) -> float:
    """The step to which values are rounded: the catalog's where it is `known`, else 10⁻⁹ of the range or finer."""
    largest = max(abs(facts.low), abs(facts.high))
    natural = 1.0
    if facts.type == "DOUBLE":
        natural = 10.0 ** (math.ceil(math.log10(largest)) - 9) if largest > 0 else 1.0
        natural = max(known or natural, _LEAST_STEP)
    while largest / natural > _LARGEST_STEPS:
        natural *= 10
    return natural


def steps_of(facts: Facts, grid: float) -> tuple[int, int]:
    """The bounds in steps; outwards where they lie between two, because engines differ in how they round a half."""
    low, high = facts.low / grid, facts.high / grid
    nearest = round(low), round(high)
    on_grid = tuple(abs(near - exact) < _NEAR for near, exact in zip(nearest, (low, high), strict=True))
    return nearest[0] if on_grid[0] else math.floor(low), nearest[1] if on_grid[1] else math.ceil(high)


def in_steps(reading: Reading, grid: float, centre: int, low: int, high: int) -> exp.Expr:
    """One row's value in steps of the grid, off centre, clamped to [low, high]; NULL stays NULL."""
    value = reading.sql
    if reading.facts.type == "BIGINT" and grid < 1:
        value = exp.Mul(this=cast(value, "BIGINT"), expression=number(round(1 / grid)))
    elif reading.facts.type == "DOUBLE" or grid != 1:
        inverse = 1 / grid
        whole = _is_whole(inverse)
        ratio = exp.Mul if whole else exp.Div
        steps = ratio(this=grouped(value), expression=number(float(round(inverse)) if whole else grid))
        value = cast(exp.Round(this=steps if grid != 1 else value), "BIGINT")
    if centre:
        value = exp.Sub(this=grouped(value), expression=number(centre))
    if isinstance(reading.sql, exp.Column) or (reading.facts.type == "BIGINT" and grid <= 1):
        return value  # the node's view holds columns within their bounds, and integer intervals are exact
    return clamp(value, number(low), number(high))


def scaled(value: exp.Expr, grid: float) -> exp.Expr:
    """Steps → value; a division where that is exact, so that 0.01 does not round twice."""
    inverse = 1 / grid
    if grid == 1:
        return value
    if inverse > 1 and _is_whole(inverse):
        return exp.Div(this=value, expression=number(round(inverse) if inverse < EXACT else inverse))
    return exp.Mul(this=value, expression=number(grid))


def _is_whole(inverse: float) -> bool:
    return abs(inverse - round(inverse)) < 1e-9 * inverse


def number(value: float) -> exp.Expr:
    """A literal, DOUBLE where it is no integer (DuckDB would read a DECIMAL)."""
    text = exp.Literal.number(repr(abs(value)))
    literal = text if isinstance(value, int) else cast(text, "DOUBLE")
    return exp.Neg(this=literal) if value < 0 else literal
