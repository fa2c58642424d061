"""The regional standard: tables, columns, bounds, domains and privacy units, all of them public.

One TOML document. Bounds, domains and limits come from here and never from data (design.md §3).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from privacy.located_toml import parse_toml

ColumnType = Literal["BOOLEAN", "INTEGER", "BIGINT", "DOUBLE", "VARCHAR", "DATE"]
Value = bool | int | float | str | dt.date | None
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]

PROVINCE = "province"  # the pseudo-column that every private table has
ENUMERABLE_VALUES = 10_000  # an integer or date range up to here can be a group key
_NUMBERS = ("INTEGER", "BIGINT", "DOUBLE")
_LARGEST = 2**53  # integers up to here are exact as DOUBLE too


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Description(_Model):
    """What a table or column holds, in the two languages of the region."""

    en: str
    zh: str


class Column(_Model):
    """One column of the standard.

    Attributes:
        bounds: least and greatest value of a number; values outside are clamped.
        grid: the step to which a DOUBLE is rounded before it is summed.
        values: the code list of a key.
        references: `table.column` of a public table whose values are the domain.
        range: first and last DATE; dates outside are clamped.
        nullable: whether NULL is a legitimate value.
        fixed_per_unit: whether one unit has the same value in all its rows, so that it falls in one group.
    """

    type: ColumnType
    description: Description
    bounds: tuple[float, float] | None = None
    grid: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    values: tuple[str, ...] | None = None
    references: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")] | None = None
    range: tuple[dt.date, dt.date] | None = None
    nullable: bool = False
    fixed_per_unit: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        number = self.type in _NUMBERS
        for name, allowed in (
            ("bounds", number),
            ("grid", self.type == "DOUBLE"),
            ("values", self.type == "VARCHAR"),
            ("range", self.type == "DATE"),
        ):
            if getattr(self, name) is not None and not allowed:
                raise ValueError(f"`{name}` does not go with type {self.type}")
        if self.bounds is not None:
            low, high = self.bounds
            if not -_LARGEST <= low <= high <= _LARGEST:
                raise ValueError("bounds must be [least, greatest], both within ±2^53")
            if self.type != "DOUBLE" and (low != int(low) or high != int(high)):
                raise ValueError(f"bounds of type {self.type} must be integers")
        if self.type == "DOUBLE" and self.bounds is not None and self.grid is None:
            raise ValueError("a DOUBLE with bounds needs a `grid`, the step to which it is rounded before it is summed")
        if self.values is not None and (not self.values or len(set(self.values)) != len(self.values)):
            raise ValueError("`values` must be a list of distinct codes, at least one")
        if self.values is not None and self.references is not None:
            raise ValueError("give `values` or `references`, not both")
        if self.range is not None and self.range[0] > self.range[1]:
            raise ValueError("range must be [first, last]")
        return self

    def domain(self) -> tuple[Value, ...] | None:
        """All the values that the column may hold, NULL last where it may be NULL; None where there is no finite list.

        Columns with `references` take their domain from the catalog: see `Catalog.domain`.
        """
        found = self._values()
        return None if found is None else (*found, None) if self.nullable else found

    def _values(self) -> tuple[Value, ...] | None:
        if self.type == "BOOLEAN":
            return (False, True)
        if self.values is not None:
            return self.values
        if self.bounds is not None and self.type != "DOUBLE":
            low, high = int(self.bounds[0]), int(self.bounds[1])
            return tuple(range(low, high + 1)) if high - low < ENUMERABLE_VALUES else None
        if self.range is not None:
            first, days = self.range[0], (self.range[1] - self.range[0]).days
            return tuple(first + dt.timedelta(days=n) for n in range(days + 1)) if days < ENUMERABLE_VALUES else None
        return None


class PublicTable(_Model):
    """A table that everybody may read; its rows are part of the standard."""

    access: Literal["public"]
    description: Description
    columns: dict[Name, Column]
    rows: tuple[tuple[Value, ...], ...]

    @field_validator("rows", mode="after")
    @classmethod
    def _some(cls, rows: tuple[tuple[Value, ...], ...]) -> tuple[tuple[Value, ...], ...]:
        if not rows:
            raise ValueError("a public table needs rows")
        return rows

    @model_validator(mode="after")
    def _rectangular(self) -> Self:
        for number, row in enumerate(self.rows, start=1):
            if len(row) != len(self.columns):
                raise ValueError(f"row {number} has {len(row)} values for {len(self.columns)} columns")
            for value, (name, column) in zip(row, self.columns.items(), strict=True):
                if not _fits(value, column.type):
                    raise ValueError(f"row {number}: {value!r} is no {column.type} for column `{name}`")
        return self

    def values(self, column: str) -> tuple[Value, ...]:
        """The values of one column, row by row."""
        place = list(self.columns).index(column)
        return tuple(row[place] for row in self.rows)


class PrivateTable(_Model):
    """A table whose rows stay in their province.

    Attributes:
        unit: whose privacy it is, for example `person`.
        unit_column: the column that identifies the unit.
        span: the most nodes that may hold rows of one unit, or `all`.
        rows_per_unit: the most rows that a unit has at a node, where that is sure; bounding is then not needed.
        max_rows: the most rows of one unit that count in one group.
        max_groups: the most groups that one unit may touch at one node.
        key: columns that tell the rows of one unit at one node apart; joins on them do not multiply the limits.
    """

    access: Literal["private"]
    description: Description
    unit: Name
    unit_column: Name
    span: Annotated[int, Field(ge=1)] | Literal["all"]
    rows_per_unit: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_rows: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_groups: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    key: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    columns: dict[Name, Column]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.unit_column not in self.columns:
            raise ValueError(f"`unit_column` {self.unit_column!r} is not among the columns")
        identifier = self.columns[self.unit_column]
        if identifier.type not in ("BIGINT", "INTEGER", "VARCHAR"):
            raise ValueError(f"`unit_column` {self.unit_column!r} must be BIGINT, INTEGER or VARCHAR")
        if PROVINCE in self.columns:
            raise ValueError(f"`{PROVINCE}` is the pseudo-column that weir adds; name the column otherwise")
        unknown = next((name for name in self.key or () if name not in self.columns), None)
        if unknown is not None:
            raise ValueError(f"`key` names {unknown!r}, which is not among the columns")
        if self.rows_per_unit is None and (self.max_rows is None or self.max_groups is None):
            raise ValueError("give `max_rows` and `max_groups`, or `rows_per_unit`")
        if self.rows_per_unit is not None and (self.max_rows is not None or self.max_groups is not None):
            raise ValueError("`rows_per_unit` leaves nothing for `max_rows` and `max_groups` to limit")
        return self


Table = Annotated[PrivateTable | PublicTable, Field(discriminator="access")]


class Region(_Model):
    """The federation that shares the standard."""

    name: str
    version: str
    description: Description
    provinces: Annotated[tuple[Name, ...], Field(min_length=1)]

    @field_validator("provinces")
    @classmethod
    def _distinct(cls, provinces: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(provinces)) != len(provinces):
            raise ValueError("provinces must be distinct")
        return provinces


class Catalog(_Model):
    """The whole standard."""

    region: Region
    tables: dict[Name, Table]

    @model_validator(mode="after")
    def _references(self) -> Self:
        if not self.tables:
            raise ValueError("a catalog needs tables")
        for table_name, table in self.tables.items():
            if isinstance(table, PrivateTable) and table.span != "all" and table.span > len(self.region.provinces):
                raise ValueError(f"`span` of `{table_name}` exceeds the number of provinces; write `all`")
            for name, column in table.columns.items():
                if column.references is not None:
                    self._check_reference(f"{table_name}.{name}", column)
        return self

    def _check_reference(self, path: str, column: Column) -> None:
        target, _, target_column = str(column.references).partition(".")
        public = self.tables.get(target)
        if not isinstance(public, PublicTable) or target_column not in public.columns:
            raise ValueError(f"`{path}` references `{column.references}`, which is no column of a public table")
        if public.columns[target_column].type != column.type:
            raise ValueError(f"`{path}` and `{column.references}` differ in type")

    @property
    def private_tables(self) -> dict[str, PrivateTable]:
        return {name: table for name, table in self.tables.items() if isinstance(table, PrivateTable)}

    @property
    def public_tables(self) -> dict[str, PublicTable]:
        return {name: table for name, table in self.tables.items() if isinstance(table, PublicTable)}

    def domain(self, column: Column) -> tuple[Value, ...] | None:
        """All the values that `column` may hold, through its reference where it has one; None where unlimited."""
        if column.references is None:
            return column.domain()
        target, _, name = column.references.partition(".")
        public = self.tables[target]
        assert isinstance(public, PublicTable)
        found = tuple(dict.fromkeys(value for value in public.values(name) if value is not None))
        return (*found, None) if column.nullable else found

    def span(self, table: PrivateTable) -> int:
        """The most nodes that hold rows of one unit, as a number."""
        return len(self.region.provinces) if table.span == "all" else table.span

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the standard's content, the same for every spelling of the TOML; 64 hexadecimal digits."""
        content: Any = self.model_dump(mode="json")
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _fits(value: Value, type_name: ColumnType) -> bool:
    if value is None:
        return True
    kinds: dict[str, type | tuple[type, ...]] = {
        "BOOLEAN": bool,
        "INTEGER": int,
        "BIGINT": int,
        "DOUBLE": (int, float),
        "VARCHAR": str,
        "DATE": dt.date,
    }
    return isinstance(value, kinds[type_name]) and (type_name == "BOOLEAN" or not isinstance(value, bool))


def parse_catalog(text: str, *, source: str) -> Catalog:
    """The catalog in TOML `text`.

    Raises:
        ConfigError: names the key and the line of the first fault.
    """
    return parse_toml(text, Catalog, source=source)
