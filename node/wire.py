"""Protobuf on one side, frozen dataclasses on the other; protobuf types stop here."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

from node.guard import Asked
from node.ledger import Share
from node.release import NodeBudget, Prepared, Released
from privacy.errors import MismatchRefused
from privacy.fragment import Bounding, Fragment, Key, Kind, Level, Measure, Mechanism, Threshold
from privacy.trees import Tree
from protos.weir.v1 import fragment_pb2, node_pb2

_KINDS: dict[int, Kind] = {
    fragment_pb2.Measure.KIND_COUNT: "count",
    fragment_pb2.Measure.KIND_SUM: "sum",
    fragment_pb2.Measure.KIND_TREE: "tree",
    fragment_pb2.Measure.KIND_UNITS: "units",
}
_MECHANISMS: dict[int, Mechanism] = {
    fragment_pb2.Measure.MECHANISM_LAPLACE: "laplace",
    fragment_pb2.Measure.MECHANISM_LAPLACE_PAIR: "laplace_pair",
    fragment_pb2.Measure.MECHANISM_GAUSSIAN: "gaussian",
}
_FORMS: dict[int, Literal["none", "clip", "clip_and_limit"]] = {
    fragment_pb2.Bounding.FORM_NONE: "none",
    fragment_pb2.Bounding.FORM_CLIP: "clip",
    fragment_pb2.Bounding.FORM_CLIP_AND_LIMIT: "clip_and_limit",
}


def asked(message: node_pb2.FragmentRequest) -> Asked:
    """Raises: MismatchRefused: an enum value that this version does not know."""
    return Asked(message.request, message.block, _fragment(message.fragment), message.catalog_digest)


def _fragment(message: fragment_pb2.Fragment) -> Fragment:
    return Fragment(
        province=message.province,
        tables=tuple(message.tables),
        unit=message.unit,
        relation=message.relation,
        keys=tuple(Key(key.name, key.type, key.label) for key in message.keys),
        measures=tuple(_measure(measure) for measure in message.measures),
        bounding=_bounding(message.bounding),
        epsilon=message.epsilon,
        cell_count=message.cell_count,
        cells_digest=message.cells_digest,
        cells=pa.table({}),  # cells do not travel: the digest identifies them, the node derives them
        threshold=_threshold(message.threshold) if message.HasField("threshold") else None,
    )


def _measure(message: fragment_pb2.Measure) -> Measure:
    if message.kind not in _KINDS:
        raise _unknown("kind of measure")
    if message.mechanism not in _MECHANISMS:
        raise _unknown("mechanism")
    return Measure(
        name=message.name,
        label=message.label,
        kind=_KINDS[message.kind],
        input=message.input if message.HasField("input") else None,
        low=message.low,
        high=message.high,
        weight=message.weight if message.HasField("weight") else None,
        grid=message.grid,
        centre=message.centre,
        tree=_tree(message.tree) if message.HasField("tree") else None,
        mechanism=_MECHANISMS[message.mechanism],
        sensitivity=message.sensitivity,
        sensitivity_l2=message.sensitivity_l2,
        epsilon=message.epsilon,
        rho=message.rho,
        scale=message.scale,
        total=message.total,
        level=_level(message.level) if message.HasField("level") else None,
    )


def _level(message: fragment_pb2.Level) -> Level:
    return Level(message.of, tuple(message.keys), message.most_cells)


def _tree(message: fragment_pb2.Tree) -> Tree:
    return Tree(message.low, message.width, message.leaves, message.whole, message.flat)


def _bounding(message: fragment_pb2.Bounding) -> Bounding:
    if message.form not in _FORMS:
        raise _unknown("form of bounding")
    return Bounding(_FORMS[message.form], message.max_rows, message.max_groups, message.reason)


def _threshold(message: fragment_pb2.Threshold) -> Threshold:
    return Threshold(message.measure, message.above, message.least, message.delta, message.most_groups)


def _unknown(what: str) -> MismatchRefused:
    return MismatchRefused(
        f"The fragment names a {what} that this node does not know.",
        remedy="Run the same version of weir at client, coordinator and node.",
    )


def prepare_reply(prepared: Prepared) -> node_pb2.PrepareReply:
    return node_pb2.PrepareReply(
        engine_sql=prepared.engine_sql,
        engine=prepared.engine,
        budget=budget(prepared.budget),
        already_released=prepared.already_released,
        stored=release_reply(prepared.stored) if prepared.stored is not None else None,
    )


def release_reply(released: Released) -> node_pb2.ReleaseReply:
    return node_pb2.ReleaseReply(
        release=released.release,
        epsilon_charged=released.epsilon_charged,
        already_released=released.already_released,
        snapshot=released.snapshot,
        budget=budget(released.budget),
    )


def budget(known: NodeBudget) -> node_pb2.Budget:
    balance = known.balance
    total, *others = balance.shares
    return node_pb2.Budget(
        province=known.province,
        epsilon_total=total.epsilon_total,
        epsilon_spent=total.epsilon_spent,
        epsilon_left=total.epsilon_left,
        epsilon_per_query=known.epsilon_per_query,
        delta_total=balance.delta_total,
        delta_spent=balance.delta_spent,
        rho_spent=balance.rho_spent,
        frozen=balance.frozen,
        shares=[_share(share) for share in others],
    )


def _share(share: Share) -> node_pb2.BudgetShare:
    return node_pb2.BudgetShare(
        kind=share.kind,
        name=share.name,
        epsilon_total=share.epsilon_total,
        epsilon_spent=share.epsilon_spent,
        epsilon_left=share.epsilon_left,
        end=share.end.isoformat() if share.end is not None else "",
    )
