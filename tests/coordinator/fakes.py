"""Hand-made fragments and releases, and nodes that answer with them over real gRPC on kernel-chosen ports."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
import pyarrow as pa
from grpc import aio

from coordinator.fanout import FanOut
from coordinator.node_link import NodeLink
from coordinator.question import Tools
from coordinator.repeats import Repeats
from coordinator.rest import RestEngine
from privacy.errors import ERROR_KEY
from privacy.fragment import MERGED, Block, Bounding, Fragment, Key, Measure, OutputColumn, Plan, Rest
from privacy.request import PLANNER_VERSION, Request
from protos.weir.v1 import node_pb2, node_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from privacy.errors import WeirError

DIGEST = "d" * 64
NOW = 1_700_000_000


def fragment(province: str, cells: pa.Table, *, measures: int = 1, scale: float = 2.0) -> Fragment:
    """A fragment whose keys are the columns of `cells`."""
    return Fragment(
        province=province,
        tables=("visits",),
        unit="person",
        relation="SELECT person_id AS u FROM visits",
        keys=tuple(Key(name, "VARCHAR", name) for name in cells.column_names),
        measures=tuple(
            Measure(
                name=f"m{n}",
                label="COUNT(*)",
                kind="count",
                input=None,
                low=0,
                high=1,
                weight=None,
                grid=1.0,
                centre=0,
                tree=None,
                mechanism="laplace",
                sensitivity=1,
                sensitivity_l2=1.0,
                epsilon=1 / scale if scale else 0.0,
                rho=0.0,
                scale=scale,
            )
            for n in range(measures)
        ),
        bounding=Bounding("none", 1, 1, "one row per person"),
        epsilon=0.5,
        cell_count=cells.num_rows,
        cells_digest=hashlib.sha256(str(cells.to_pydict()).encode()).hexdigest(),
        cells=cells,
    )


def no_keys() -> pa.Table:
    """The single cell of a query without GROUP BY."""
    return pa.table({"x": [0]}).select([])


def release(cells: pa.Table, *values: list[int]) -> pa.Table:
    """`cells` with one int64 column m0, m1 … for each of `values`."""
    for number, column in enumerate(values):
        cells = cells.append_column(f"m{number}", pa.array(column, pa.int64()))
    return cells


def total_plan(*provinces: str, sql: str = "SELECT m0 AS n, cell FROM merged", scale: float = 2.0) -> Plan:
    """SELECT COUNT(*) AS n."""
    rest = Rest(sql, "", (OutputColumn("n", True, (("m0", 1.0),)),))
    fragments = {province: fragment(province, no_keys(), scale=scale) for province in provinces}
    return plan_of(fragments, rest, notes=("a note",))


def plan_of(
    fragments: dict[str, Fragment],
    rest: Rest,
    *,
    sets: tuple[tuple[int, ...], ...] = (),
    notes: tuple[str, ...] = (),
) -> Plan:
    """A plan of one block."""
    block = Block(MERGED, fragments, (), sets, epsilon=1.0, delta=0.0, epsilon_per_node=0.5, span=2)
    return Plan((block,) if fragments else (), rest, notes)


@dataclass
class FakeNode(node_pb2_grpc.NodeServicer):
    """A node that answers `cells`, and fails as it is told.

    Attributes:
        refusal: raised by Prepare.
        release_fault: raised by Release.
        broken: how many of the first Releases break off after they are charged.
        gate: where set, Release waits for it.
        settled: the ledger has the release already, and Prepare sends it.
        halted: where set, everything waits for it.
    """

    province: str
    cells: pa.Table
    digest: str = DIGEST
    planner_version: int = PLANNER_VERSION
    refusal: WeirError | None = None
    release_fault: WeirError | None = None
    broken: int = 0
    gate: asyncio.Event | None = None
    settled: bool = False
    halted: asyncio.Event | None = None
    calls: list[str] = field(default_factory=list)
    requests: list[node_pb2.FragmentRequest] = field(default_factory=list)
    spent: float = 0.0

    async def Describe(self, request, context):
        self.calls.append("describe")
        await self._going()
        return node_pb2.DescribeReply(
            province=self.province, catalog_digest=self.digest, planner_version=self.planner_version
        )

    async def Prepare(self, request, context):
        self.calls.append("prepare")
        await self._going()
        self.requests.append(request)
        if self.refusal:
            await abort(context, self.refusal)
        prepared = node_pb2.PrepareReply(engine_sql="SELECT 1", engine="duckdb", budget=self._budget())
        if self.settled:
            prepared.already_released = True
            prepared.stored.CopyFrom(self._released(0.0))
        return prepared

    async def Release(self, request, context):
        self.calls.append("release")
        self.requests.append(request)
        if self.gate:
            await self.gate.wait()
        if self.release_fault:
            await abort(context, self.release_fault)
        charged = 0.0 if self.spent else request.fragment.epsilon
        self.spent += charged
        if self.broken:
            self.broken -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "raw text")
        return self._released(charged)

    def _released(self, charged: float) -> node_pb2.ReleaseReply:
        return node_pb2.ReleaseReply(
            release=ipc(self.cells),
            epsilon_charged=charged,
            already_released=not charged,
            snapshot="s",
            budget=self._budget(),
        )

    async def _going(self) -> None:
        if self.halted:
            await self.halted.wait()

    async def GetBudget(self, request, context):
        return self._budget()

    def _budget(self) -> node_pb2.Budget:
        return node_pb2.Budget(
            province=self.province, epsilon_total=10, epsilon_spent=self.spent, epsilon_left=10 - self.spent
        )


async def abort(context: aio.ServicerContext, error: WeirError) -> None:
    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "raw text", ((ERROR_KEY, error.to_json().encode()),))


def ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


@dataclass
class FixedPlanner:
    """Plans every request the same way, or refuses it."""

    found: Plan | None = None
    refusal: WeirError | None = None

    def plan(self, request: Request) -> Plan:
        if self.refusal:
            raise self.refusal
        assert self.found is not None
        return self.found


def raw_request(*, epsilon: float = 1.0, expires_unix_s: int = NOW + 60, **options: object) -> bytes:
    return Request.new(
        "SELECT COUNT(*) AS n FROM visits",
        epsilon=epsilon,
        nonce="0" * 32,
        expires_unix_s=expires_unix_s,
        options=options,
    ).encode()


@asynccontextmanager
async def serving(servicer: object, add: Callable[[object, aio.Server], None]) -> AsyncIterator[str]:
    """The address at which `servicer` is served."""
    server = aio.server()
    add(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def free_address() -> str:
    """A loopback address where nothing listens."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


@asynccontextmanager
async def federation(
    nodes: Mapping[str, FakeNode | None], planner: FixedPlanner, *, deadline_s: float = 20.0
) -> AsyncIterator[Tools]:
    """A coordinator's tools over `nodes`; None is a node that is down."""
    servers, links = [], {}
    for province, node in nodes.items():
        if node is None:
            address = free_address()
        else:
            server = aio.server()
            node_pb2_grpc.add_NodeServicer_to_server(node, server)
            address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            await server.start()
            servers.append(server)
        links[province] = NodeLink(province, address, catalog_digest=DIGEST)
    rest = RestEngine()
    tools = Tools(planner, FanOut(links), rest, Repeats(), lambda: NOW, deadline_s)
    try:
        yield tools
    finally:
        rest.close()
        await tools.fanout.close()
        await asyncio.gather(*(server.stop(None) for server in servers))
