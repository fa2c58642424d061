"""`weir node check`: whether the local data meet the regional standard, column by column.

For the operator at the node: findings speak of data and never leave it. Errors are what makes serving unsound; the
daemon refuses to start on them. Warnings are what makes answers less useful.
"""

from __future__ import annotations

from pathlib import Path

from node.config import NodeConfig, Source, load_config
from node.data import prepare_view
from node.engine import Engine
from node.finding import Finding, errors_of
from node.sources import Types, identifier, literal
from node.views import conversion, converted, convertible, engine_type, standard_value
from privacy.catalog import Catalog, Column, PrivateTable

__all__ = ["Finding", "check"]


def check(config_path: Path) -> list[Finding]:
    """Everything found in the data of the node at `config_path`, table by table.

    Raises:
        ConfigError, MismatchRefused: the configuration is wrong.
        DataError: a source cannot be read at all.
    """
    config = load_config(config_path)
    engine = Engine.open(config)
    try:
        return [finding for source in config.sources.values() for finding in _table(engine, config, source)]
    finally:
        engine.close()


def _table(engine: Engine, config: NodeConfig, source: Source) -> list[Finding]:
    table = config.catalog.private_tables[source.table]
    found = prepare_view(engine, source, table)
    if errors_of(found):
        return found
    found += _content(engine, config.catalog, source, table) + _rows_per_unit(engine, source.table, table)
    order = ["", *table.columns]
    return sorted(found, key=lambda finding: order.index(finding.column))


def _content(engine: Engine, catalog: Catalog, source: Source, table: PrivateTable) -> list[Finding]:
    """Shares of values that the view has to change or drop, counted in one scan."""
    types = engine.types[source.table]
    questions = [
        (name, text, condition)
        for name, column in table.columns.items()
        for text, condition in _questions(
            catalog, column, source.columns[name], types, is_unit=name == table.unit_column
        )
    ]
    counts = ", ".join(f"count_if({condition})" for _, _, condition in questions)
    row = engine.run(f"SELECT count(*), {counts} FROM {engine.scan(source.table)}")
    total, *numbers = (column[0].as_py() for column in row.columns)
    if not total:
        return [Finding(source.table, "", "warning", "There are no rows.")]
    return [
        Finding(source.table, name, "warning", f"{text}: {number:,} of {total:,} rows ({number / total:.2%}).")
        for (name, text, _), number in zip(questions, numbers, strict=True)
        if number
    ]


def _questions(catalog: Catalog, column: Column, local: str, types: Types, *, is_unit: bool) -> list[tuple[str, str]]:
    """What to look for in one column: the text of the finding, and SQL that is true of the rows it concerns."""
    raw, how = identifier(local), conversion(column, types[local], is_unit=is_unit)
    tried = how == "try" and not is_unit
    value = convertible(column, local) if tried else converted(raw, engine_type(column), how)
    if is_unit:
        value = standard_value(column, local, types[local], is_unit=True)
    found = []
    if how == "try":
        found.append((f"values that are no {column.type} and become NULL", f"{raw} IS NOT NULL AND {value} IS NULL"))
    if is_unit:
        return found  # rows without unit are reported where the view is made
    if not column.nullable:
        found.append(("NULL in a column that is not nullable", f"{raw} IS NULL"))
    if column.type == "DOUBLE" or (tried and column.bounds is not None):
        found.append(("values that are not a number and become NULL", f"isnan({value})"))
        value = f"nullif({value}, CAST('nan' AS DOUBLE))"
    return found + _limits(catalog, column, value)


def _limits(catalog: Catalog, column: Column, value: str) -> list[tuple[str, str]]:
    if column.bounds is not None:
        low, high = column.bounds
        return [
            (
                f"values outside the bounds [{low:g}, {high:g}], which are clamped",
                _outside(value, f"{low!r}", f"{high!r}"),
            )
        ]
    if column.range is not None:
        first, last = (day.isoformat() for day in column.range)
        text = f"dates outside {first} – {last}, which are clamped"
        return [(text, _outside(value, f"DATE '{first}'", f"DATE '{last}'"))]
    domain = catalog.domain(column) if column.type == "VARCHAR" else None
    if domain is not None:
        codes = ", ".join(literal(str(code)) for code in domain if code is not None)
        return [("values outside the domain, which are in no group", f"{value} NOT IN ({codes})")]
    return []


def _outside(value: str, low: str, high: str) -> str:
    return f"{value} NOT BETWEEN {low} AND {high}"


def _rows_per_unit(engine: Engine, name: str, table: PrivateTable) -> list[Finding]:
    """How many units have more rows than may count in one group."""
    if table.max_rows is None:
        return []
    unit, most = identifier(table.unit_column), table.max_rows
    per_unit = f"FROM {identifier(name)} SELECT count(*) AS n GROUP BY {unit}"
    row = engine.run(f"SELECT count(*), count_if(n > {most}), max(n) FROM ({per_unit})")
    units, above, highest = (column[0].as_py() for column in row.columns)
    if not units:
        return []
    text = f"{above:,} of {units:,} units have more than max_rows = {most} rows, at most {highest:,}"
    if above:
        return [Finding(name, table.unit_column, "warning", f"{text}; what exceeds it in one group does not count.")]
    return [
        Finding(
            name, table.unit_column, "ok", f"No unit has more than max_rows = {most} rows; the most is {highest:,}."
        )
    ]
