"""What is asked of every engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

EPSILON = 1.0
DELTA = 1e-9
# No person in the table has more, so what is measured is noise alone.
MAX_ROWS = 2
MAX_GROUPS = 3
HIGHEST_COST, HIGHEST_AGE = 1000, 100
KINDS = ("outpatient", "inpatient", "emergency", "checkup", "test")
HOSPITALS = tuple(f"{letters}{number:02}" for letters in ("SH", "JS", "ZJ", "AH") for number in range(1, 6))
KEYS = {"kind": KINDS, "hospital": HOSPITALS}


@dataclass(frozen=True)
class Measure:
    """A column of numbers from 0 to `highest` in steps of `grid`; integers where that is 1."""

    highest: int
    grid: float

    @property
    def sql_type(self) -> str:
        return "INTEGER" if self.grid == 1 else "DOUBLE"


@dataclass(frozen=True)
class Subject:
    """A table as every engine is told of it: whose the rows are, keys with their values, bounds, limits."""

    name: str
    unit: str
    keys: Mapping[str, tuple[str, ...]]
    measures: Mapping[str, Measure]
    max_rows: int
    max_groups: int


VISITS = Subject(
    "visits",
    "person_id",
    KEYS,
    {"cost": Measure(HIGHEST_COST, 0.01), "age": Measure(HIGHEST_AGE, 1)},
    MAX_ROWS,
    MAX_GROUPS,
)


@dataclass(frozen=True)
class Column:
    """A column of the answer: `aggregate` of `of`, all rows where that is None."""

    name: str
    aggregate: Literal["COUNT", "SUM", "AVG"]
    of: str | None

    @property
    def sql(self) -> str:
        return f"{self.aggregate}({self.of or '*'})"


@dataclass(frozen=True)
class Case:
    """One query: `columns` for each value of `key`."""

    name: str
    key: str
    columns: tuple[Column, ...]
    table: str = VISITS.name

    @property
    def sql(self) -> str:
        shown = ", ".join(f"{column.sql} AS {column.name}" for column in self.columns)
        return f"SELECT {self.key}, {shown} FROM {self.table} GROUP BY {self.key} ORDER BY {self.key}"

    @property
    def is_multi_measure(self) -> bool:
        return len(self.columns) > 1


_N = Column("n", "COUNT", None)
_SUM, _AVG, _AGE = Column("s", "SUM", "cost"), Column("c", "AVG", "cost"), Column("a", "AVG", "age")
_QUERIES = ((_N,), (_SUM,), (_AVG,), (_N, _SUM, _AVG), (_N, _AVG, _AGE))
CASES = tuple(
    Case(f"{', '.join(column.sql for column in columns)} by {key}", key, columns)
    for key in KEYS
    for columns in _QUERIES
)
