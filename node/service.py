"""The gRPC servicer of a node: each method hands on, errors are mapped in one place."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from typing import Any

import grpc
import grpc.aio

from node import wire
from node.release import Releases
from privacy.errors import (
    ERROR_KEY,
    BudgetRefused,
    InternalError,
    QueryRefused,
    RequestRefused,
    UnavailableError,
    WeirError,
)
from privacy.request import PLANNER_VERSION
from protos.weir.v1 import node_pb2, node_pb2_grpc

log = logging.getLogger(__name__)

_LONGEST = 600  # characters of a message: trailing metadata is limited to some kilobytes
_STATUS: tuple[tuple[type[WeirError], grpc.StatusCode], ...] = (
    (RequestRefused, grpc.StatusCode.INVALID_ARGUMENT),
    (QueryRefused, grpc.StatusCode.INVALID_ARGUMENT),
    (BudgetRefused, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (UnavailableError, grpc.StatusCode.UNAVAILABLE),
    (InternalError, grpc.StatusCode.INTERNAL),
    (WeirError, grpc.StatusCode.FAILED_PRECONDITION),
)

Context = grpc.aio.ServicerContext[Any, Any]


class NodeService(node_pb2_grpc.NodeServicer):
    """Work goes to threads, so that health and budget answer while engines run.

    Args:
        workers: where releases run; its size limits how many run at once, also when callers have gone meanwhile.
    """

    def __init__(self, releases: Releases, workers: Executor) -> None:
        self._releases = releases
        self._workers = workers

    async def Describe(self, request: node_pb2.DescribeRequest, context: Context) -> node_pb2.DescribeReply:
        guard = self._releases.guard
        return node_pb2.DescribeReply(
            province=guard.province,
            catalog_digest=guard.catalog_digest,
            planner_version=PLANNER_VERSION,
            public_key=self._releases.ledger.public_key,
        )

    async def Prepare(self, request: node_pb2.FragmentRequest, context: Context) -> node_pb2.PrepareReply:
        async with typed_errors(context):
            prepared = await asyncio.to_thread(self._releases.prepare, wire.asked(request))
            return wire.prepare_reply(prepared)
        raise AssertionError("typed_errors aborts")

    async def Release(self, request: node_pb2.FragmentRequest, context: Context) -> node_pb2.ReleaseReply:
        async with typed_errors(context):
            loop = asyncio.get_running_loop()
            released = await loop.run_in_executor(self._workers, self._releases.release, wire.asked(request))
            return wire.release_reply(released)
        raise AssertionError("typed_errors aborts")

    async def GetBudget(self, request: node_pb2.BudgetRequest, context: Context) -> node_pb2.Budget:
        async with typed_errors(context):
            return wire.budget(await asyncio.to_thread(self._releases.budget, request.project or None))
        raise AssertionError("typed_errors aborts")


@contextlib.asynccontextmanager
async def typed_errors(context: Context) -> AsyncIterator[None]:
    """Abort the call with weir's typed error; whatever else was raised says only that it was."""
    try:
        yield
    except WeirError as refused:
        fault = refused
    except Exception as unexpected:
        # Its text may quote data, so only its type is logged.
        log.error("a call failed: %s at %s", type(unexpected).__name__, _place(unexpected))
        fault = InternalError("The node failed.", remedy="Ask the node's operator to look at its log.")
    else:
        return
    await context.abort(status_of(fault), fault.code, ((ERROR_KEY, _short(fault).to_json().encode()),))


def status_of(fault: WeirError) -> grpc.StatusCode:
    """The gRPC status of a typed error."""
    return next(status for kind, status in _STATUS if isinstance(fault, kind))


def _short(fault: WeirError) -> WeirError:
    return type(fault)(fault.message[:_LONGEST], remedy=fault.remedy[:_LONGEST], position=fault.position)


def _place(fault: BaseException) -> str:
    trace = fault.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
