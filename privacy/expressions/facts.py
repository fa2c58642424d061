"""What is known about an expression for every possible row, from the catalog alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sqlglot import exp

Number = int | float

INTEGER_LIMIT = 2**62  # integer arithmetic that may leave ± this is done in DOUBLE, which cannot overflow into an error


@dataclass(frozen=True)
class Facts:
    """Type and bounds of an expression.

    Attributes:
        type: BOOLEAN, BIGINT, DOUBLE, VARCHAR, DATE, TIMESTAMP, or NULL for a bare NULL; of aggregates also a list or
            a MAP of these, `DOUBLE[]` or `MAP(VARCHAR, BIGINT)`.
        low, high: least and greatest value of a number; of a DATE as proleptic ordinal; ±inf where unbounded. Where
            both are finite the value is finite on every row: no NaN, no ∞.
        nullable: whether it may be NULL.
        identifier: whose own identifier it is, for example `person`, which may be compared and nothing else; empty
            where it is none.
        narrow: DuckDB would compute it as a 32-bit INTEGER, so arithmetic on it must be widened first.
    """

    type: str
    low: Number = -math.inf
    high: Number = math.inf
    nullable: bool = False
    identifier: str = ""
    narrow: bool = False

    def __post_init__(self) -> None:
        if self.type != "DOUBLE":
            return
        # It may be NaN (∞ − ∞), which is on neither side of any bound: half an interval would be a false promise.
        # Integers are rounded to DOUBLE as the engine rounds them: 2^62 − 1 becomes 2^62 there.
        low, high = (float(self.low), float(self.high)) if self.bounded else (-math.inf, math.inf)
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    @property
    def is_number(self) -> bool:
        return self.type in ("BIGINT", "DOUBLE")

    @property
    def bounded(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def fits_integer(self) -> bool:
        return -INTEGER_LIMIT <= self.low <= self.high <= INTEGER_LIMIT

    def or_null(self) -> Facts:
        return replace(self, nullable=True)


def list_of(item: str) -> str:
    """The type of a list."""
    return f"{item}[]"


def item_of(kind: str) -> str | None:
    """The type of the items of a list; None where `kind` is none."""
    return kind.removesuffix("[]") if kind.endswith("[]") else None


def map_of(key: str, value: str) -> str:
    """The type of a MAP."""
    return f"MAP({key}, {value})"


def parts_of(kind: str) -> tuple[str, str] | None:
    """The types of the keys and of the values of a MAP; None where `kind` is none."""
    if not kind.startswith("MAP("):
        return None
    key, _, value = kind[4:-1].partition(", ")
    return key, value


@dataclass(frozen=True)
class Reading:
    """An expression in total form (no input makes it fail), with its facts.

    Attributes:
        minus_zero: a DOUBLE that may be −0.0; the reader of rows makes 0.0 of that.
    """

    sql: exp.Expr
    facts: Facts
    minus_zero: bool = False


def hull(*parts: Facts) -> tuple[Number, Number]:
    """The least interval that holds all of `parts`."""
    return min(part.low for part in parts), max(part.high for part in parts)
