"""What a query would run and cost, free: everything of query.py that comes before a release."""

from __future__ import annotations

from coordinator.answers import Explanation, NodePlan
from coordinator.query import checked
from coordinator.question import Tools, understood


async def explanation(tools: Tools, raw: bytes) -> Explanation:
    """The plan of the request in `raw`, with what each node would run.

    Raises:
        WeirError: whatever the query itself would be refused with.
    """
    question = await understood(tools, raw)
    readiness = await checked(tools, question)
    plan = question.plan
    return Explanation(
        nodes=tuple(
            NodePlan(block.name, block.fragments[province], ready[block.name])
            for block in plan.blocks
            for province, ready in readiness.ready.items()
            if province in block.fragments
        ),
        rest_sql=plan.rest.sql,
        epsilon=plan.epsilon,
        delta=plan.delta,
        epsilon_per_node=plan.epsilon_per_node,
        span=plan.span,
        notes=plan.notes,
        missing=readiness.missing,
    )
