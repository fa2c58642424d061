"""What each province has left to spend."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from weir.number_format import epsilon_text

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Missing:
    """A province that did not answer, and why."""

    province: str
    reason: str


@dataclass(frozen=True)
class Budget:
    """The privacy budget of one node.

    Attributes:
        epsilon_total: all that this node will ever spend on its data.
        epsilon_per_query: the largest ε that one query may spend at this node.
    """

    province: str
    epsilon_total: float
    epsilon_spent: float
    epsilon_left: float
    epsilon_per_query: float


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

        table = grid("province", ">ε in total", ">spent", ">left", ">largest ε of one query")
        for node in self.nodes:
            figures = node.epsilon_total, node.epsilon_spent, node.epsilon_left, node.epsilon_per_query
            table.add_row(node.province, *map(epsilon_text, figures))
        return Group(table, *missing_lines(self.missing))

    def __repr__(self) -> str:
        from weir.display import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from weir.display_html import missing_html, page, table_html

        header = ("province", "ε in total", "spent", "left", "largest ε of one query")
        rows = [
            (n.province, *map(epsilon_text, (n.epsilon_total, n.epsilon_spent, n.epsilon_left, n.epsilon_per_query)))
            for n in self.nodes
        ]
        return page(table_html(header, rows, right=range(1, 5)), *missing_html(self.missing))
