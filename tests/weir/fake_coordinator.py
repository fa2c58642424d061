"""A coordinator that says what a test tells it to, over real gRPC on a port that the kernel chooses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa

import weir
from privacy.catalog import parse_catalog
from privacy.errors import WeirError
from protos.weir.v1 import coordinator_pb2 as messages
from protos.weir.v1 import coordinator_pb2_grpc, fragment_pb2, node_pb2
from tests.weir.fake_server import serving_health

CATALOG_TOML = (Path(__file__).parent.parent / "federation" / "corpus_catalog.toml").read_text(encoding="utf-8")

ROWS = pa.table(
    {
        "kind": ["outpatient", "inpatient", None],
        "year": pa.array([2023, 2024, 2024], pa.int32()),
        "n": pa.array([12345, 987, 3], pa.int64()),
        "mean_cost": pa.array([123.4567, 81.5, None], pa.float64()),
    }
)
ERRORS = pa.table(
    {
        "kind": pa.array([None, None, None], pa.float64()),
        "year": pa.array([None, None, None], pa.float64()),
        "n": pa.array([14.1, 14.1, 14.1], pa.float64()),
        "mean_cost": pa.array([0.0345, 2.1, None], pa.float64()),
    }
)


def ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def budget(province: str, spent: float = 0.25) -> node_pb2.Budget:
    return node_pb2.Budget(
        province=province, epsilon_total=20, epsilon_spent=spent, epsilon_left=20 - spent, epsilon_per_query=2
    )


def ends(rows: pa.Table, errors: pa.Table, factor: float) -> pa.Table:
    """Values and so many standard errors."""
    columns = [
        pa.array(
            [None if None in (value, bar) else value + factor * bar for value, bar in zip(*pair, strict=True)],
            pa.float64(),
        )
        for pair in zip(*(map(pa.ChunkedArray.to_pylist, table.columns) for table in (rows, errors)), strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=errors.schema)


def answer(rows: pa.Table = ROWS, errors: pa.Table = ERRORS, **fields: Any) -> messages.Answer:
    charges = [
        messages.Charge(province="shanghai", epsilon_charged=0.25, snapshot="ab12", budget=budget("shanghai")),
        messages.Charge(province="jiangsu", already_released=True, snapshot="cd34", budget=budget("jiangsu")),
    ]
    whole: dict[str, Any] = {
        "charges": charges,
        "missing": [messages.NodeMissing(province="anhui", reason="did not answer in time")],
        "epsilon": 0.5,
        "span": 2,
        "epsilon_per_node": 0.25,
        "notes": ["A person with visits in two provinces is counted in each."],
    }
    whole |= {"low": ipc(ends(rows, errors, -2)), "high": ipc(ends(rows, errors, 3))}
    return messages.Answer(rows=ipc(rows), standard_errors=ipc(errors), **(whole | fields))


def plan(province: str, *, digest: str = "d" * 64, released: bool = False) -> messages.NodePlan:
    kinds = fragment_pb2.Measure
    measures = [
        kinds(
            name="m0", label="COUNT(*)", kind=kinds.KIND_COUNT, low=0, high=1, grid=1, sensitivity=11, epsilon=0.125,
            scale=88.0,
        ),
        kinds(
            name="m1", label="AVG(visits.cost)", kind=kinds.KIND_SUM, input="x0", low=-50000, high=50000, weight="m0",
            grid=0.01, centre=50000, sensitivity=550000, epsilon=0.125, scale=4400000.0,
        ),
    ]  # fmt: skip
    fragment = fragment_pb2.Fragment(
        province=province,
        tables=["visits"],
        unit="person",
        relation="SELECT person_id AS u, kind AS k0, cost AS x0 FROM visits",
        keys=[fragment_pb2.Key(name="k0", type="VARCHAR", label="kind")],
        measures=measures,
        bounding=fragment_pb2.Bounding(
            form=fragment_pb2.Bounding.FORM_CLIP, max_rows=11, max_groups=11, reason="A person may be in every group"
        ),
        epsilon=0.25,
        cell_count=5,
        cells_digest=digest,
    )
    prepared = node_pb2.PrepareReply(
        engine_sql=f"SELECT k0, count(*) AS m0 FROM visits WHERE p = '{province}' GROUP BY k0",
        engine="duckdb",
        budget=budget(province),
        already_released=released,
    )
    return messages.NodePlan(fragment=fragment, prepared=prepared)


def explanation(**fields: Any) -> messages.ExplainReply:
    whole: dict[str, Any] = {
        "nodes": [plan("shanghai"), plan("jiangsu")],
        "rest_sql": "SELECT k0 AS kind, m0 AS n FROM merged",
        "epsilon": 0.5,
        "span": 2,
        "epsilon_per_node": 0.25,
    }
    return messages.ExplainReply(**(whole | fields))


@dataclass
class FakeCoordinator(coordinator_pb2_grpc.CoordinatorServicer):
    """Replies as its fields say; `fault` is raised instead by every call."""

    answer: messages.Answer = field(default_factory=answer)
    explanation: messages.ExplainReply = field(default_factory=explanation)
    fault: WeirError | grpc.StatusCode | None = None
    toml: str = CATALOG_TOML
    digest: str = ""
    requests: list[bytes] = field(default_factory=list)
    queries: int = 0  # those that were not explained
    quiet: list[bool] = field(default_factory=list)  # of each of them, whether it asked for no progress
    projects: list[str] = field(default_factory=list)  # whose budgets were asked for

    def GetCatalog(self, request: Any, context: grpc.ServicerContext) -> messages.CatalogReply:
        self._fail(context)
        digest = self.digest or parse_catalog(self.toml, source="fake").digest
        return messages.CatalogReply(toml=self.toml, digest=digest)

    def Explain(self, request: Any, context: grpc.ServicerContext) -> messages.ExplainReply:
        self.requests.append(request.request)
        self._fail(context)
        return self.explanation

    def Query(self, request: Any, context: grpc.ServicerContext) -> Iterator[messages.QueryEvent]:
        self.queries += 1
        self.quiet.append(request.quiet)
        self.requests.append(request.request)
        self._fail(context)
        yield messages.QueryEvent(started=messages.Started(provinces=["shanghai", "jiangsu", "anhui"]))
        yield messages.QueryEvent(node_done=messages.NodeDone(province="shanghai", seconds=0.01))
        yield messages.QueryEvent(node_done=messages.NodeDone(province="jiangsu", seconds=0.02))
        yield messages.QueryEvent(node_missing=messages.NodeMissing(province="anhui", reason="did not answer in time"))
        yield messages.QueryEvent(answer=self.answer)

    def GetBudgets(self, request: Any, context: grpc.ServicerContext) -> messages.BudgetsReply:
        self.projects.append(request.project)
        self._fail(context)
        gone = messages.NodeMissing(province="anhui", reason="cannot be reached")
        return messages.BudgetsReply(budgets=[budget("shanghai"), budget("jiangsu", 1.5)], missing=[gone])

    def _fail(self, context: grpc.ServicerContext) -> None:
        if isinstance(self.fault, WeirError):
            context.set_trailing_metadata((("weir-error-bin", self.fault.to_json().encode()),))
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "typed")
        if isinstance(self.fault, grpc.StatusCode):
            context.abort(self.fault, "plain")


@contextmanager
def serving(coordinator: FakeCoordinator | None, listen: str = "127.0.0.1:0") -> Iterator[str]:
    """The address of a server with health, and with `coordinator` if there is one."""
    with serving_health(listen, partial(_add, coordinator)) as address:
        yield address


def _add(coordinator: FakeCoordinator | None, server: grpc.Server) -> None:
    if coordinator is not None:
        coordinator_pb2_grpc.add_CoordinatorServicer_to_server(coordinator, server)


@contextmanager
def connected(coordinator: FakeCoordinator | None) -> Iterator[weir.Connection]:
    """A connection to a server with `coordinator`."""
    with serving(coordinator) as address, weir.connect(address) as con:
        yield con
