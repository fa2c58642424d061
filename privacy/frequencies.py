"""COUNT(DISTINCT x), HISTOGRAM(x) and MODE(x): what is read off the noisy counts of single values.

Each row adds 1 to one bin, so one unit moves a flat histogram as far as it moves a count. What is read off is
post-processing: see privacy/histograms.py and privacy/presence.py.
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from privacy.bins import range_bins
from privacy.errors import ConstructRefused
from privacy.expressions import Facts, Reading
from privacy.expressions.facts import map_of
from privacy.expressions.rules import cast
from privacy.measures import COUNT_FACTS, Lowered, MeasureBook
from privacy.positions import position_of, shown


def count_distinct(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    """COUNT(DISTINCT person_id), of the unit's identifier; or of any expression whose values can be listed.

    APPROX_COUNT_DISTINCT(x) is the same.
    """
    values = node.this.expressions if isinstance(node.this, exp.Distinct) else [node.this]
    if len(values) != 1:
        raise ConstructRefused(
            f"`{shown(node)}`: distinct values of one expression can be counted",
            remedy="Write COUNT(DISTINCT person_id), with the unit's identifier; or group by the columns.",
            position=position_of(node),
        )
    if book.reader.read(values[0]).facts.identifier:
        measure = book.units(values[0], kept, label=shown(node))
        return Lowered(Reading(exp.column(measure.name), COUNT_FACTS), {measure.name: 1.0})
    bins = book.bins_of_values(values[0])
    facts = Facts("BIGINT", 0, len(bins.values))
    found = book.read_off(node, bins, "distinct", kept, facts=facts)
    return replace(found, reading=Reading(cast(found.reading.sql, "BIGINT"), facts))


def histogram(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    """HISTOGRAM(x), and HISTOGRAM(x, [10, 20, 50]): a MAP of values, or of upper boundaries, to counts."""
    value, *boundaries = node.expressions
    bins = range_bins(value, boundaries[0], book.reader) if boundaries else book.bins_of_values(value)
    kind = map_of(book.reader.value(value).facts.type, "BIGINT")
    return book.read_off(node, bins, "counts", kept, facts=Facts(kind, nullable=True))


def mode(book: MeasureBook, node: exp.Expr, kept: exp.Expr | None) -> Lowered:
    """MODE(x)."""
    bins = book.bins_of_values(node.this)
    facts = replace(book.reader.value(node.this).facts, nullable=True, narrow=False)
    return book.read_off(node, bins, "mode", kept, facts=facts)
