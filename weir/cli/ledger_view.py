"""The table of `weir node ledger show`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from node.exact import ATTO, NANO, PICO
from weir.display import grid
from weir.number_format import EMPTY, epsilon_text

if TYPE_CHECKING:
    from rich.table import Table

    from node.audit import Shown


def entries_table(shown: Sequence[Shown]) -> Table:
    """One row an entry; ε, ρ and δ of a charge, and the ε of all charges up to there at the node's δ."""
    table = grid(">entry", "time (UTC)", "project", ">ε", ">ρ", ">δ", "what", ">ε spent so far")
    for one in shown:
        content = one.entry.content
        table.add_row(
            f"{one.entry.sequence:,}",
            f"{datetime.fromtimestamp(one.entry.time_ms / 1000, tz=UTC):%Y-%m-%d %H:%M:%S}",
            content.get("project", ""),
            *(_part(content, *place) for place in (("epsilon_nano", NANO), ("rho_pico", PICO), ("delta_atto", ATTO))),
            what(one.entry.kind, content),
            _so_far(one),
        )
    return table


def what(kind: str, content: dict[str, Any]) -> str:
    """An entry in words; it says nothing of the data."""
    if kind == "opened":
        return f"journal of {content['province']} opened"
    if kind == "policy":
        return f"budgets of node.toml: ε = {content['epsilon_total_nano'] / NANO:g} in all"
    if kind == "charged":
        return f"{content['table']}: {content['measures']} × {content['cells']:,} cells, {content['release'][:12]}"
    if kind == "settled":
        return f"answer stored, {content['answer_bytes']:,} bytes, {content['release'][:12]}"
    return f"operator: {_act(content)}: {content['reason']}"


def _act(content: dict[str, Any]) -> str:
    if content["action"] != "raise":
        return str(content["action"])
    return f"raise {content['budget']} {content['name']}".rstrip() + f" by ε = {content['epsilon_nano'] / NANO:g}"


def _part(content: dict[str, Any], name: str, per_one: int) -> str:
    units = content.get(name) if "release" in content else None
    return f"{units / per_one:.6g}" if units else ""


def _so_far(one: Shown) -> str:
    spent = one.account.epsilon_nano_at(one.delta_atto)
    return EMPTY if spent is None else epsilon_text(spent / NANO)
