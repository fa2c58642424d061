"""Where protobuf ends: messages in, weir's own values out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import pyarrow as pa

from privacy.errors import InternalError
from protos.weir.v1 import coordinator_pb2 as coordinator
from protos.weir.v1 import fragment_pb2 as fragment
from protos.weir.v1 import node_pb2 as node
from weir.answer import Answer, Charge
from weir.budget import Budget, Budgets, BudgetShare, Missing
from weir.explanation import Explanation, MeasureKind, MeasurePlan, NodePlan, ThresholdPlan
from weir.progress import NodeDone, Progress, Started

_KINDS: dict[int, Literal["count", "sum", "histogram"]] = {
    fragment.Measure.KIND_COUNT: "count",
    fragment.Measure.KIND_SUM: "sum",
    fragment.Measure.KIND_TREE: "histogram",
    fragment.Measure.KIND_UNITS: "count",
}
_MECHANISMS = {
    fragment.Measure.MECHANISM_LAPLACE: "Laplace",
    fragment.Measure.MECHANISM_LAPLACE_PAIR: "Laplace pair",
    fragment.Measure.MECHANISM_GAUSSIAN: "Gaussian",
}
_FORMS = {
    fragment.Bounding.FORM_NONE: "none",
    fragment.Bounding.FORM_CLIP: "clip",
    fragment.Bounding.FORM_CLIP_AND_LIMIT: "clip_and_limit",
}


def progress_from(event: coordinator.QueryEvent) -> Progress | None:
    """The event for `on_progress`; None for the answer and for events of later versions."""
    match event.WhichOneof("event"):
        case "started":
            return Started(tuple(event.started.provinces))
        case "node_done":
            return NodeDone(event.node_done.province, event.node_done.seconds)
        case "node_missing":
            return _missing(event.node_missing)
    return None


def answer_from(message: coordinator.Answer, sql: str) -> Answer:
    """The answer in `message`.

    Raises:
        InternalError: the payload is not Arrow, or its tables differ in shape.
    """
    rows, *bars = map(_table, (message.rows, message.standard_errors, message.low, message.high))
    if any(rows.column_names != part.column_names or rows.num_rows != part.num_rows for part in bars):
        raise InternalError("The coordinator's answer does not fit its error bars.", remedy="Use equal versions.")
    errors, low, high = bars
    return Answer(
        sql=sql,
        epsilon=message.epsilon,
        delta=message.delta,
        epsilon_per_node=message.epsilon_per_node,
        span=max(1, message.span),
        charges=tuple(map(_charge, message.charges)),
        missing=tuple(map(_missing, message.missing)),
        notes=tuple(message.notes),
        _rows=rows,
        _errors=errors,
        _low=low,
        _high=high,
    )


def explanation_from(message: coordinator.ExplainReply, sql: str) -> Explanation:
    """The plan in `message`."""
    return Explanation(
        sql=sql,
        epsilon=message.epsilon,
        delta=message.delta,
        epsilon_per_node=message.epsilon_per_node,
        span=max(1, message.span),
        nodes=tuple(map(_node_plan, message.nodes)),
        rest_sql=message.rest_sql,
        notes=tuple(message.notes),
        missing=tuple(map(_missing, message.missing)),
    )


def budgets_from(message: coordinator.BudgetsReply) -> Budgets:
    """The budgets in `message`."""
    return Budgets(tuple(map(_budget, message.budgets)), tuple(map(_missing, message.missing)))


def _table(payload: bytes) -> pa.Table:
    try:
        with pa.ipc.open_stream(payload) as stream:
            return stream.read_all()
    except pa.ArrowException:
        raise InternalError("The coordinator's answer is not Arrow.", remedy="Use equal versions.") from None


def _missing(message: coordinator.NodeMissing) -> Missing:
    return Missing(message.province, message.reason)


def _budget(message: node.Budget) -> Budget:
    return Budget(
        province=message.province,
        epsilon_total=message.epsilon_total,
        epsilon_spent=_finite(message.epsilon_spent),
        epsilon_left=message.epsilon_left,
        epsilon_per_query=message.epsilon_per_query,
        delta_total=message.delta_total,
        delta_spent=message.delta_spent,
        rho_spent=message.rho_spent,
        frozen=message.frozen,
        shares=tuple(map(_share, message.shares)),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _share(message: node.BudgetShare) -> BudgetShare:
    return BudgetShare(
        kind=message.kind,
        name=message.name,
        epsilon_total=message.epsilon_total,
        epsilon_spent=_finite(message.epsilon_spent),
        epsilon_left=message.epsilon_left,
        end=message.end,
    )


def _charge(message: coordinator.Charge) -> Charge:
    return Charge(
        province=message.province,
        epsilon_charged=message.epsilon_charged,
        already_released=message.already_released,
        snapshot=message.snapshot,
        budget=_budget(message.budget),
    )


def _node_plan(message: coordinator.NodePlan) -> NodePlan:
    part, prepared = message.fragment, message.prepared
    return NodePlan(
        block=message.block,
        province=part.province,
        tables=tuple(part.tables),
        unit=part.unit,
        keys=tuple(key.label for key in part.keys),
        measures=tuple(plan for measure in part.measures for plan in _measures(measure, part)),
        bounding=_FORMS.get(part.bounding.form, "unknown"),
        bounding_reason=part.bounding.reason,
        max_rows=part.bounding.max_rows,
        max_groups=part.bounding.max_groups,
        cells=part.cell_count,
        cells_digest=part.cells_digest,
        epsilon=part.epsilon,
        relation=part.relation,
        engine=prepared.engine,
        engine_sql=prepared.engine_sql,
        already_released=prepared.already_released,
        budget=_budget(prepared.budget),
        threshold=_threshold(part.threshold) if part.HasField("threshold") else None,
    )


def _threshold(message: fragment.Threshold) -> ThresholdPlan:
    return ThresholdPlan(message.above, message.least, message.delta, message.most_groups)


def _measures(message: fragment.Measure, part: fragment.Fragment) -> Iterator[MeasurePlan]:
    """What the answer takes from a measure: a count, a sum, an average, or both of the last.

    An average is S/N, of the distance sum S and its count N. Its error is about (noise of S − S/N × noise of N) / N
    (delta method), and |S/N| is within the bounds. A sum of such rows is S + centre × N.
    """
    if message.label:
        kind = "average" if message.HasField("weight") else _KINDS.get(message.kind, "sum")
        yield _measure(message, part, message.label, kind, per_count=max(abs(message.low), abs(message.high)))
    if message.total:
        yield _measure(message, part, message.total, "sum", per_count=message.centre)


def _measure(
    message: fragment.Measure, part: fragment.Fragment, label: str, kind: MeasureKind, *, per_count: int
) -> MeasurePlan:
    """Args: per_count: the steps that an error of 1 in the count makes."""
    weight = sum(_noise_variance(other) for other in part.measures if other.name == message.weight)
    return MeasurePlan(
        label=label,
        kind=kind,
        mechanism=_MECHANISMS.get(message.mechanism, "unknown"),
        epsilon=message.epsilon,
        rho=message.rho,
        scale=message.scale * message.grid,
        standard_error=message.grid * math.sqrt(_noise_variance(message) + per_count**2 * weight),
    )


def _noise_variance(message: fragment.Measure) -> float:
    from privacy.noise import gaussian_variance, laplace_variance, pair_variance  # loads OpenDP, needed only here

    known = {
        fragment.Measure.MECHANISM_LAPLACE_PAIR: pair_variance,
        fragment.Measure.MECHANISM_GAUSSIAN: gaussian_variance,
    }
    return known.get(message.mechanism, laplace_variance)(message.scale)
