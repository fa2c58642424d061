"""`weir catalog` and `weir budget`: free, and nothing private in them."""

from __future__ import annotations

from typing import Annotated

import typer

from weir.cli.errors import shown_errors
from weir.cli.parameters import At, PlainFormat, Project

Output = Annotated[PlainFormat, typer.Option("--format", help="For people, or JSON.")]


def catalog(
    at: At,
    table: Annotated[str | None, typer.Argument(help="Only this table.")] = None,
    output: Output = PlainFormat.table,
) -> None:
    """Show the tables and columns of the region, their bounds, domains and limits."""
    with shown_errors():
        from weir.cli.console import print_plain
        from weir.connection import connect

        with connect(at) as con:
            view = con.catalog()
        print_plain(view if table is None else view.table(table), output)


def budget(at: At, project: Project = None, output: Output = PlainFormat.table) -> None:
    """Show what each province has left to spend."""
    with shown_errors():
        from weir.cli.console import print_plain
        from weir.connection import connect

        with connect(at) as con:
            budgets = con.budget() if project is None else con.budget(project=project)
        print_plain(budgets, output)
