"""Aggregates of the query → mergeable measures and an expression over them: the table of what is answered."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.expressions import Facts, Reading
from privacy.expressions.comparisons import condition
from privacy.expressions.facts import list_of
from privacy.expressions.rules import integer
from privacy.frequencies import count_distinct, histogram, mode
from privacy.measures import COUNT_FACTS, Lowered, MeasureBook
from privacy.moments import correlation, covariance, deviation, intercept, slope, variance
from privacy.positions import position_of, shown

Lower = Callable[[MeasureBook, exp.Expr, exp.Expr | None], Lowered]


def is_aggregate(node: exp.Expr) -> bool:
    """Whether `node` is an aggregate call, with its FILTER where it has one."""
    return isinstance(node, exp.AggFunc | exp.Filter | exp.WithinGroup)


def lower(node: exp.Expr, book: MeasureBook) -> Lowered:
    """The expression over merged measures that stands for aggregate `node`; its measures are noted in `book`.

    Raises:
        ConstructRefused: an aggregate that is not answered.
        BoundsRefused: a value without bounds.
    """
    kept, aggregate = _filtered(node)
    rule = _AGGREGATES.get(type(aggregate))
    if rule is None or not _is_plain(aggregate):
        raise _not_answered(node, aggregate)
    _refuse_nesting(node, aggregate)
    filtered = condition(book.reader, kept).sql if kept is not None else None
    return rule(book, aggregate, filtered)


def _count(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    if isinstance(node.this, exp.Distinct):
        return count_distinct(book, node, kept)
    measure = book.count(node.this, kept, label=shown(node))
    return Lowered(Reading(exp.column(measure.name), COUNT_FACTS), {measure.name: 1.0})


def _count_if(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    test = condition(book.reader, node.this).sql
    both = test if kept is None else exp.and_(kept, test)
    measure = book.count(exp.Star(), both, label=shown(node))
    return Lowered(Reading(exp.column(measure.name), COUNT_FACTS), {measure.name: 1.0})


def _any(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    """BOOL_OR(c): the noisy count of rows in which c is true is at least 1."""
    counted = _count_if(book, node, kept)
    return replace(counted, reading=_compared(exp.GTE, counted))


def _all(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    """BOOL_AND(c): the noisy count of rows in which c is false is less than 1."""
    counted = _count_if(book, exp.CountIf(this=exp.Not(this=exp.Paren(this=node.this.copy()))), kept)
    return replace(counted, reading=_compared(exp.LT, counted))


def _compared(comparison: type[exp.Binary], counted: Lowered) -> Reading:
    return Reading(comparison(this=counted.reading.sql, expression=integer(1)), Facts("BOOLEAN"))


def _sum(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    return book.total(node.this, kept, label=shown(node))


def _average(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    return book.mean(node.this, kept, label=shown(node))


def _median(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    return book.quantile(node.this, 0.5, kept, label=shown(node))


def _least(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    return book.quantile(node.this, "least", kept, label=shown(node))


def _greatest(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    return book.quantile(node.this, "greatest", kept, label=shown(node))


def _quantile(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    """QUANTILE_CONT(x, p), QUANTILE_DISC(x, p), APPROX_QUANTILE(x, p): p is a literal from 0 to 1, or a list."""
    fraction = node.args.get("quantile") or node.args.get("expression")
    if isinstance(fraction, exp.Array) and 0 < len(fraction.expressions) <= _MOST_FRACTIONS:
        ranks = [_rank(node, item) for item in fraction.expressions]
        return _listed([book.quantile(node.this, rank, kept, label=shown(node)) for rank in ranks])
    return book.quantile(node.this, _rank(node, fraction), kept, label=shown(node))


def _listed(values: Sequence[Lowered]) -> Lowered:
    """A LIST of quantiles of one histogram, NULL where there are no rows and so each of them is."""
    none = exp.Is(this=values[0].reading.sql.copy(), expression=exp.Null())
    items = exp.Array(expressions=[value.reading.sql for value in values])
    facts = Facts(list_of("DOUBLE"), nullable=True)
    reading = Reading(exp.Case(ifs=[exp.If(this=none, true=exp.Null())], default=items), facts)
    return Lowered(reading, values[0].importance)


_MOST_FRACTIONS = 100


def _rank(node: exp.Expr, fraction: exp.Expr | None) -> float:
    number = isinstance(fraction, exp.Literal) and not fraction.is_string
    rank = float(fraction.name) if number and fraction is not None else math.nan
    if not 0 <= rank <= 1:
        raise ConstructRefused(
            f"`{shown(node)}`: the fraction must be a literal from 0 to 1, or a list of up to {_MOST_FRACTIONS}",
            remedy="Write for example QUANTILE_CONT(x, 0.9) or QUANTILE_CONT(x, [0.25, 0.5, 0.75]).",
            position=position_of(node),
        )
    return rank


def _within_group(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    """PERCENTILE_CONT(p) WITHIN GROUP (ORDER BY x), and MODE() WITHIN GROUP (ORDER BY x)."""
    order, inner = node.expression, node.this
    plain = (
        isinstance(order, exp.Order) and len(order.expressions) == 1 and isinstance(inner, (*_PERCENTILES, exp.Mode))
    )
    term = order.expressions[0] if plain else None
    if not isinstance(term, exp.Ordered) or term.args.get("desc") or inner.args.get("expression"):
        raise _not_answered(node, node)
    if isinstance(inner, exp.Mode):
        return mode(book, exp.Mode(this=term.this), kept)
    return _quantile(book, type(inner)(this=term.this, expression=inner.this), kept)


_PERCENTILES = (exp.PercentileCont, exp.PercentileDisc)
_AGGREGATES: dict[type[exp.Expr], Lower] = {
    exp.Count: _count,
    exp.CountIf: _count_if,
    exp.LogicalOr: _any,
    exp.LogicalAnd: _all,
    exp.Sum: _sum,
    exp.Avg: _average,
    exp.Variance: variance,
    exp.VariancePop: variance,
    exp.Stddev: deviation,
    exp.StddevSamp: deviation,
    exp.StddevPop: deviation,
    exp.CovarPop: covariance,
    exp.CovarSamp: covariance,
    exp.Corr: correlation,
    exp.RegrSlope: slope,
    exp.RegrIntercept: intercept,
    exp.Median: _median,
    exp.Min: _least,
    exp.Max: _greatest,
    exp.PercentileCont: _quantile,
    exp.PercentileDisc: _quantile,
    exp.Quantile: _quantile,
    exp.ApproxQuantile: _quantile,
    exp.WithinGroup: _within_group,
    exp.ApproxDistinct: count_distinct,
    exp.Mode: mode,
    exp.AnonymousAggFunc: histogram,  # spellings.py makes no other
}
_SECOND: dict[type[exp.Expr], set[str]] = {  # what else an aggregate may be given
    exp.CovarPop: {"expression"},
    exp.CovarSamp: {"expression"},
    exp.Corr: {"expression"},
    exp.RegrSlope: {"expression"},
    exp.RegrIntercept: {"expression"},
    exp.PercentileCont: {"expression"},
    exp.PercentileDisc: {"expression"},
    exp.Quantile: {"quantile"},
    exp.ApproxQuantile: {"quantile"},
    exp.WithinGroup: {"expression"},
    exp.AnonymousAggFunc: {"expressions"},
}
_ANSWERED = (
    "COUNT(*), COUNT(x), COUNT(DISTINCT x), COUNT_IF(condition), BOOL_OR, BOOL_AND, SUM(x), AVG(x), MIN, MAX, "
    "MEDIAN, QUANTILE_CONT(x, 0.9), MODE, HISTOGRAM, VARIANCE, STDDEV, COVAR_POP, COVAR_SAMP, CORR, REGR_SLOPE or "
    "REGR_INTERCEPT, with FILTER (WHERE …) if need be"
)


def _filtered(node: exp.Expr) -> tuple[exp.Expr | None, exp.Expr]:
    if isinstance(node, exp.Filter):
        return node.expression.this, node.this
    return None, node


def _is_plain(aggregate: exp.Expr) -> bool:
    given = {name for name, value in aggregate.args.items() if value not in (None, [], False)}
    known = {"this", "big_int"} | _SECOND.get(type(aggregate), set())
    refused = exp.Order if isinstance(aggregate, exp.Count) else exp.Order | exp.Distinct
    return not given - known and not any(isinstance(value, refused) for value in _arguments(aggregate))


def _arguments(aggregate: exp.Expr) -> list[exp.Expr]:
    """What it is about."""
    arguments = aggregate.expressions if isinstance(aggregate, exp.AnonymousAggFunc) else [aggregate.this]
    return [argument for argument in arguments if isinstance(argument, exp.Expr)]


def _not_answered(node: exp.Expr, aggregate: exp.Expr) -> ConstructRefused:
    name = aggregate.sql_name() if isinstance(aggregate, exp.Func) else aggregate.key.upper()
    if isinstance(aggregate, exp.AnonymousAggFunc):
        name = aggregate.name
    return ConstructRefused(
        f"`{shown(node)}`: this form of {name} is not answered", remedy=f"Use {_ANSWERED}.", position=position_of(node)
    )


def _refuse_nesting(node: exp.Expr, aggregate: exp.Expr) -> None:
    # PERCENTILE_CONT(p) WITHIN GROUP (ORDER BY x) is one aggregate in two nodes; its value stands in ORDER BY.
    values = [aggregate.expression] if isinstance(aggregate, exp.WithinGroup) else _arguments(aggregate)
    nested = any(value.find(exp.AggFunc, exp.Window) for value in values)
    star = any(isinstance(value, exp.Star) for value in values) and not isinstance(aggregate, exp.Count)
    if nested or star:
        raise ConstructRefused(
            f"`{shown(node)}` cannot be aggregated",
            remedy="Aggregate a column or an expression over one row.",
            position=position_of(node),
        )
