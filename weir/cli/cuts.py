"""What `weir node explain` measured, for the operator beside the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from weir.cli.console import print_rich
from weir.display import grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.truncation import Truncation


def print_cuts(blocks: Sequence[Truncation]) -> None:
    """One line a number of the query: over all rows, within the limits, and by how much they differ."""
    for found in blocks:
        _print_block(found)
    print_rich(Text("These figures are exact. They are for you: they must not leave this node.", "bold yellow"))


def _print_block(found: Truncation) -> None:
    table = grid("over all groups", ">all rows", ">within the limits", ">changed by")
    for cut in found.cuts:
        table.add_row(cut.label, f"{cut.whole:,.6g}", f"{cut.kept:,.6g}", f"{cut.share:.2%}")
    print_rich(table)
    bounding, unit = found.fragment.bounding, found.fragment.unit
    limits = {
        "none": f"No limit is needed: {bounding.reason}.",
        "clip": f"At most {bounding.max_rows:,} rows of one {unit} count in a group.",
        "clip_and_limit": (
            f"At most {bounding.max_rows:,} rows of one {unit} count in a group, and {bounding.max_groups:,} groups."
        ),
    }
    print_rich(Text(limits[bounding.form]))
