"""Whether columns and types of the local data can become those of the standard at all; no row is read."""

from __future__ import annotations

from difflib import get_close_matches

from node.config import Source
from node.finding import Finding
from node.sources import Types
from node.views import conversion
from privacy.catalog import Column, PrivateTable


def structure(table: PrivateTable, source: Source, types: Types) -> list[Finding]:
    """One finding a column of the standard, in its order."""
    return [
        _column(source.table, name, column, source.columns[name], types, is_unit=name == table.unit_column)
        for name, column in table.columns.items()
    ]


def _column(table: str, name: str, column: Column, local: str, types: Types, *, is_unit: bool) -> Finding:
    local_type = types.get(local)
    if local_type is None:
        near = get_close_matches(local, types, n=1)
        hint = f"; did you mean {near[0]!r}? Map it under `columns`" if near else ""
        return Finding(table, name, "error", f"There is no local column {local!r}{hint}.")
    how = conversion(column, local_type, is_unit=is_unit)
    if how is None:
        return Finding(table, name, "error", f"{local_type} cannot become {column.type}.")
    if how == "try":
        return Finding(
            table, name, "warning", f"{local_type} is converted to {column.type} value by value, at each query."
        )
    return Finding(table, name, "ok", f"{local_type} serves as {column.type}.")
