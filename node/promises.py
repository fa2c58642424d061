"""The promises of the catalog that the guarantee rests on: kept by the local data, or the node does not serve.

`rows_per_unit = 1` and `fixed_per_unit` let the planner leave bounding out, so a broken promise would mean too little
noise. A CSV line that does not parse could swallow other people's rows, so CSV must parse strictly; text must be UTF-8.
"""

from __future__ import annotations

from node.config import FileSource, Source
from node.engine import Engine
from node.finding import Finding
from node.sources import identifier
from node.views import conversion, convertible, standard_value
from privacy.catalog import PrivateTable
from privacy.errors import InternalError


def parses(engine: Engine, source: Source) -> list[Finding]:
    """An error where text cannot be read: CSV that is not well formed, Parquet that is not UTF-8; all of it is read.

    Otherwise the engine would fail on the queries that meet that row and on no others.
    """
    if not isinstance(source, FileSource):
        return []
    types = engine.types[source.table]
    local = types if source.format == "csv" else source.columns.values()
    texts = [f"max({identifier(column)})" for column in local if types.get(column) == "VARCHAR"]
    try:
        if texts:
            engine.run(f"SELECT {', '.join(texts)} FROM {engine.scan(source.table)}")
    except InternalError:
        message = (
            "The CSV does not parse strictly: comma, double quotes, UTF-8, as many fields as the header."
            if source.format == "csv"
            else "A text column holds bytes that are not UTF-8."
        )
        return [Finding(source.table, "", "error", message)]
    return []


def rows_without_unit(engine: Engine, source: Source, table: PrivateTable) -> int:
    """How many local rows have no unit; the view must drop them."""
    local = source.columns[table.unit_column]
    value = standard_value(table.columns[table.unit_column], local, engine.types[source.table][local], is_unit=True)
    return _number(engine, f"SELECT count(*) FROM {engine.scan(source.table)} WHERE {value} IS NULL")


def broken_promises(engine: Engine, name: str, table: PrivateTable) -> list[Finding]:
    """An error for each promise that the view `name` does not keep; it must drop rows without unit already."""
    unit, view = identifier(table.unit_column), identifier(name)
    found: list[Finding] = []
    most = table.rows_per_unit
    if most is not None:
        above = f"FROM {view} SELECT 1 GROUP BY {unit} HAVING count(*) > {most}"
        units = _number(engine, f"SELECT count(*) FROM ({above})")
        if units:
            rows = "one row" if most == 1 else f"{most} rows"
            message = f"{units:,} units have more than {rows}, but the catalog says `rows_per_unit = {most}`."
            found.append(Finding(name, table.unit_column, "error", message))
    if most == 1:
        return found
    fixed = [column for column, spec in table.columns.items() if spec.fixed_per_unit and column != table.unit_column]
    return [*found, *(finding for column in fixed for finding in _not_fixed(engine, name, unit, column))]


def _not_fixed(engine: Engine, name: str, unit: str, column: str) -> list[Finding]:
    value = identifier(column)
    varies = f"min({value}) <> max({value}) OR count({value}) NOT IN (0, count(*))"  # NULL is a value too
    grouped = f"FROM {identifier(name)} SELECT 1 GROUP BY {unit} HAVING {varies}"
    units = _number(engine, f"SELECT count(*) FROM ({grouped})")
    if not units:
        return []
    message = f"{units:,} units have several values, but the catalog says `fixed_per_unit`."
    return [Finding(name, column, "error", message)]


def unconvertible(engine: Engine, source: Source, table: PrivateTable) -> list[Finding]:
    """An error for each column that must not be NULL and holds values that are not of its declared type."""
    types = engine.types[source.table]
    tests = {}
    for name, column in table.columns.items():
        raw, is_unit = source.columns[name], name == table.unit_column
        if not (column.nullable or is_unit) and conversion(column, types[raw], is_unit=is_unit) == "try":
            tests[name] = f"{identifier(raw)} IS NOT NULL AND {convertible(column, raw)} IS NULL"
    if not tests:
        return []
    counts = ", ".join(f"count_if({test})" for test in tests.values())
    row = engine.run(f"SELECT {counts} FROM {engine.scan(source.table)}")
    found = {name: column[0].as_py() for name, column in zip(tests, row.columns, strict=True)}
    return [
        Finding(source.table, name, "error", f"{count:,} values are no {table.columns[name].type}.")
        for name, count in found.items()
        if count
    ]


def _number(engine: Engine, sql: str) -> int:
    return int(engine.run(sql).column(0)[0].as_py())
