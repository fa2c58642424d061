"""What each province has left to spend."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from weir.number_format import epsilon_text

if TYPE_CHECKING:
    from rich.console import RenderableType

_HEADER = ("province", "budget", "ε in total", "spent", "left", "a query at most", "at δ")


@dataclass(frozen=True)
class Missing:
    """A province that did not answer, and why."""

    province: str
    reason: str


@dataclass(frozen=True)
class BudgetShare:
    """A budget of a node beside its total; both must cover a query.

    Attributes:
        kind: `period` or `project`.
        name: of the period (`2026-Q3`) or of the project.
        end: the first day (ISO, UTC) on which a period's budget is whole again; empty for a project.
    """

    kind: str
    name: str
    epsilon_total: float
    epsilon_spent: float | None
    epsilon_left: float
    end: str = ""


@dataclass(frozen=True)
class Budget:
    """The privacy budget of one node.

    Attributes:
        epsilon_total: all that this node will ever spend on its data.
        epsilon_spent: what all its releases together cost at `delta_total`; many small ones cost less than their sum.
            None where their own δ is more than that, so that no ε can say it.
        epsilon_left: the largest ε that certainly still fits.
        epsilon_per_query: the largest ε that one query may spend at this node.
        delta_total: the δ at which every ε here is reckoned.
        delta_spent, rho_spent: what the releases bring along of δ, and of ρ (Gaussian noise).
        frozen: the operator stopped all spending; what was answered before is still answered.
        shares: the budgets of the current period and of the project that was named, where the node has such.
    """

    province: str
    epsilon_total: float
    epsilon_spent: float | None
    epsilon_left: float
    epsilon_per_query: float
    delta_total: float = 0.0
    delta_spent: float = 0.0
    rho_spent: float = 0.0
    frozen: bool = False
    shares: tuple[BudgetShare, ...] = ()


@dataclass(frozen=True, repr=False)
class Budgets:
    """The budget of every node that answered."""

    nodes: tuple[Budget, ...]
    missing: tuple[Missing, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __rich__(self) -> RenderableType:
        from rich.console import Group

        from weir.display import grid, missing_lines

        places = ("", "", ">", ">", ">", ">", ">")
        table = grid(*(place + name for place, name in zip(places, _HEADER, strict=True)))
        for node in self.nodes:
            for row in _rows(node):
                table.add_row(*row)
        return Group(table, *missing_lines(self.missing))

    def __repr__(self) -> str:
        from weir.display import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from weir.display_html import missing_html, page, table_html

        rows = [row for node in self.nodes for row in _rows(node)]
        return page(table_html(_HEADER, rows, right=range(2, 7)), *missing_html(self.missing))


def _rows(node: Budget) -> list[tuple[str, ...]]:
    figures = map(_epsilon, (node.epsilon_total, node.epsilon_spent, node.epsilon_left, node.epsilon_per_query))
    name = "in all (frozen)" if node.frozen else "in all"
    first = (node.province, name, *figures, f"{node.delta_total:g}")
    return [first, *(_share_row(share) for share in node.shares)]


def _share_row(share: BudgetShare) -> tuple[str, ...]:
    until = f", anew {share.end}" if share.end else ""
    figures = map(_epsilon, (share.epsilon_total, share.epsilon_spent, share.epsilon_left))
    name = f"project {share.name}" if share.kind == "project" else share.name + until
    return ("", name, *figures, "", "")


def _epsilon(epsilon: float | None) -> str:
    return epsilon_text(epsilon) if epsilon is not None else "over δ"
