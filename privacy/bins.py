"""The bins of histograms that are looked at one by one: each value that an expression can have, or ranges of it.

Both are public: values come from the catalog, as those of group keys do, and boundaries from the query.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

import pyarrow as pa
from sqlglot import exp

from privacy.domains import ARROW_TYPES, Domains
from privacy.errors import ConstructRefused, DomainRefused
from privacy.expressions import Reader, Reading
from privacy.expressions.arithmetic import clamp
from privacy.expressions.literals import date_literal
from privacy.expressions.rules import cast, grouped, integer
from privacy.grids import number
from privacy.positions import position_of, shown
from privacy.rows.relation import Relation

MOST_VALUES = 10_000  # of one histogram
MOST_TESTED = 1_000  # where a row's value is compared with each of them
MOST_BOUNDARIES = 200
MOST_PARTS = 10_000  # of the expressions that number bins, in one query: planning takes about a second for so many
_BEYOND = {"BIGINT": 2**63 - 1, "DOUBLE": math.inf, "DATE": dt.date.max}  # what stands for all above the last boundary


@dataclass(frozen=True)
class Bins:
    """The bins of one expression.

    Attributes:
        values: what stands for each, in ascending order: its value, or its upper boundary.
        leaf: the number of a row's bin, in total form; NULL where it is in none.
        boundaries: how many of them are boundaries that somebody asked for, and not values that may be there.
    """

    values: pa.Array
    leaf: exp.Expr
    boundaries: int = 0


def value_bins(node: exp.Expr, reader: Reader, relation: Relation, domains: Domains) -> Bins:
    """A bin for each value that `node` can have; NULL has none.

    Raises:
        DomainRefused: nobody can list the values, or there are too many.
    """
    reading = reader.value(node)
    try:
        values = domains.values(relation, reading, most=MOST_VALUES)
    except DomainRefused as refusal:
        raise _not_listed(node, refusal.message) from None
    if not len(values):
        raise _not_listed(node, "there is none but NULL")
    away = _steps_from_first(reading, values)
    if away is not None:
        return Bins(values, clamp(away, integer(0), integer(len(values) - 1)))
    if len(values) > MOST_TESTED:
        raise _not_listed(node, f"there are {len(values):,}, and {MOST_TESTED:,} can be told apart")
    ifs = [
        exp.If(this=_literal(value, reading.facts.type), true=integer(place))
        for place, value in enumerate(values.to_pylist())
    ]
    return Bins(values, exp.Case(this=grouped(reading.sql.copy()), ifs=ifs))


def range_bins(node: exp.Expr, boundaries: exp.Expr, reader: Reader) -> Bins:
    """A bin for what is up to each boundary and above the one before, as in DuckDB; one more for what is above all.

    Raises:
        ConstructRefused: the boundaries are no list of constants of the type of `node`.
    """
    reading = reader.value(node)
    kind = reading.facts.type
    if kind not in _BEYOND:
        raise ConstructRefused(
            f"`{shown(node)}` is of type {kind}; boundaries are for numbers and dates",
            remedy=f"Leave them out: HISTOGRAM({shown(node)}).",
            position=position_of(node),
        )
    items = boundaries.expressions if isinstance(boundaries, exp.Array) else []
    ends = sorted({_boundary(item, kind, reader) for item in items})
    if not 0 < len(ends) <= MOST_BOUNDARIES:
        raise ConstructRefused(
            f"`{shown(boundaries)}` is no list of 1 to {MOST_BOUNDARIES} boundaries",
            remedy=f"Write HISTOGRAM({shown(node)}, [10, 20, 50]).",
            position=position_of(boundaries) or position_of(node),
        )
    refuse_large(node, sum(1 for _ in reading.sql.walk()) * len(ends))
    value, tests = grouped(reading.sql), []
    if reading.facts.nullable:
        tests.append(exp.If(this=exp.Is(this=value.copy(), expression=exp.Null()), true=exp.Null()))
    for place, end in enumerate(ends):
        below = exp.LTE(this=value.copy(), expression=_literal(end, kind))
        tests.append(exp.If(this=below, true=integer(place)))
    if reading.facts.bounded and reading.facts.high <= _ordinal(ends[-1]):
        return Bins(pa.array(ends, ARROW_TYPES[kind]), exp.Case(ifs=tests), len(ends))
    values = pa.array([*ends, _BEYOND[kind]], ARROW_TYPES[kind])
    return Bins(values, exp.Case(ifs=tests, default=integer(len(ends))), len(ends))


def refuse_large(node: exp.Expr, parts: int) -> None:
    """Raises: ConstructRefused: bins would be numbered by too long an expression."""
    if parts > MOST_PARTS:
        raise ConstructRefused(
            f"To number the bins of `{shown(node)}` takes too long an expression",
            remedy="Ask for fewer values or boundaries, or for fewer such aggregates in one query.",
            position=position_of(node),
        )


def _boundary(node: exp.Expr, kind: str, reader: Reader) -> int | float | dt.date:
    if kind == "DATE" and isinstance(node, exp.Literal) and node.is_string:
        facts = date_literal(node).facts
    else:
        facts = reader.value(node).facts
    fits = facts.type == kind or (facts.type, kind) == ("BIGINT", "DOUBLE")
    if not fits or facts.low != facts.high:
        raise ConstructRefused(
            f"`{shown(node)}` is no constant of type {kind}",
            remedy="Write boundaries of the type of what is counted: whole numbers for whole numbers.",
            position=position_of(node),
        )
    if kind == "DATE":
        return dt.date.fromordinal(int(facts.low))
    return float(facts.low) if kind == "DOUBLE" else int(facts.low)


def _ordinal(end: float | dt.date) -> float:
    return end.toordinal() if isinstance(end, dt.date) else end


def _not_listed(node: exp.Expr, why: str) -> DomainRefused:
    return DomainRefused(
        f"The values of `{shown(node)}` cannot be listed: {why[:1].lower()}{why[1:]}",
        remedy="Make them few that are known: CAST(FLOOR(x / 100) AS INTEGER) of a number with bounds, CASE with "
        "literals, or a code list in the catalog. HISTOGRAM(x, [10, 20, 50]) needs none.",
        position=position_of(node),
    )


def _steps_from_first(reading: Reading, values: pa.Array) -> exp.Expr | None:
    """How far a row's value is from the first, where values are whole steps without a gap; None where they are not.

    Rows lie within the bounds that are known, so nothing overflows and no date is infinite.
    """
    kind, facts = reading.facts.type, reading.facts
    if kind not in ("BIGINT", "DATE") or not facts.bounded:
        return None
    first, last = values[0].as_py(), values[-1].as_py()
    if _ordinal(last) - _ordinal(first) != len(values) - 1:
        return None
    if kind == "DATE":
        return exp.DateDiff(this=reading.sql.copy(), expression=_literal(first, kind), unit=exp.var("DAY"))
    return exp.Sub(this=grouped(cast(reading.sql.copy(), "BIGINT")), expression=number(first))


def _literal(value: str | bool | float | dt.date, kind: str) -> exp.Expr:
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    if isinstance(value, int | float):
        return number(value)
    text = exp.Literal.string(str(value))
    return text if kind == "VARCHAR" else cast(text, kind)
