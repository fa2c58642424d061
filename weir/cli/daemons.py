"""`weir node serve`, `check`, `prepare`, `explain` and `advise`, and `weir coordinator serve`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from privacy.errors import WeirError
from weir.cli import ledger
from weir.cli.errors import shown_errors
from weir.cli.parameters import Config, MaxGroups, MaxRows

node = typer.Typer(help="A province's node.", no_args_is_help=True)
node.add_typer(ledger.ledger, name="ledger")
node.add_typer(ledger.budget, name="budget")
coordinator = typer.Typer(help="The region's coordinator.", no_args_is_help=True)

Listen = Annotated[str | None, typer.Option(help="HOST:PORT instead of the file's; port 0 lets the kernel choose.")]
StopWithParent = Annotated[
    bool, typer.Option("--stop-with-parent", help="Stop when stdin closes; report a failed start on stdout as JSON.")
]


@node.command("serve")
def node_serve(config: Config, listen: Listen = None, stop_with_parent: StopWithParent = False) -> None:
    """Answer for one province until SIGTERM or Ctrl-C."""
    with shown_errors(), _watched(stop_with_parent):
        from node.serve import serve

        serve(config, listen=listen)


@node.command("check")
def node_check(config: Config) -> None:
    """Say, before anything is served, whether the local data meets the regional standard."""
    with shown_errors():
        from node.check import check
        from weir.cli.findings import print_findings

        good = print_findings(check(config))
    raise typer.Exit(0 if good else 1)


@node.command("prepare")
def node_prepare(config: Config) -> None:
    """Make a snapshot of the sources that answers bounded queries fast; a running node goes on to it by itself."""
    with shown_errors():
        from node.serve import prepare_snapshot
        from weir.cli.steps import step_bar

        with step_bar() as on_step:
            made = prepare_snapshot(config, on_step=on_step)
        typer.echo(f"The current snapshot is {made.file}.", err=True)


@node.command("explain")
def node_explain(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT.")],
    config: Config,
    max_rows: MaxRows = None,
    max_groups: MaxGroups = None,
) -> None:
    """Say what share of the real data a query's limits cut; for the operator: the figures are exact."""
    with shown_errors(sql):
        from node.truncation import truncation
        from weir.cli.cuts import print_cuts

        limits = {"max_rows": max_rows, "max_groups": max_groups}
        options = {name: limit for name, limit in limits.items() if limit is not None}
        print_cuts(truncation(config, sql, options=options))


@node.command("advise")
def node_advise(
    config: Config,
    epsilon: Annotated[float, typer.Option("--epsilon", "-e", min=1e-6, help="Of a query over the region.")] = 1.0,
    table: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    key: Annotated[list[str] | None, typer.Option(metavar="SQL", help="A group key; repeatable.")] = None,
) -> None:
    """Say which max_rows and max_groups would err least on the real data; for the operator: the figures are exact."""
    with shown_errors():
        from node.advice import advise
        from weir.cli.advice import print_advice

        print_advice(advise(config, epsilon=epsilon, table=table, keys=key or ()), epsilon)


@coordinator.command("serve")
def coordinator_serve(
    config: Config,
    listen: Listen = None,
    node: Annotated[
        list[str] | None, typer.Option(metavar="PROVINCE=HOST:PORT", help="A node, instead of the file's; repeatable.")
    ] = None,
    stop_with_parent: StopWithParent = False,
) -> None:
    """Serve the region's researchers until SIGTERM or Ctrl-C."""
    nodes = dict(_pair(text) for text in node or [])
    with shown_errors(), _watched(stop_with_parent):
        from coordinator.serve import serve

        serve(config, listen=listen, nodes=nodes)


def _pair(text: str) -> tuple[str, str]:
    province, found, address = text.partition("=")
    if not (province and found and address):
        raise typer.BadParameter(f"{text!r} is not PROVINCE=HOST:PORT.", param_hint="--node")
    return province, address


@contextmanager
def _watched(stop_with_parent: bool) -> Iterator[None]:
    """Under a parent: stop when it is gone, and hand it a failed start as a typed error on stdout."""
    if not stop_with_parent:
        yield
        return
    from weir.cli.parent_watch import stop_when_stdin_closes

    stop_when_stdin_closes()
    try:
        yield
    except WeirError as fault:
        print(json.dumps({"failed": json.loads(fault.to_json())}), flush=True)
        raise
