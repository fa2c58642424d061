"""One query, end to end: understand, check everywhere, release, merge, compute the rest, answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from coordinator.above import computed, rehearse
from coordinator.answers import Answer, Event, NodeDone, Started
from coordinator.question import Question, Tools, understood
from coordinator.repeats import repeat_of
from coordinator.replies import Answered, Missing
from privacy.error_bars import seed_of
from privacy.errors import RequestRefused, UnavailableError

if TYPE_CHECKING:
    from coordinator.fanout import Outcome, Readiness


async def answer(tools: Tools, raw: bytes) -> AsyncGenerator[Event, None]:
    """Progress, then one Answer.

    Raises:
        WeirError: typed; up to the first NodeDone nothing was charged.
    """
    question = await understood(tools, raw)
    if question.plan.explains:
        raise RequestRefused(
            "EXPLAIN is answered by the call that explains, which costs nothing.",
            remedy="Send it there, or send the query itself, without EXPLAIN.",
        )
    readiness = await checked(tools, question)
    yield Started(tuple(readiness.ready))
    for missing in readiness.missing:
        yield missing
    ended: list[Answered | Missing] = []
    outcomes = tools.fanout.release(raw, question.plan.asked, readiness, deadline=question.nodes_deadline)
    async with aclosing(outcomes):
        async for outcome in outcomes:
            ended.append(outcome.result)
            yield _progress(outcome)
    releases = [result for result in ended if isinstance(result, Answered)]
    failed = [result for result in ended if isinstance(result, Missing)]
    _check_enough(question, releases, failed)
    yield await _answered(tools, question, releases, (*readiness.missing, *failed))


async def checked(tools: Tools, question: Question) -> Readiness:
    """Every node checks its fragment while the coordinator rehearses the rest; free.

    Raises:
        WeirError: a node refuses, too few are there, or the rest cannot work.
    """
    readiness, _ = await asyncio.gather(
        tools.fanout.prepare(
            question.raw,
            question.plan.asked,
            require_all=question.request.options.require_all,
            deadline=question.nodes_deadline,
        ),
        asyncio.to_thread(rehearse, tools.rest, question.plan, timeout_s=_left_s(question)),
    )
    return readiness


def _progress(outcome: Outcome) -> Event:
    if isinstance(outcome.result, Missing):
        return outcome.result
    return NodeDone(outcome.result.charge.province, outcome.seconds)


def _check_enough(question: Question, releases: list[Answered], failed: list[Missing]) -> None:
    if releases and not (failed and question.request.options.require_all):
        return
    reasons = "; ".join(f"{node.province}: {node.reason}" for node in failed)
    raise UnavailableError(
        f"Not every province answered. {reasons}" if releases else f"No province answered. {reasons}",
        remedy="Ask the same again: the provinces that were charged answer it again for nothing.",
    )


async def _answered(tools: Tools, question: Question, releases: list[Answered], missing: tuple[Missing, ...]) -> Answer:
    plan, seed = question.plan, seed_of(question.request)
    repeat = repeat_of(seed, releases)
    done = tools.repeats.known(repeat)
    if done is None:
        done = await asyncio.to_thread(
            computed,
            tools.rest,
            plan,
            {release.charge.province: release.cells for release in releases},
            seed=seed,
            timeout_s=_left_s(question),
        )
        tools.repeats.keep(repeat, done)
    charges = {release.charge.province: release.charge for release in releases}
    return Answer(
        rows=done.rows,
        bars=done.bars,
        charges=tuple(charges[province] for province in plan.asked if province in charges),
        missing=missing,
        epsilon=plan.epsilon,
        delta=plan.delta,
        epsilon_per_node=plan.epsilon_per_node,
        span=plan.span,
        notes=(*plan.notes, *done.notes),
    )


def _left_s(question: Question) -> float:
    return question.deadline - asyncio.get_running_loop().time()
