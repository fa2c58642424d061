"""One query at many nodes, in two phases: everybody checks, and only then does anybody release."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from coordinator.answers import Budgets
from coordinator.replies import Answered, Missing, Prepared, Released
from privacy.errors import BudgetRefused, MismatchRefused, QueryRefused, RequestRefused, UnavailableError, WeirError

if TYPE_CHECKING:
    from coordinator.node_link import NodeLink
    from privacy.fragment import Fragment

PREPARE_S = 10.0  # checking reads no data: a node that takes longer counts as missing
_REFUSALS = (RequestRefused, QueryRefused, BudgetRefused, MismatchRefused)  # the rest are faults of the node's own

ReplyT = TypeVar("ReplyT")
Asked = Mapping[str, Mapping[str, "Fragment"]]  # by province and block


@dataclass(frozen=True)
class Readiness:
    """Which nodes are ready to release, by province and block, and which are missing."""

    ready: dict[str, dict[str, Prepared]]
    missing: tuple[Missing, ...]


@dataclass(frozen=True)
class Outcome:
    """How one node's release ended, `seconds` after it was asked."""

    result: Answered | Missing
    seconds: float


class FanOut:
    """The nodes of the region.

    Deadlines are times of the running loop's clock.
    """

    def __init__(self, links: Mapping[str, NodeLink]) -> None:
        self._links = dict(links)

    async def prepare(self, raw: bytes, asked: Asked, *, require_all: bool, deadline: float) -> Readiness:
        """Ask every node of `asked` to check its fragments; nothing is charged.

        Raises:
            WeirError: a node refuses; its own error, with the province before it.
            UnavailableError: no node is reachable, or one is not and `require_all` is set.
        """

        async def ask(link: NodeLink) -> dict[str, Prepared]:
            blocks = asked[link.province]
            replies = [link.prepare(raw, block, fragment, deadline=sooner) for block, fragment in blocks.items()]
            return dict(zip(blocks, await asyncio.gather(*replies), strict=True))

        sooner = min(deadline, asyncio.get_running_loop().time() + PREPARE_S)
        ready, faults = await self._everywhere(tuple(asked), ask)
        for province, fault in faults.items():
            if isinstance(fault, _REFUSALS):
                raise _at(province, fault)
        missing = _missing(faults)
        if missing and (require_all or not ready):
            raise _too_few(missing, require_all=require_all)
        return Readiness(ready, missing)

    async def release(
        self, raw: bytes, asked: Asked, readiness: Readiness, *, deadline: float
    ) -> AsyncGenerator[Outcome, None]:
        """Have the nodes that are ready release; gives each as it ends. Close the iterator to stop the rest."""
        start = asyncio.get_running_loop().time()

        async def one(province: str, prepared: Mapping[str, Prepared]) -> Outcome:
            blocks, link = asked[province], self._links[province]
            replies = [
                _released(link, raw, block, fragment, prepared[block], deadline) for block, fragment in blocks.items()
            ]
            ended = await asyncio.gather(*replies, return_exceptions=True)
            return Outcome(_together(province, tuple(blocks), ended), asyncio.get_running_loop().time() - start)

        tasks = [asyncio.create_task(one(province, prepared)) for province, prepared in readiness.ready.items()]
        try:
            for ended in asyncio.as_completed(tasks):
                yield await ended
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def budgets(self, *, project: str = "", deadline: float) -> Budgets:
        """The budget of every node that can be reached."""
        sooner = min(deadline, asyncio.get_running_loop().time() + PREPARE_S)
        found, faults = await self._everywhere(
            tuple(self._links), lambda link: link.budget(project=project, deadline=sooner)
        )
        return Budgets(tuple(found.values()), _missing(faults))

    async def introductions(self, *, timeout_s: float) -> dict[str, WeirError]:
        """Ask every node who it is; gives the errors, by province."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        return (await self._everywhere(tuple(self._links), lambda link: link.introduce(deadline=deadline)))[1]

    async def close(self) -> None:
        await asyncio.gather(*(link.close() for link in self._links.values()))

    async def _everywhere(
        self, provinces: tuple[str, ...], ask: Callable[[NodeLink], Awaitable[ReplyT]]
    ) -> tuple[dict[str, ReplyT], dict[str, WeirError]]:
        async def one(province: str) -> ReplyT | WeirError:
            if province not in self._links:
                return UnavailableError("The coordinator knows no node of this province.")
            try:
                return await ask(self._links[province])
            except WeirError as fault:
                return fault

        replies = dict(zip(provinces, await asyncio.gather(*map(one, provinces)), strict=True))
        faults = {province: reply for province, reply in replies.items() if isinstance(reply, WeirError)}
        found = {province: reply for province, reply in replies.items() if not isinstance(reply, WeirError)}
        return found, faults


async def _released(
    link: NodeLink, raw: bytes, block: str, fragment: Fragment, prepared: Prepared, deadline: float
) -> Released:
    """What the node sent already, or what it releases now."""
    if prepared.stored is not None:
        return prepared.stored
    return await link.release(raw, block, fragment, fresh=not prepared.already_released, deadline=deadline)


def _together(province: str, blocks: Sequence[str], ended: Sequence[Released | BaseException]) -> Answered | Missing:
    """A node's releases; a node that answers only some blocks is missing, for the blocks belong together."""
    for fault in ended:
        if isinstance(fault, WeirError):
            return Missing(province, fault.message)
        if isinstance(fault, BaseException):
            raise fault
    found = [reply for reply in ended if isinstance(reply, Released)]
    charges = [reply.charge for reply in found]
    least = min(charges, key=lambda charge: charge.budget.epsilon_left)  # as it is after all of them
    charge = replace(
        least,
        epsilon_charged=math.fsum(charge.epsilon_charged for charge in charges),
        already_released=all(charge.already_released for charge in charges),
    )
    replies = dict(zip(blocks, found, strict=True))
    cells = {block: reply.cells for block, reply in replies.items()}
    return Answered(cells, charge, {block: reply.digest for block, reply in replies.items()})


def _missing(faults: Mapping[str, WeirError]) -> tuple[Missing, ...]:
    return tuple(Missing(province, fault.message) for province, fault in faults.items())


def _at(province: str, fault: WeirError) -> WeirError:
    return type(fault)(f"{province}: {fault.message}", remedy=fault.remedy, position=fault.position)


def _too_few(missing: tuple[Missing, ...], *, require_all: bool) -> UnavailableError:
    reasons = "; ".join(f"{node.province}: {node.reason}" for node in missing)
    if require_all:
        return UnavailableError(
            f"Not every province can answer, and the query requires all. {reasons}",
            remedy="Ask again later, or without require_all. Nothing was charged.",
        )
    return UnavailableError(
        f"No province can answer. {reasons}", remedy="Ask the region's steward. Nothing was charged."
    )
