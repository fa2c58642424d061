"""The table of contents of the command line. Heavy modules are imported inside the commands."""

from __future__ import annotations

import typer

from weir.cli import ask, browse, daemons, folder

app = typer.Typer(
    name="weir",
    help="SQL over records that may not leave their province, answered with error bars.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("query")(ask.query)
app.command("explain")(ask.explain)
app.command("catalog")(browse.catalog)
app.command("budget")(browse.budget)
app.command("up")(folder.up)
app.command("demo-data")(folder.demo_data)
app.add_typer(daemons.node, name="node")
app.add_typer(daemons.coordinator, name="coordinator")
