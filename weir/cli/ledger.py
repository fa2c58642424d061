"""`weir node ledger` and `weir node budget`: for the operator beside the ledger, while the node runs or not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privacy.errors import LedgerError
from weir.cli.errors import shown_errors
from weir.cli.parameters import Config

if TYPE_CHECKING:
    from node.audit import Verdict

ledger = typer.Typer(help="What was spent, and whether the record of it is whole.", no_args_is_help=True)
budget = typer.Typer(help="Raise, freeze and thaw budgets, with a signed reason.", no_args_is_help=True)

Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the journal.")]
Epsilon = Annotated[float, typer.Option("--epsilon", "-e", help="How much more.")]
ExportFile = Annotated[Path | None, typer.Option("--export", help="Check this export instead.", dir_okay=False)]
PublicKey = Annotated[str | None, typer.Option("--public-key", metavar="HEX", help="The node's, for an export.")]
AHead = Annotated[str | None, typer.Option("--head", metavar="HASH", help="An entry that must still be there.")]


@ledger.command("verify")
def verify(
    config: Annotated[Path | None, typer.Option("--config", help="The node's TOML file.", dir_okay=False)] = None,
    export: ExportFile = None,
    public_key: PublicKey = None,
    head: AHead = None,
) -> None:
    """Say in one line that all is well, or where the journal breaks (exit code 1)."""
    if (config is None) == (export is None) or (export is not None and public_key is None):
        raise typer.BadParameter("Give --config, or --export and --public-key.")
    with shown_errors():
        try:
            print(_all_is_well(_verdict(config, export, public_key, head)))
        except LedgerError as fault:
            print(fault.message)
            raise typer.Exit(1) from None


@ledger.command("show")
def show(
    config: Config,
    last: Annotated[int | None, typer.Option("--last", metavar="N", min=1, help="Only the newest N entries.")] = None,
) -> None:
    """Print the entries, with what was spent up to each."""
    with shown_errors():
        from node.audit import show as entries_of
        from weir.cli.console import print_rich
        from weir.cli.ledger_view import entries_table

        shown, public_key = entries_of(config, last=last)
        print_rich(entries_table(shown))
        print_rich(f"The node's public key is {public_key}.")


@ledger.command("export")
def export(config: Config) -> None:
    """Write every entry as a line of JSON, for an auditor; answers are there by their digests only."""
    with shown_errors():
        from node.audit import export as lines_of

        for line in lines_of(config):
            sys.stdout.write(line + "\n")


@budget.command("raise")
def raise_(
    config: Config,
    epsilon: Epsilon,
    reason: Reason,
    project: Annotated[str | None, typer.Option("--project", help="This project's budget, not the total.")] = None,
    this_period: Annotated[bool, typer.Option("--this-period", help="This period's budget, not the total.")] = False,
) -> None:
    """Add to a budget; holds from the next query on."""

    def act() -> str:
        from node.admin import raise_budget

        return raise_budget(config, epsilon=epsilon, reason=reason, project=project, this_period=this_period)

    _said(act)


@budget.command("freeze")
def freeze(config: Config, reason: Reason) -> None:
    """Stop all spending, from the next query on; what was answered before is still answered."""

    def act() -> str:
        from node.admin import freeze

        return freeze(config, reason=reason)

    _said(act)


@budget.command("thaw")
def thaw(config: Config, reason: Reason) -> None:
    """Allow spending again."""

    def act() -> str:
        from node.admin import thaw

        return thaw(config, reason=reason)

    _said(act)


def _said(act: Callable[[], str]) -> None:
    with shown_errors():
        print(act())


def _verdict(config: Path | None, export: Path | None, public_key: str | None, head: str | None) -> Verdict:
    from node.audit import verify, verify_export

    if config is not None:
        return verify(config, public_key=public_key, head=head)
    assert export is not None
    assert public_key is not None
    return verify_export(export, public_key=public_key, head=head)


def _all_is_well(verdict: Verdict) -> str:
    return (
        f"All is well: {verdict.entries:,} entries, {verdict.charged:,} releases charged, "
        f"{verdict.settled:,} answered; head {verdict.head}"
    )
