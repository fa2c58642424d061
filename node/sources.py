"""Where a table's rows come from, as DuckDB SQL, and which types they have there."""

from __future__ import annotations

import csv
from pathlib import Path

import duckdb

from node.config import DatabaseSource, FileSource, Source
from privacy.errors import DataError

Types = dict[str, str]  # local column name → DuckDB type; a type that is none where the files of a table disagree

_LONGEST_HEADER_BYTES = 2**20


def identifier(name: str) -> str:
    """`name` quoted as SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """`text` quoted as SQL string."""
    return "'" + text.replace("'", "''") + "'"


def alias(source: DatabaseSource) -> str:
    """The name under which the database of `source` is attached."""
    return f"source_{source.table}"


def scan(source: Source, types: Types) -> str:
    """What stands behind FROM to read every row of `source`."""
    if isinstance(source, DatabaseSource):
        return ".".join(identifier(part) for part in (alias(source), *source.local_table.split(".")))
    files = "[" + ", ".join(literal(str(file)) for file in source.files) + "]"
    if source.format == "parquet":
        return f"read_parquet({files}, hive_partitioning = false)"
    # Nothing is guessed from the rows: dialect fixed to RFC 4180, every column text until the view converts it.
    columns = "{" + ", ".join(f"{literal(name)}: 'VARCHAR'" for name in types) + "}"
    dialect = "auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"'"
    return f"read_csv({files}, columns = {columns}, {dialect})"


def describe(connection: duckdb.DuckDBPyConnection, source: Source) -> Types:
    """The local columns of `source` and their types.

    Raises:
        DataError: the source cannot be read as what it is configured to be.
    """
    if isinstance(source, FileSource) and source.format == "csv":
        return _agreed([_header(file) for file in source.files], by_position=True)
    try:
        if isinstance(source, DatabaseSource):
            return _columns(connection, scan(source, {}))
        each = [FileSource(source.table, "parquet", (file,), {}) for file in source.files]
        return _agreed([_columns(connection, scan(one, {})) for one in each], by_position=False)
    except duckdb.Error:
        raise DataError(
            f"The source of table `{source.table}` cannot be read.",
            remedy="Check that the files are whole Parquet files, or that the database holds the table.",
        ) from None


def _columns(connection: duckdb.DuckDBPyConnection, scanned: str) -> Types:
    rows = connection.execute(f"DESCRIBE SELECT * FROM {scanned}").fetchall()
    return {str(name): str(type_name) for name, type_name, *_ in rows}


def _header(file: Path) -> Types:
    try:
        with file.open("rb") as lines:
            names = next(csv.reader([lines.readline(_LONGEST_HEADER_BYTES).decode("utf-8-sig")]), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        raise DataError(f"{file.name} has no readable header.", remedy="Write CSV as UTF-8 with a header.") from None
    return {name: "VARCHAR" if names.count(name) == 1 else "several columns of one name" for name in names}


def _agreed(files: list[Types], *, by_position: bool) -> Types:
    """The types of the first file; where another file has another type or place, a text that is no type."""
    first, *others = files
    if by_position and len({tuple(file) for file in files}) > 1:
        return dict.fromkeys(first, "in another place in some files")
    return {name: _one_type([file.get(name, "missing") for file in (first, *others)]) for name in first}


def _one_type(types: list[str]) -> str:
    return types[0] if len(set(types)) == 1 else " and ".join(sorted(set(types)))
