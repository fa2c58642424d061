"""Protobuf ↔ the coordinator's own values; protobuf types and Arrow's bytes go no further than this module."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa

from coordinator.answers import Answer, NodeDone, Started
from coordinator.replies import Budget, BudgetShare, Charge, Identity, Missing, Prepared, Released
from privacy.errors import InternalError
from protos.weir.v1 import coordinator_pb2, fragment_pb2, node_pb2

if TYPE_CHECKING:
    from coordinator.answers import Budgets, Event, Explanation
    from privacy.fragment import Bounding, Fragment, Level, Measure, Threshold
    from privacy.trees import Tree

_KINDS = {
    "count": fragment_pb2.Measure.KIND_COUNT,
    "sum": fragment_pb2.Measure.KIND_SUM,
    "tree": fragment_pb2.Measure.KIND_TREE,
    "units": fragment_pb2.Measure.KIND_UNITS,
}
_MECHANISMS = {
    "laplace": fragment_pb2.Measure.MECHANISM_LAPLACE,
    "laplace_pair": fragment_pb2.Measure.MECHANISM_LAPLACE_PAIR,
    "gaussian": fragment_pb2.Measure.MECHANISM_GAUSSIAN,
}
_FORMS = {
    "none": fragment_pb2.Bounding.FORM_NONE,
    "clip": fragment_pb2.Bounding.FORM_CLIP,
    "clip_and_limit": fragment_pb2.Bounding.FORM_CLIP_AND_LIMIT,
}

# To nodes


def fragment_request(raw: bytes, block: str, fragment: Fragment, catalog_digest: str) -> node_pb2.FragmentRequest:
    """The researcher's bytes verbatim, with one node's fragment of a block."""
    return node_pb2.FragmentRequest(
        request=raw, block=block, fragment=_fragment(fragment), catalog_digest=catalog_digest
    )


def describe_request() -> node_pb2.DescribeRequest:
    return node_pb2.DescribeRequest()


def budget_request(project: str) -> node_pb2.BudgetRequest:
    return node_pb2.BudgetRequest(project=project)


def _fragment(fragment: Fragment) -> fragment_pb2.Fragment:
    return fragment_pb2.Fragment(
        province=fragment.province,
        tables=fragment.tables,
        unit=fragment.unit,
        relation=fragment.relation,
        keys=[fragment_pb2.Key(name=key.name, type=key.type, label=key.label) for key in fragment.keys],
        measures=[_measure(measure) for measure in fragment.measures],
        bounding=_bounding(fragment.bounding),
        epsilon=fragment.epsilon,
        cell_count=fragment.cell_count,
        cells_digest=fragment.cells_digest,
        threshold=_threshold(fragment.threshold) if fragment.threshold is not None else None,
    )


def _measure(measure: Measure) -> fragment_pb2.Measure:
    return fragment_pb2.Measure(
        name=measure.name,
        label=measure.label,
        kind=_KINDS[measure.kind],
        input=measure.input,
        low=measure.low,
        high=measure.high,
        weight=measure.weight,
        grid=measure.grid,
        centre=measure.centre,
        tree=_tree(measure.tree) if measure.tree is not None else None,
        mechanism=_MECHANISMS[measure.mechanism],
        sensitivity=measure.sensitivity,
        sensitivity_l2=measure.sensitivity_l2,
        epsilon=measure.epsilon,
        rho=measure.rho,
        scale=measure.scale,
        total=measure.total,
        level=_level(measure.level) if measure.level is not None else None,
    )


def _level(level: Level) -> fragment_pb2.Level:
    return fragment_pb2.Level(of=level.of, keys=level.keys, most_cells=level.most_cells)


def _tree(tree: Tree) -> fragment_pb2.Tree:
    return fragment_pb2.Tree(low=tree.low, width=tree.width, leaves=tree.leaves, whole=tree.whole, flat=tree.flat)


def _threshold(threshold: Threshold) -> fragment_pb2.Threshold:
    return fragment_pb2.Threshold(
        measure=threshold.measure,
        above=threshold.above,
        least=threshold.least,
        delta=threshold.delta,
        most_groups=threshold.most_groups,
    )


def _bounding(bounding: Bounding) -> fragment_pb2.Bounding:
    return fragment_pb2.Bounding(
        form=_FORMS[bounding.form],
        max_rows=bounding.max_rows,
        max_groups=bounding.max_groups,
        reason=bounding.reason,
    )


# From nodes


def identity(reply: node_pb2.DescribeReply) -> Identity:
    return Identity(reply.province, reply.catalog_digest, reply.planner_version)


def prepared(province: str, reply: node_pb2.PrepareReply) -> Prepared:
    """What one node would run, and its stored answer where it sends one.

    Raises:
        InternalError: as `released`.
    """
    stored = released(province, reply.stored) if reply.HasField("stored") else None
    return Prepared(reply.engine_sql, reply.engine, budget(reply.budget), reply.already_released, stored)


def released(province: str, reply: node_pb2.ReleaseReply) -> Released:
    """One node's release.

    Raises:
        InternalError: the payload is no Arrow stream.
    """
    charge = Charge(province, reply.epsilon_charged, reply.already_released, reply.snapshot, budget(reply.budget))
    try:
        cells = pa.ipc.open_stream(reply.release).read_all()
        cells.validate(full=True)
    except (pa.ArrowException, OSError):
        raise InternalError("The node's release cannot be read.") from None
    return Released(cells, charge, hashlib.sha256(reply.release).digest())


def budget(reply: node_pb2.Budget) -> Budget:
    return Budget(
        province=reply.province,
        epsilon_total=reply.epsilon_total,
        epsilon_spent=reply.epsilon_spent,
        epsilon_left=reply.epsilon_left,
        epsilon_per_query=reply.epsilon_per_query,
        delta_total=reply.delta_total,
        delta_spent=reply.delta_spent,
        rho_spent=reply.rho_spent,
        frozen=reply.frozen,
        shares=tuple(_share_of(share) for share in reply.shares),
    )


def _share_of(share: node_pb2.BudgetShare) -> BudgetShare:
    return BudgetShare(share.kind, share.name, share.epsilon_total, share.epsilon_spent, share.epsilon_left, share.end)


# To clients


def catalog_reply(toml: str, digest: str) -> coordinator_pb2.CatalogReply:
    return coordinator_pb2.CatalogReply(toml=toml, digest=digest)


def event(event: Event) -> coordinator_pb2.QueryEvent:
    match event:
        case Started():
            return coordinator_pb2.QueryEvent(started=coordinator_pb2.Started(provinces=event.provinces))
        case NodeDone():
            done = coordinator_pb2.NodeDone(province=event.province, seconds=event.seconds)
            return coordinator_pb2.QueryEvent(node_done=done)
        case Missing():
            return coordinator_pb2.QueryEvent(node_missing=_missing(event))
        case Answer():
            return coordinator_pb2.QueryEvent(answer=_answer(event))


def explain_reply(explanation: Explanation) -> coordinator_pb2.ExplainReply:
    return coordinator_pb2.ExplainReply(
        nodes=[
            coordinator_pb2.NodePlan(
                fragment=_fragment(node.fragment), prepared=_prepared(node.prepared), block=node.block
            )
            for node in explanation.nodes
        ],
        rest_sql=explanation.rest_sql,
        epsilon=explanation.epsilon,
        delta=explanation.delta,
        epsilon_per_node=explanation.epsilon_per_node,
        span=explanation.span,
        notes=explanation.notes,
        missing=[_missing(missing) for missing in explanation.missing],
    )


def budgets_reply(budgets: Budgets) -> coordinator_pb2.BudgetsReply:
    return coordinator_pb2.BudgetsReply(
        budgets=[_budget(budget) for budget in budgets.budgets],
        missing=[_missing(missing) for missing in budgets.missing],
    )


def _answer(answer: Answer) -> coordinator_pb2.Answer:
    return coordinator_pb2.Answer(
        rows=_ipc(answer.rows),
        standard_errors=_ipc(answer.bars.standard_errors),
        low=_ipc(answer.bars.low),
        high=_ipc(answer.bars.high),
        charges=[_charge(charge) for charge in answer.charges],
        missing=[_missing(missing) for missing in answer.missing],
        epsilon=answer.epsilon,
        delta=answer.delta,
        epsilon_per_node=answer.epsilon_per_node,
        span=answer.span,
        notes=answer.notes,
    )


def _ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    stream: bytes = sink.getvalue().to_pybytes()
    return stream


def _missing(missing: Missing) -> coordinator_pb2.NodeMissing:
    return coordinator_pb2.NodeMissing(province=missing.province, reason=missing.reason)


def _charge(charge: Charge) -> coordinator_pb2.Charge:
    return coordinator_pb2.Charge(
        province=charge.province,
        epsilon_charged=charge.epsilon_charged,
        already_released=charge.already_released,
        snapshot=charge.snapshot,
        budget=_budget(charge.budget),
    )


def _prepared(prepared: Prepared) -> node_pb2.PrepareReply:
    return node_pb2.PrepareReply(
        engine_sql=prepared.engine_sql,
        engine=prepared.engine,
        budget=_budget(prepared.budget),
        already_released=prepared.already_released,
    )


def _budget(budget: Budget) -> node_pb2.Budget:
    return node_pb2.Budget(
        province=budget.province,
        epsilon_total=budget.epsilon_total,
        epsilon_spent=budget.epsilon_spent,
        epsilon_left=budget.epsilon_left,
        epsilon_per_query=budget.epsilon_per_query,
        delta_total=budget.delta_total,
        delta_spent=budget.delta_spent,
        rho_spent=budget.rho_spent,
        frozen=budget.frozen,
        shares=[node_pb2.BudgetShare(**vars(share)) for share in budget.shares],
    )
