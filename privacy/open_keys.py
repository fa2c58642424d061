"""Group keys without a public domain: when they are answered, and the form in which rows are grouped by them.

The form is a public rule that holds for every value a row can have, so that no value makes grouping, sorting or sending
fail, and values that are equal make one group:

    VARCHAR           cut to its first 128 characters
    DOUBLE            NULL where it is no finite number; −0.0 is 0.0
    DATE, TIMESTAMP   NULL outside of the years 1 to 9999
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
from sqlglot import exp

from privacy.domains import ARROW_TYPES, Cells
from privacy.errors import DomainRefused
from privacy.expressions.rules import cast, integer
from privacy.fragment import MAX_CELLS
from privacy.measures import RawMeasure
from privacy.split import Split
from privacy.stability import choose_bounding
from privacy.thresholds import SMALLEST_DELTA

KEY_CHARACTERS = 128
_KEY_BYTES = 16 * 2**20  # of the texts of one release, so that it fits a message
_LONGEST_BYTES = 4 * KEY_CHARACTERS  # of one text in UTF-8


def check_open(cut: Split, *, delta: float, refusal: DomainRefused) -> None:
    """Whether a threshold may decide on the groups of `cut`, for which no public list exists as `refusal` says.

    Raises:
        DomainRefused: δ is 0, or a key looks at the unit's identifier.
    """
    columns = [column for key in cut.keys for column in key.reading.sql.find_all(exp.Column)]
    if any(cut.relation.column(column).facts.identifier for column in columns):
        raise refusal
    if delta < SMALLEST_DELTA:
        remedy = f"{refusal.remedy} With delta > 0 such groups are answered where enough people share them."
        raise DomainRefused(refusal.message, remedy=remedy, position=refusal.position)


def count_units(cut: Split) -> Split:
    """`cut` with a measure that counts the distinct units of each group, which is to decide.

    COUNT(*) is one where only one row of a unit counts in a group; else one more measure is needed.
    """
    bounding = choose_bounding(cut.relation, cut.keys, cells=None)
    for raw in cut.measures:
        if raw.input is None and (raw.kind == "units" or (raw.kind == "count" and bounding.max_rows == 1)):
            return replace(cut, decides=raw.name)
    label = f"distinct {cut.relation.owned.unit}s"
    units = RawMeasure(f"m{len(cut.measures)}", label, "units", None, 0, 1, weight=None, grid=1.0, centre=0)
    return replace(cut, measures=(*cut.measures, units), decides=units.name)


def open_cells(types: Sequence[str]) -> Cells:
    """No cells, in the schema that a release with keys of `types` has."""
    schema = pa.schema([pa.field(f"k{number}", ARROW_TYPES[kind]) for number, kind in enumerate(types)])
    digest = hashlib.sha256(f"open: {', '.join(types)}".encode()).hexdigest()
    return Cells(schema.empty_table(), 0, digest, listed=False)


def most_groups(types: Sequence[str], *, numbers: int) -> int:
    """How many groups one release may have, each of so many `numbers`."""
    texts = sum(kind == "VARCHAR" for kind in types)
    return max(1, min(MAX_CELLS // numbers, _KEY_BYTES // (texts * _LONGEST_BYTES) if texts else MAX_CELLS))


def open_form(key: exp.Expr, kind: str) -> exp.Expr:
    """`key`, which is in total form and of type `kind`, as rows are grouped by it.

    Before: `visits.cost`
    After:  `CASE WHEN visits.cost = 0 THEN CAST(0 AS DOUBLE) WHEN ISFINITE(visits.cost) THEN visits.cost END`
    """
    if kind == "VARCHAR":
        return exp.Left(this=key, expression=integer(KEY_CHARACTERS))
    if kind == "DOUBLE":
        return exp.Case(
            ifs=[
                exp.If(this=exp.EQ(this=key, expression=integer(0)), true=cast(integer(0), "DOUBLE")),
                exp.If(this=exp.func("ISFINITE", key.copy()), true=key.copy()),
            ]
        )
    if kind in ("DATE", "TIMESTAMP"):
        first, last = (cast(exp.Literal.string(day), "DATE") for day in ("0001-01-01", "9999-12-31"))
        return exp.Case(ifs=[exp.If(this=exp.Between(this=key, low=first, high=last), true=key.copy())])
    return cast(key, "INTEGER" if kind == "NULL" else kind)
