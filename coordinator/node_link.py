"""One province's node as the coordinator sees it: a channel that stays open, and calls that fail with typed errors."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import grpc
from grpc import aio

from coordinator import wire
from coordinator.merge import checked_release
from privacy.errors import ERROR_KEY, InternalError, MismatchRefused, UnavailableError, WeirError
from privacy.request import PLANNER_VERSION
from protos.weir.v1 import node_pb2_grpc

if TYPE_CHECKING:
    from coordinator.replies import Budget, Identity, Prepared, Released
    from privacy.fragment import Fragment

MESSAGE_BYTES = 64 * 2**20
RECONNECT_S = 2.0  # how long a broken connection may take to come back before a release is given up
DOUBTED_S = 2.0  # a node that was late must first say who it is, within this: nobody waits long for it twice
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    # A node that comes back is noticed within a second, not after gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # How long one attempt to connect may take, whatever its name: 500 handshakes at once take a while.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_http_proxy", 0),
)

AskT = TypeVar("AskT")
ReplyT = TypeVar("ReplyT")


class _ConnectionBroke(UnavailableError):
    """No answer at all: whether the node acted is not known."""


class _Late(UnavailableError):
    """No answer in time."""


class NodeLink:
    """The way to one node.

    Every call takes `deadline`, a time of the running loop's clock after which it gives up, and raises what the node's
    typed error says; UnavailableError if it cannot be reached or is late; InternalError if it fails otherwise.
    """

    def __init__(self, province: str, address: str, *, catalog_digest: str) -> None:
        self.province = province
        self._digest = catalog_digest
        self._known = False
        self._late = False
        self._channel = aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
        self._stub: node_pb2_grpc.NodeAsyncStub = node_pb2_grpc.NodeStub(self._channel)

    async def introduce(self, *, deadline: float) -> None:
        """Ask the node who it is, unless it said so since it was last late or the connection broke.

        Raises:
            MismatchRefused: another province, another catalog, another planner.
        """
        if not self._known:
            now = asyncio.get_running_loop().time()
            sooner = min(deadline, now + DOUBTED_S) if self._late else deadline
            reply = await self._call(self._stub.Describe, wire.describe_request(), sooner)
            self._check(wire.identity(reply))
            self._known, self._late = True, False

    async def prepare(self, raw: bytes, block: str, fragment: Fragment, *, deadline: float) -> Prepared:
        """Have the node check the request; free."""
        await self.introduce(deadline=deadline)
        request = wire.fragment_request(raw, block, fragment, self._digest)
        prepared = wire.prepared(self.province, await self._call(self._stub.Prepare, request, deadline))
        if prepared.stored is not None:
            checked_release(fragment, prepared.stored.cells)
        return prepared

    async def release(self, raw: bytes, block: str, fragment: Fragment, *, fresh: bool, deadline: float) -> Released:
        """Have the node release its cells of a block.

        Asked once more if the connection breaks: the node's ledger makes the second time free.

        Args:
            fresh: Prepare said that the release is not in the ledger yet.
        """
        request = wire.fragment_request(raw, block, fragment, self._digest)
        try:
            released = wire.released(self.province, await self._call(self._stub.Release, request, deadline))
        except _ConnectionBroke:
            await self._reconnect(deadline)
            released = wire.released(self.province, await self._call(self._stub.Release, request, deadline))
            if fresh and released.charge.already_released:  # then it was the first attempt that was charged
                charge = replace(released.charge, epsilon_charged=fragment.epsilon, already_released=False)
                released = replace(released, charge=charge)
        checked_release(fragment, released.cells)
        return released

    async def budget(self, *, project: str = "", deadline: float) -> Budget:
        """What is left; for `project` too where the node gives it a budget of its own."""
        await self.introduce(deadline=deadline)
        return wire.budget(await self._call(self._stub.GetBudget, wire.budget_request(project), deadline))

    async def close(self) -> None:
        await self._channel.close()

    async def _call(self, method: aio.UnaryUnaryMultiCallable[AskT, ReplyT], request: AskT, deadline: float) -> ReplyT:
        left_s = deadline - asyncio.get_running_loop().time()
        try:
            return await method(request, timeout=max(left_s, 0.001))
        except aio.AioRpcError as fault:
            error = _typed(fault)
        if isinstance(error, _ConnectionBroke):
            self._known = False  # what comes back may be another node
        elif isinstance(error, _Late):
            self._known, self._late = False, True
        raise error

    async def _reconnect(self, deadline: float) -> None:
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(min(deadline, now + RECONNECT_S)):
                await self._channel.channel_ready()
        except TimeoutError:
            raise _ConnectionBroke(_UNREACHABLE, remedy=_TRY_AGAIN) from None

    def _check(self, identity: Identity) -> None:
        if identity.province != self.province:
            raise MismatchRefused(
                f"The node says that it is {identity.province!r}.",
                remedy="The steward must correct the addresses below [nodes] in coordinator.toml.",
            )
        if identity.catalog_digest != self._digest:
            raise MismatchRefused(
                f"The node has catalog {identity.catalog_digest[:12]}…, the coordinator {self._digest[:12]}….",
                remedy="Province and region must accept the same catalog; then restart the daemons.",
            )
        if identity.planner_version != PLANNER_VERSION:
            raise MismatchRefused(
                f"The node has planner {identity.planner_version}, the coordinator {PLANNER_VERSION}.",
                remedy="Install the same version of weir at both.",
            )


_UNREACHABLE = "The node cannot be reached."
_TRY_AGAIN = "Ask again later, or ask the province's operator."


def _typed(fault: aio.AioRpcError) -> WeirError:
    """The typed error that the node sent, or one that its gRPC status stands for; raw text goes no further."""
    for key, value in fault.trailing_metadata() or ():
        if key == ERROR_KEY:
            return _decoded(value)
    if fault.code() == grpc.StatusCode.UNAVAILABLE:
        return _ConnectionBroke(_UNREACHABLE, remedy=_TRY_AGAIN)
    if fault.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
        return _Late("The node did not answer in time.", remedy=_TRY_AGAIN)
    if fault.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
        return UnavailableError("The node is busy, or its answer is too large.", remedy=_TRY_AGAIN)
    return InternalError("The node failed.", remedy="Ask the province's operator to look at its log.")


def _decoded(value: str | bytes) -> WeirError:
    try:
        return WeirError.from_json(value.decode() if isinstance(value, bytes) else value)
    except (ValueError, KeyError, TypeError):
        return InternalError("The node sent an error that cannot be read.")
