"""What `weir node check` found, for the operator beside the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from weir.cli.console import print_rich
from weir.display import grid

if TYPE_CHECKING:
    from node.finding import Finding

_STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


def print_findings(findings: Sequence[Finding]) -> bool:
    """Print one line a column and a verdict; True where the node can serve."""
    table = grid("table", "column", "", "finding")
    for found in findings:
        table.add_row(
            found.table, found.column or "(table)", Text(found.level, _STYLES[found.level]), Text(found.message)
        )
    print_rich(table)
    errors = sum(found.level == "error" for found in findings)
    warnings = sum(found.level == "warning" for found in findings)
    if errors:
        print_rich(Text(f"{errors} of {len(findings)} checks failed: this node cannot serve yet.", "bold red"))
    else:
        doubts = f", {warnings} with a warning" if warnings else ""
        print_rich(Text(f"The data meets the standard: {len(findings)} checks{doubts}.", "green"))
    return not errors
