"""What `weir node advise` measured, for the operator beside the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from weir.cli.console import print_rich
from weir.display import grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.advice import Advice, Limits


def print_advice(found: Sequence[Advice], epsilon: float) -> None:
    """Two lines for each list of keys: the catalog's limits and those that would err least."""
    table = grid("counts by", "limits", ">max_rows", ">max_groups", ">rows cut", ">noise ±", ">error of a group")
    for advice in found:
        keys = ", ".join(advice.keys) or "(all)"
        table.add_row(f"{advice.table}: {keys}", "the catalog's", *_cells(advice.now))
        table.add_row("", "least error", *_cells(advice.best))
    print_rich(table)
    print_rich(
        Text(
            f"At ε = {epsilon:g} for the region, one node, counts of rows. Error: what is cut and noise together, root"
            " mean square over the groups. A smaller ε wants lower limits."
        )
    )
    print_rich(
        Text(
            "These figures are exact. They are for you: they must not leave this node, and limits taken from them tell"
            " something of these data; take them from another year's.",
            "bold yellow",
        )
    )


def _cells(limits: Limits) -> tuple[str, ...]:
    shown = f"{limits.max_rows:,}", f"{limits.max_groups:,}", f"{limits.cut:.2%}"
    return (*shown, f"{limits.noise:,.3g}", f"{limits.error:,.3g}")
