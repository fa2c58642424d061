"""The gRPC face of the coordinator: each method delegates, and errors get their status here alone."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import grpc

from coordinator import wire
from coordinator.answers import Answer
from coordinator.explain import explanation
from coordinator.query import answer
from privacy.errors import (
    ERROR_KEY,
    BudgetRefused,
    ConfigError,
    DataError,
    InternalError,
    MismatchRefused,
    QueryRefused,
    RequestRefused,
    UnavailableError,
    WeirError,
)
from protos.weir.v1 import coordinator_pb2_grpc

if TYPE_CHECKING:
    from typing import Any

    from grpc import aio

    from coordinator.question import Tools
    from protos.weir.v1 import coordinator_pb2

    Context = aio.ServicerContext[Any, Any]

log = logging.getLogger(__name__)

ERROR_CHARACTERS = 1_000  # gRPC's metadata is 8 KiB, and JSON may write a character in 6 bytes
_STATUS: tuple[tuple[type[WeirError], grpc.StatusCode], ...] = (
    (RequestRefused, grpc.StatusCode.INVALID_ARGUMENT),
    (QueryRefused, grpc.StatusCode.INVALID_ARGUMENT),
    (BudgetRefused, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (MismatchRefused, grpc.StatusCode.FAILED_PRECONDITION),
    (ConfigError, grpc.StatusCode.FAILED_PRECONDITION),
    (DataError, grpc.StatusCode.FAILED_PRECONDITION),
    (UnavailableError, grpc.StatusCode.UNAVAILABLE),
)


class CoordinatorService(coordinator_pb2_grpc.CoordinatorServicer):
    """See protos/weir/v1/coordinator.proto."""

    def __init__(self, tools: Tools, *, catalog_toml: str, catalog_digest: str) -> None:
        self._tools = tools
        self._catalog = wire.catalog_reply(catalog_toml, catalog_digest)

    async def GetCatalog(
        self, request: coordinator_pb2.CatalogRequest, context: Context
    ) -> coordinator_pb2.CatalogReply:
        return self._catalog

    async def Explain(self, request: coordinator_pb2.QueryRequest, context: Context) -> coordinator_pb2.ExplainReply:
        async with _typed_errors(context):
            return wire.explain_reply(await explanation(self._tools, request.request))

    async def Query(
        self, request: coordinator_pb2.QueryRequest, context: Context
    ) -> AsyncGenerator[coordinator_pb2.QueryEvent, None]:
        async with _typed_errors(context), aclosing(answer(self._tools, request.request)) as events:
            async for event in events:
                if isinstance(event, Answer) or not request.quiet:
                    yield wire.event(event)

    async def GetBudgets(
        self, request: coordinator_pb2.BudgetsRequest, context: Context
    ) -> coordinator_pb2.BudgetsReply:
        async with _typed_errors(context):
            deadline = asyncio.get_running_loop().time() + self._tools.deadline_s
            return wire.budgets_reply(await self._tools.fanout.budgets(project=request.project, deadline=deadline))


@asynccontextmanager
async def _typed_errors(context: Context) -> AsyncIterator[None]:
    try:
        yield
        return
    except WeirError as fault:
        error = fault
    except Exception as fault:
        # The place alone: an exception's own text may hold values.
        place = "".join(traceback.format_tb(fault.__traceback__))
        log.error("unexpected %s\n%s", type(fault).__name__, place)
        error = InternalError("The coordinator failed.", remedy="Ask the region's steward to look at its log.")
    error = _short(error)
    await context.abort(_status(error), error.message, ((ERROR_KEY, error.to_json().encode()),))


def _status(error: WeirError) -> grpc.StatusCode:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def _short(error: WeirError) -> WeirError:
    message, remedy = error.message[:ERROR_CHARACTERS], error.remedy[: ERROR_CHARACTERS // 4]
    return type(error)(message, remedy=remedy, position=error.position)
