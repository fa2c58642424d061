"""The views through which queries see local data: regional names, standard types, every value within its bounds.

A view is total: whatever a row holds, it gives a value of the standard or NULL, never an error.

    cost_yuan DOUBLE, bounds [0, 1000]
    → CASE WHEN "cost_yuan" BETWEEN 0.0 AND 1000.0 THEN "cost_yuan"
           WHEN "cost_yuan" < 0.0 THEN 0.0 WHEN NOT isnan("cost_yuan") THEN 1000.0 END + 0.0 AS "cost"

The first branch takes nearly every row, so that DuckDB skips the others (measured against LEAST and GREATEST, which
also ignore NULLs and would turn them into a bound).
"""

from __future__ import annotations

from typing import Literal

from node.sources import identifier
from privacy.catalog import Column, PrivateTable

Conversion = Literal["same", "cast", "try"]

_SMALL = frozenset({"TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER"})
_INTEGERS = _SMALL | {"BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT"}
_FRACTIONS = frozenset({"DECIMAL", "FLOAT", "DOUBLE"})
_CAST = {  # a cast that no value can fail
    "BOOLEAN": _SMALL | {"BIGINT"},
    "BIGINT": _SMALL | {"BOOLEAN"},
    "DOUBLE": _INTEGERS | {"DECIMAL", "FLOAT"},
    "VARCHAR": _INTEGERS | {"ENUM", "BOOLEAN", "DATE", "UUID"},
    "DATE": frozenset[str](),
}
_TRY = {  # a cast that some values fail: those become NULL
    "BOOLEAN": frozenset({"VARCHAR"}),
    "BIGINT": _INTEGERS | _FRACTIONS | {"VARCHAR"},
    "DOUBLE": frozenset({"VARCHAR"}),
    "VARCHAR": frozenset[str](),
    "DATE": frozenset({"VARCHAR", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}),
}


# Years that every engine, Arrow and Python can hold; DuckDB fails to make a TIMESTAMP of its own farthest dates.
_FIRST_DAY, _LAST_DAY = "DATE '0001-01-01'", "DATE '9999-12-31'"


def engine_type(column: Column) -> str:
    """The DuckDB type of `column` in a view: integers are BIGINT, so that arithmetic on them has room."""
    return "BIGINT" if column.type == "INTEGER" else column.type


def conversion(column: Column, local_type: str, *, is_unit: bool) -> Conversion | None:
    """How a local value becomes one of the standard; None where no sound way exists."""
    target, base = engine_type(column), local_type.split("(")[0]
    if "[" in local_type or (is_unit and base in _FRACTIONS):
        return None  # a rounded identifier would make one unit of two
    if base == target:
        return "same"
    if base in _CAST[target]:
        return "cast"
    return "try" if base in _TRY[target] else None


def standard_value(column: Column, local_name: str, local_type: str, *, is_unit: bool) -> str:
    """SQL that gives the value of the standard for the local column `local_name`; see `conversion`."""
    raw, target = identifier(local_name), engine_type(column)
    how = conversion(column, local_type, is_unit=is_unit)
    if is_unit:
        return _identifying(raw, target, local_type, how)
    if target == "BIGINT" and column.bounds is not None:
        return _bounded_integer(column.bounds, raw, local_type, how)
    value = converted(raw, target, how)
    if target == "DOUBLE":
        bounds = column.bounds and tuple(f"CAST({bound + 0.0!r} AS DOUBLE)" for bound in column.bounds)
        return _one_zero(_clamped(value, *bounds, nan=True) if bounds else _finite(value))
    if target == "DATE":
        days = column.range and tuple(f"DATE '{day.isoformat()}'" for day in column.range)
        return (
            _clamped(value, *days)
            if days
            else f"CASE WHEN {value} BETWEEN {_FIRST_DAY} AND {_LAST_DAY} THEN {value} END"
        )
    return value


def _identifying(raw: str, target: str, local_type: str, how: Conversion | None) -> str:
    """An identifier as it is, or NULL: clamped or rounded ones would make one unit of many."""
    value = converted(raw, target, how)
    if target == "BIGINT" and local_type.split("(")[0] == "VARCHAR":  # a cast would round '7.4' to 7
        return f"CASE WHEN regexp_full_match({raw}, '\\s*[+-]?[0-9]+\\s*') THEN {value} END"
    return value


def _bounded_integer(bounds: tuple[float, float], raw: str, local_type: str, how: Conversion | None) -> str:
    low, high = (str(int(bound)) for bound in bounds)
    if how == "try":  # through DOUBLE, which holds 1e308 and ±inf too; bounds within ±2^53 are exact there
        return _clamped(f"TRY_CAST({raw} AS DOUBLE)", low, high, nan=True, target="BIGINT")
    return _clamped(raw if local_type != "BOOLEAN" else f"CAST({raw} AS BIGINT)", low, high, target="BIGINT")


def converted(raw: str, target: str, how: Conversion | None) -> str:
    """SQL that converts `raw` to `target` in the way `how`."""
    assert how is not None, "structure.py lets no such column through"
    return {"same": raw, "cast": f"CAST({raw} AS {target})", "try": f"TRY_CAST({raw} AS {target})"}[how]


def convertible(column: Column, local_name: str) -> str:
    """SQL that is NULL for values of `local_name` that are not of the declared type; only where they are tried."""
    # Bounded integers go through DOUBLE, which holds 1e308 and ±inf too.
    through_double = column.bounds is not None
    return converted(identifier(local_name), "DOUBLE" if through_double else engine_type(column), "try")


def _clamped(value: str, low: str, high: str, *, nan: bool = False, target: str | None = None) -> str:
    inside = f"CAST({value} AS {target})" if target else value
    above = f"NOT isnan({value})" if nan else f"{value} > {high}"
    outside = f"WHEN {value} < {low} THEN {low} WHEN {above} THEN {high}"
    return f"CASE WHEN {value} BETWEEN {low} AND {high} THEN {inside} {outside} END"


def _one_zero(value: str) -> str:
    """0.0 for −0.0, which is equal to it: of equal values one stands for both, and which one hangs on all rows."""
    return f"{value} + CAST(0 AS DOUBLE)"


def _finite(value: str) -> str:
    return f"CASE WHEN isfinite({value}) THEN {value} END"


def view(
    name: str,
    table: PrivateTable,
    columns: dict[str, str],
    types: dict[str, str],
    scanned: str,
    *,
    drop_null_units: bool,
) -> str:
    """The CREATE VIEW statement of a private table.

    Args:
        columns: standard name → local name.
        types: local name → DuckDB type.
        scanned: what stands behind FROM.
        drop_null_units: whether rows may lack a unit; the guarantee cannot cover them. Without such rows the filter
            is left out, because it makes the engine read the identifiers even where no query needs them.
    """
    values = {
        standard: standard_value(
            column, columns[standard], types[columns[standard]], is_unit=standard == table.unit_column
        )
        for standard, column in table.columns.items()
    }
    selected = ", ".join(f"{value} AS {identifier(standard)}" for standard, value in values.items())
    only = f" WHERE {values[table.unit_column]} IS NOT NULL" if drop_null_units else ""
    return f"CREATE OR REPLACE VIEW {identifier(name)} AS SELECT {selected} FROM {scanned}{only}"
