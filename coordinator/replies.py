"""What nodes reply, as frozen values: protobuf stops at wire.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Identity:
    """Which node answers, and which standard and planner it runs."""

    province: str
    catalog_digest: str
    planner_version: int


@dataclass(frozen=True)
class BudgetShare:
    """A budget beside the node's total, of a `kind` (`period`, `project`); `end` is the day it is whole again."""

    kind: str
    name: str
    epsilon_total: float
    epsilon_spent: float
    epsilon_left: float
    end: str


@dataclass(frozen=True)
class Budget:
    """The privacy budget of one node, in ε at `delta_total`."""

    province: str
    epsilon_total: float
    epsilon_spent: float
    epsilon_left: float
    epsilon_per_query: float
    delta_total: float
    delta_spent: float
    rho_spent: float
    frozen: bool
    shares: tuple[BudgetShare, ...]


@dataclass(frozen=True)
class Charge:
    """What one node's releases cost: `epsilon_charged` is 0 where all were in its ledger already."""

    province: str
    epsilon_charged: float
    already_released: bool
    snapshot: str
    budget: Budget


@dataclass(frozen=True)
class Released:
    """One node's noisy cells of a block, and their cost.

    Attributes:
        digest: of the cells, SHA-256.
    """

    cells: pa.Table
    charge: Charge
    digest: bytes


@dataclass(frozen=True)
class Prepared:
    """What a node would run; nothing was read or charged.

    Attributes:
        stored: its answer, where it was released before: nobody need ask it to release.
    """

    engine_sql: str
    engine: str
    budget: Budget
    already_released: bool
    stored: Released | None = None


@dataclass(frozen=True)
class Answered:
    """One node's noisy cells by block with their digests, and what they cost together."""

    cells: dict[str, pa.Table]
    charge: Charge
    digests: dict[str, bytes]


@dataclass(frozen=True)
class Missing:
    """A province whose data are not in the answer, and why."""

    province: str
    reason: str
