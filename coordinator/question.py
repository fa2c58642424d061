"""A client's bytes → a planned question, or a refusal before any node is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from privacy.errors import DomainRefused, MismatchRefused, RequestRefused
from privacy.request import PLANNER_VERSION, Request

if TYPE_CHECKING:
    from coordinator.fanout import FanOut
    from coordinator.repeats import Repeats
    from coordinator.rest import RestEngine
    from privacy.fragment import Plan


NODES_SHARE = 0.8  # of a query's time; nodes that are late are cut then, and what is left is for the others' answer


class Planning(Protocol):
    """What the coordinator needs of `privacy.planner.Planner`."""

    def plan(self, request: Request) -> Plan: ...


@dataclass(frozen=True)
class Tools:
    """What the pipelines work with.

    Attributes:
        now_unix_s: the clock that requests expire by.
        deadline_s: the longest that one query may take.
    """

    planner: Planning
    fanout: FanOut
    rest: RestEngine
    repeats: Repeats
    now_unix_s: Callable[[], float]
    deadline_s: float


@dataclass(frozen=True)
class Question:
    """A request that was understood.

    Attributes:
        raw: the client's bytes, which go to every node verbatim.
        nodes_deadline, deadline: times of the running loop's clock: of the nodes, and of the whole query.
    """

    raw: bytes
    request: Request
    plan: Plan
    nodes_deadline: float
    deadline: float


async def understood(tools: Tools, raw: bytes) -> Question:
    """The question in `raw`.

    Raises:
        RequestRefused: malformed or expired.
        MismatchRefused: made for another planner.
        QueryRefused: the planner refuses the SQL.
    """
    start = asyncio.get_running_loop().time()
    request = Request.decode(raw)
    if request.expires_unix_s <= tools.now_unix_s():
        raise RequestRefused("The request has expired.", remedy="Ask again, and check the clock of your machine.")
    if request.planner_version != PLANNER_VERSION:
        raise MismatchRefused(
            f"The request is for planner {request.planner_version}, the coordinator has {PLANNER_VERSION}.",
            remedy="Install the coordinator's version of weir.",
        )
    # In a thread: a hard query takes a while to plan, and others' progress must not wait for it.
    plan = await asyncio.to_thread(tools.planner.plan, request)
    if not plan.asked:
        raise DomainRefused("The WHERE clause excludes every province.", remedy="Widen the condition on province.")
    return Question(raw, request, plan, start + NODES_SHARE * tools.deadline_s, start + tools.deadline_s)
