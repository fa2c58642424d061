"""One release, from request to noisy bytes; nothing here talks to the network.

guard → snapshot verified → reserve → engine → noise → settle → reply. Until `reserve` a refusal charges nothing; after
it ε is spent whatever happens, and the same release may be asked again without a second charge.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

import pyarrow as pa

from node.guard import Admitted, Asked, Guard
from node.ledger import Balance, Ledger, Purpose
from node.one_at_a_time import OneAtATime
from node.snapshot import Snapshot
from privacy.errors import DataError, RequestRefused
from privacy.fragment import Fragment


class Runs(Protocol):
    """An engine: the exact result of one SELECT."""

    name: str

    def run(self, sql: str, *, long: bool) -> pa.Table: ...


class Data(Protocol):
    """What the engine reads, and whether it meets the standard."""

    def snapshot(self) -> Snapshot: ...

    def verify(self, current: Snapshot) -> None: ...


class BoundedSql(Protocol):
    """The rewrite that bounds what one unit contributes (privacy/bounding.py)."""

    def __call__(self, fragment: Fragment, *, secret: str) -> str: ...


@dataclass(frozen=True)
class NodeBudget:
    """The balance of this node, and the most ε that one query may take of it."""

    province: str
    balance: Balance
    epsilon_per_query: float


@dataclass(frozen=True)
class Released:
    """A noisy answer.

    Attributes:
        release: Arrow IPC stream, as `ReleaseReply.release` describes it.
        epsilon_charged: the release's own ε, now; 0 where it was charged before.
        snapshot: what the node calls the data that it is of.
    """

    release: bytes
    epsilon_charged: float
    already_released: bool
    snapshot: str
    budget: NodeBudget


@dataclass(frozen=True)
class Prepared:
    """What a release would run and cost.

    Attributes:
        stored: the answer, where it is in the ledger and the request is no EXPLAIN.
    """

    engine_sql: str
    engine: str
    budget: NodeBudget
    already_released: bool
    stored: Released | None = None


def release_id(fragment: Fragment, *, snapshot: str, catalog_digest: str) -> str:
    """What makes two releases the same: SHA-256 over the canonical fragment, the snapshot and the catalog's digest."""
    compared = {field.name: getattr(fragment, field.name) for field in fields(fragment) if field.compare}
    content = [compared, snapshot, catalog_digest]
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, default=_nameless, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _nameless(part: Any) -> dict[str, Any]:
    """A key, a measure or the bounding without what is only said to people: a name changes no number."""
    return {name: value for name, value in asdict(part).items() if name not in ("label", "total", "reason")}


@dataclass(frozen=True)
class Releases:
    """Prepares and makes the releases of one node; safe to use from several threads.

    Attributes:
        noise: gives the noisy release for a fragment and its exact result.
    """

    guard: Guard
    ledger: Ledger
    engine: Runs
    data: Data
    bounded_sql: BoundedSql
    noise: Callable[[Fragment, pa.Table], pa.Table]
    one_at_a_time: OneAtATime

    def budget(self, project: str | None = None) -> NodeBudget:
        """What is left, for `project` too if it has a budget of its own."""
        return NodeBudget(self.guard.province, self.ledger.balance(project), self.guard.limit.epsilon)

    def prepare(self, asked: Asked) -> Prepared:
        """Every check of `release`, so that a query is refused everywhere before it is charged anywhere.

        Files that changed are verified here already; no query runs and nothing is charged.

        Raises:
            WeirError: the refusals of `Guard.admit`, DataError and BudgetRefused.
        """
        admitted, snapshot = self.guard.admit(asked), self.data.snapshot()
        self.data.verify(snapshot)
        fragment, project = admitted.fragment, admitted.project
        beside = {self._identity(other, snapshot): other.charge for other in admitted.beside}
        identity = self._identity(fragment, snapshot)
        settled = self.ledger.inquire(identity, charge=fragment.charge, project=project, beside=beside)
        budget = self.budget(project)
        # What was paid for needs no second phase.
        answer = self.ledger.stored(identity) if settled and not admitted.explains else None
        stored = Released(answer, 0.0, True, snapshot.name, budget) if answer is not None else None
        # The SQL is shown to the researcher, so without the node's secret.
        shown = self.bounded_sql(fragment, secret="…")
        return Prepared(shown, self.engine.name, budget, settled, stored)

    def release(self, asked: Asked) -> Released:
        """The noisy answer, stored before it is returned.

        Raises:
            WeirError: the refusals of `prepare`, RequestRefused of an EXPLAIN, DataError, InternalError, and
                UnavailableError if a duplicate waits too long.
        """
        admitted, snapshot = self.guard.admit(asked), self.data.snapshot()
        if admitted.explains:
            raise RequestRefused(
                "The request asks for an explanation; nothing is released for it.",
                remedy="Send the query itself, without EXPLAIN.",
            )
        self.data.verify(snapshot)
        fragment = admitted.fragment
        identity = self._identity(fragment, snapshot)
        with self.one_at_a_time.turn(identity):
            reservation = self.ledger.reserve(identity, charge=fragment.charge, purpose=_purpose(admitted))
            answer = reservation.answer
            if answer is None:
                answer = self._run(fragment, identity, snapshot)
        charged = fragment.epsilon if reservation.fresh else 0.0
        budget = self.budget(admitted.project)
        return Released(answer, charged, reservation.answer is not None, snapshot.name, budget)

    def _run(self, fragment: Fragment, identity: str, snapshot: Snapshot) -> bytes:
        long = fragment.threshold is not None or fragment.cell_count > _FEW_CELLS
        exact = self.engine.run(self.bounded_sql(fragment, secret=self.ledger.secret), long=long)
        if self.data.snapshot() != snapshot:  # what ran was not what was verified
            raise DataError("This node's data changed while the query ran.", remedy="Ask again.")
        answer = _ipc(self.noise(fragment, exact))
        self.ledger.settle(identity, answer)
        return answer

    def _identity(self, fragment: Fragment, snapshot: Snapshot) -> str:
        return release_id(fragment, snapshot=snapshot.name, catalog_digest=self.guard.catalog_digest)


_FEW_CELLS = 500  # up to here rows are sooner fetched one by one than as Arrow


def _purpose(admitted: Admitted) -> Purpose:
    fragment = admitted.fragment
    return Purpose(admitted.project, ", ".join(fragment.tables), len(fragment.measures), fragment.cell_count)


def _ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
