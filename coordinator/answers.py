"""What the coordinator tells a client, as frozen values: protobuf starts at wire.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coordinator.replies import Missing

if TYPE_CHECKING:
    import pyarrow as pa

    from coordinator.replies import Budget, Charge, Prepared
    from privacy.fragment import Fragment
    from privacy.intervals import ErrorBars


@dataclass(frozen=True)
class Started:
    """The provinces that will work."""

    provinces: tuple[str, ...]


@dataclass(frozen=True)
class NodeDone:
    """One province has released, `seconds` after it was asked to."""

    province: str
    seconds: float


@dataclass(frozen=True)
class Answer:
    """The regional answer.

    Attributes:
        rows: the answer.
        bars: standard errors and intervals of its noisy cells.
        charges: by province that answered.
        epsilon, delta: the regional guarantee; δ is 0 where all noise is Laplace.
        epsilon_per_node: the guarantee of one node by itself.
        span: how many nodes may hold one unit.
    """

    rows: pa.Table
    bars: ErrorBars
    charges: tuple[Charge, ...]
    missing: tuple[Missing, ...]
    epsilon: float
    delta: float
    epsilon_per_node: float
    span: int
    notes: tuple[str, ...]


Event = Started | NodeDone | Missing | Answer


@dataclass(frozen=True)
class NodePlan:
    """What one node would be asked and would run, for one block."""

    block: str
    fragment: Fragment
    prepared: Prepared


@dataclass(frozen=True)
class Explanation:
    """What a query would run and cost; nothing has been."""

    nodes: tuple[NodePlan, ...]
    rest_sql: str
    epsilon: float
    delta: float
    epsilon_per_node: float
    span: int
    notes: tuple[str, ...]
    missing: tuple[Missing, ...]


@dataclass(frozen=True)
class Budgets:
    """The budgets of the nodes that could be reached."""

    budgets: tuple[Budget, ...]
    missing: tuple[Missing, ...]
