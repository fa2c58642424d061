"""`weir query` and `weir explain`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from privacy.errors import RequestRefused
from weir.cli.errors import shown_errors
from weir.cli.parameters import (
    At,
    ExpectedRows,
    Format,
    MaxError,
    MaxGroups,
    MaxRows,
    PlainFormat,
    Project,
    RelativeError,
)

Sql = Annotated[str | None, typer.Argument(metavar="[SQL]", help="One SELECT, or `-` to read it from stdin.")]
File = Annotated[Path | None, typer.Option("--file", "-f", help="Read the SQL from this file.")]
RequireAll = Annotated[bool, typer.Option("--require-all", help="Refuse rather than answer without some province.")]
Delta = Annotated[float | None, typer.Option("--delta", "-d", help="How likely the guarantee may fail; 0 for never.")]
Epsilon = typer.Option("--epsilon", "-e", help="The most that any one person may lose, over all provinces.")


def query(
    at: At,
    sql: Sql = None,
    epsilon: Annotated[float | None, Epsilon] = None,
    file: File = None,
    delta: Delta = None,
    project: Project = None,
    output: Annotated[Format, typer.Option("--format", help="A table for people, CSV or JSON.")] = Format.table,
    require_all: RequireAll = False,
    max_rows: MaxRows = None,
    max_groups: MaxGroups = None,
    max_standard_error: MaxError = None,
    max_relative_error: RelativeError = None,
    expected_rows: ExpectedRows = None,
) -> None:
    """Ask a question, pay its ε, print the answer with error bars. ε may stand in the SQL: OPTIONS(epsilon = …).

    EXPLAIN SELECT … is what `weir explain` shows, and free.
    """
    text = _sql(sql, file)
    with shown_errors(text):
        from weir.cli.progress import progress_lines
        from weir.connection import connect

        accuracy = _accuracy(max_standard_error, max_relative_error, expected_rows)
        options = _options(delta, project, require_all, max_rows, max_groups) | accuracy
        with connect(at) as con, progress_lines() as on_progress:
            answer = con.sql(text, epsilon=epsilon, on_progress=on_progress, **options)
        _print_answer(answer, output)


def explain(
    at: At,
    sql: Sql = None,
    epsilon: Annotated[float | None, Epsilon] = None,
    file: File = None,
    delta: Delta = None,
    project: Project = None,
    output: Annotated[PlainFormat, typer.Option("--format", help="For people, or JSON.")] = PlainFormat.table,
    require_all: RequireAll = False,
    max_rows: MaxRows = None,
    max_groups: MaxGroups = None,
    max_standard_error: MaxError = None,
    max_relative_error: RelativeError = None,
    expected_rows: ExpectedRows = None,
) -> None:
    """Show what a question would run, cost and err; free of charge."""
    text = _sql(sql, file)
    with shown_errors(text):
        from weir.cli.console import print_plain
        from weir.connection import connect

        accuracy = _accuracy(max_standard_error, max_relative_error, expected_rows)
        options = _options(delta, project, require_all, max_rows, max_groups) | accuracy
        with connect(at) as con:
            plan = con.explain(text, epsilon=epsilon, **options)
        print_plain(plan, output)


def _print_answer(answer: Any, output: Format) -> None:
    from weir import export
    from weir.cli.console import print_plain, print_rich
    from weir.explanation import Explanation

    if isinstance(answer, Explanation):
        if output is Format.csv:
            raise RequestRefused("An explanation is no table, so it has no CSV.", remedy="Ask for --format json.")
        print_plain(answer, PlainFormat(output.value))
    elif output is Format.csv:
        export.write_csv(answer, sys.stdout)
    elif output is Format.json:
        export.write_json(export.to_dict(answer), sys.stdout)
    else:
        print_rich(answer)


def _sql(sql: str | None, file: Path | None) -> str:
    """The text of the query, from one of its three places."""
    if (sql is None) == (file is None):
        raise typer.BadParameter("Give the SQL as an argument, or `-` for stdin, or --file.")
    if sql is not None and sql != "-":
        return sql
    try:
        return sys.stdin.read() if file is None else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise typer.BadParameter(f"Cannot read {file or 'stdin'} as UTF-8 text.") from None


def _options(
    delta: float | None, project: str | None, require_all: bool, max_rows: int | None, max_groups: int | None
) -> dict[str, Any]:
    named = {"delta": delta, "project": project}  # what was not given is the client's to choose
    chosen = {name: value for name, value in named.items() if value is not None}
    return {"require_all": require_all, "max_rows": max_rows, "max_groups": max_groups} | chosen


def _accuracy(standard: float | None, relative: float | None, rows: float | None) -> dict[str, Any]:
    return {"max_standard_error": standard, "max_relative_error": relative, "expected_rows": rows}
