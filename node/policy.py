"""How much a node gives: the limits of node.toml in whole numbers, as the journal holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from node.periods import LENGTHS, Length


@dataclass(frozen=True)
class BudgetPolicy:
    """The budgets of one node; all of them hold at once.

    Attributes:
        epsilon_total_nano: over the whole life of the ledger.
        delta_total_atto: the δ at which every budget is reckoned.
        period_length, period_epsilon_nano: what each calendar period may spend; None where there is no such budget.
        project_epsilon_nano: what each project may spend that `projects` does not name; None for no limit.
        projects: by name, what that project may spend.
    """

    epsilon_total_nano: int
    delta_total_atto: int
    period_length: Length | None = None
    period_epsilon_nano: int = 0
    project_epsilon_nano: int | None = None
    projects: dict[str, int] = field(default_factory=dict)

    def project_limit(self, project: str) -> int | None:
        """In nano-ε; None where the project has no budget of its own."""
        return self.projects.get(project, self.project_epsilon_nano)

    def to_content(self) -> dict[str, Any]:
        """For the journal."""
        return {
            "epsilon_total_nano": self.epsilon_total_nano,
            "delta_total_atto": self.delta_total_atto,
            "period_length": self.period_length,
            "period_epsilon_nano": self.period_epsilon_nano,
            "project_epsilon_nano": self.project_epsilon_nano,
            "projects": self.projects,
        }

    @staticmethod
    def from_content(content: dict[str, Any]) -> BudgetPolicy:
        """Raises: ValueError, TypeError, KeyError: it is not what `to_content` wrote."""
        policy = BudgetPolicy(**content)
        if policy.period_length not in (None, *LENGTHS):
            raise ValueError("an unknown length of period")
        return policy
