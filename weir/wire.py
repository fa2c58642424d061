"""Where protobuf ends: messages in, weir's own values out."""

from __future__ import annotations

import math
from typing import Literal

import pyarrow as pa

from privacy.errors import InternalError
from protos.weir.v1 import coordinator_pb2 as coordinator
from protos.weir.v1 import fragment_pb2 as fragment
from protos.weir.v1 import node_pb2 as node
from weir.answer import Answer, Charge
from weir.budget import Budget, Budgets, BudgetShare, Missing
from weir.explanation import Explanation, MeasurePlan, NodePlan, ThresholdPlan
from weir.progress import NodeDone, Progress, Started

_KINDS: dict[int, Literal["count", "sum", "histogram"]] = {
    fragment.Measure.KIND_COUNT: "count",
    fragment.Measure.KIND_SUM: "sum",
    fragment.Measure.KIND_TREE: "histogram",
    fragment.Measure.KIND_UNITS: "count",
}
_MECHANISMS = {
    fragment.Measure.MECHANISM_LAPLACE: "Laplace",
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
        InternalError: the payload is not Arrow, or its two tables differ in shape.
    """
    rows, errors = _table(message.rows), _table(message.standard_errors)
    if rows.column_names != errors.column_names or rows.num_rows != errors.num_rows:
        raise InternalError("The coordinator's answer does not fit its standard errors.", remedy="Use equal versions.")
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
        province=part.province,
        table=part.table,
        unit=part.unit,
        keys=tuple(key.label for key in part.keys),
        measures=tuple(_measure(measure, part) for measure in part.measures),
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


def _measure(message: fragment.Measure, part: fragment.Fragment) -> MeasurePlan:
    return MeasurePlan(
        label=message.label,
        kind="average" if message.HasField("weight") else _KINDS.get(message.kind, "sum"),
        mechanism=_MECHANISMS.get(message.mechanism, "unknown"),
        epsilon=message.epsilon,
        rho=message.rho,
        scale=message.scale * message.grid,
        standard_error=message.grid * math.sqrt(_variance_steps(message, part)),
    )


def _variance_steps(message: fragment.Measure, part: fragment.Fragment) -> float:
    """Of a count or sum, in steps²; of an average, of its distance sum S less the mean distance times its count N.

    The error of S/N is about (noise of S − S/N × noise of N) / N (delta method), and |S/N| is within the bounds.
    """
    own = _noise_variance(message)
    if not message.HasField("weight"):
        return own
    weight = sum(_noise_variance(other) for other in part.measures if other.name == message.weight)
    return own + max(abs(message.low), abs(message.high)) ** 2 * weight


def _noise_variance(message: fragment.Measure) -> float:
    from privacy.noise import gaussian_variance, laplace_variance  # loads OpenDP, which nothing else here needs

    known = gaussian_variance if message.mechanism == fragment.Measure.MECHANISM_GAUSSIAN else laplace_variance
    return known(message.scale)
