"""The daemon over the wire: catalog, events, typed errors, health, reflection, and a clean end."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pyarrow as pa
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from coordinator.config import load_config
from coordinator.serve import Daemon
from coordinator.service import ERROR_CHARACTERS, CoordinatorService
from privacy.errors import ERROR_KEY, ConfigError, ConstructRefused, InternalError, Position, SyntaxRefused, WeirError
from protos.weir.v1 import coordinator_pb2, coordinator_pb2_grpc
from tests.coordinator.fakes import (
    FakeNode,
    FixedPlanner,
    federation,
    free_address,
    no_keys,
    raw_request,
    release,
    serving,
    total_plan,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from coordinator.question import Tools

CATALOG = Path("tests/federation/corpus_catalog.toml").resolve()


@asynccontextmanager
async def client_of(tools: Tools) -> AsyncIterator[coordinator_pb2_grpc.CoordinatorAsyncStub]:
    service = CoordinatorService(tools, catalog_toml="the text", catalog_digest="d")
    add = coordinator_pb2_grpc.add_CoordinatorServicer_to_server
    async with serving(service, add) as address, aio.insecure_channel(address) as channel:
        yield coordinator_pb2_grpc.CoordinatorStub(channel)


def query(raw: bytes = b"") -> coordinator_pb2.QueryRequest:
    return coordinator_pb2.QueryRequest(request=raw or raw_request())


def error_of(fault: aio.AioRpcError) -> WeirError:
    return WeirError.from_json(dict(fault.trailing_metadata())[ERROR_KEY].decode())


def nodes(**faults: object) -> dict[str, FakeNode | None]:
    return {"anhui": FakeNode("anhui", release(no_keys(), [3]), **faults), "shanghai": None}  # type: ignore[arg-type]


def test_events_and_the_answer_cross_the_wire() -> None:
    async def run() -> None:
        async with (
            federation(nodes(), FixedPlanner(total_plan("anhui", "shanghai"))) as tools,
            client_of(tools) as stub,
        ):
            events = [event async for event in stub.Query(query())]
        kinds = [event.WhichOneof("event") for event in events]
        assert kinds == ["started", "node_missing", "node_done", "answer"]
        assert list(events[0].started.provinces) == ["anhui"]
        answer = events[-1].answer
        assert pa.ipc.open_stream(answer.rows).read_all().to_pydict() == {"n": [3]}
        for bars in (answer.standard_errors, answer.low, answer.high):
            assert pa.ipc.open_stream(bars).read_all().schema.types == [pa.float64()]
        ends = [pa.ipc.open_stream(end).read_all()["n"][0].as_py() for end in (answer.low, answer.high)]
        assert ends == [3 - 6, 3 + 6]  # P(|noise| > 6) is 3.8 % at scale 2, of 5 it is 6.2 %
        assert (answer.epsilon, answer.span, list(answer.notes)) == (1.0, 2, ["a note"])
        assert [missing.province for missing in answer.missing] == ["shanghai"]
        assert answer.charges[0].epsilon_charged == 0.5
        assert answer.charges[0].budget.epsilon_left == 9.5

    asyncio.run(run())


def test_who_wants_no_progress_is_told_the_answer_alone() -> None:
    async def run() -> None:
        planner = FixedPlanner(total_plan("anhui", "shanghai"))
        async with federation(nodes(), planner) as tools, client_of(tools) as stub:
            quiet = coordinator_pb2.QueryRequest(request=raw_request(), quiet=True)
            events = [event async for event in stub.Query(quiet)]
        assert [event.WhichOneof("event") for event in events] == ["answer"]
        assert [missing.province for missing in events[0].answer.missing] == ["shanghai"]

    asyncio.run(run())


def test_explain_budgets_and_catalog_cross_the_wire() -> None:
    async def run() -> None:
        async with federation(nodes(), FixedPlanner(total_plan("anhui"))) as tools, client_of(tools) as stub:
            explained = await stub.Explain(query())
            assert explained.nodes[0].fragment.measures[0].scale == 2.0
            assert explained.nodes[0].prepared.engine == "duckdb"
            budgets = await stub.GetBudgets(coordinator_pb2.BudgetsRequest())
            assert [budget.province for budget in budgets.budgets] == ["anhui"]
            assert [missing.province for missing in budgets.missing] == ["shanghai"]
            catalog = await stub.GetCatalog(coordinator_pb2.CatalogRequest())
            assert (catalog.toml, catalog.digest) == ("the text", "d")

    asyncio.run(run())


def test_a_node_s_typed_error_reaches_the_client() -> None:
    refusal = ConstructRefused("Not answered.", remedy="Write another.", position=Position(1, 8))

    async def run() -> None:
        plan = total_plan("anhui")
        async with federation(nodes(refusal=refusal), FixedPlanner(plan)) as tools, client_of(tools) as stub:
            with pytest.raises(aio.AioRpcError) as caught:
                await stub.Explain(query())
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            with pytest.raises(aio.AioRpcError) as streamed:
                [event async for event in stub.Query(query())]
        for fault in (caught.value, streamed.value):
            error = error_of(fault)
            assert type(error) is ConstructRefused
            assert (error.message, error.remedy) == ("anhui: Not answered.", "Write another.")
            assert error.position == Position(1, 8)

    asyncio.run(run())


def test_a_fault_of_the_coordinator_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    text = "se" + "cret"  # the line of code may be logged, the value not

    class Faulty:
        def plan(self, request: object) -> object:
            raise ValueError(text)

    async def run() -> None:
        async with federation(nodes(), Faulty()) as tools, client_of(tools) as stub:  # type: ignore[arg-type]
            with pytest.raises(aio.AioRpcError) as caught:
                await stub.Explain(query())
        assert caught.value.code() == grpc.StatusCode.INTERNAL
        assert type(error_of(caught.value)) is InternalError
        assert "secret" not in str(caught.value)

    asyncio.run(run())
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_a_long_error_still_crosses_the_wire() -> None:
    async def run() -> None:
        planner = FixedPlanner(refusal=SyntaxRefused("长" * 20_000, remedy="短" * 20_000))
        async with federation(nodes(), planner) as tools, client_of(tools) as stub:
            with pytest.raises(aio.AioRpcError) as caught:
                await stub.Explain(query())
        assert error_of(caught.value).message == "长" * ERROR_CHARACTERS

    asyncio.run(run())


def config_text(address: str) -> str:
    return f'catalog = "{CATALOG}"\n[nodes]\nanhui = "{address}"\n'


def test_health_and_reflection(tmp_path: Path) -> None:
    async def run() -> None:
        path = tmp_path / "coordinator.toml"
        path.write_text(config_text(free_address()), encoding="utf-8")
        daemon = await Daemon.start(load_config(path))
        async with aio.insecure_channel(daemon.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            for service in ("", "weir.v1.Coordinator"):
                reply = await health.Check(health_pb2.HealthCheckRequest(service=service))
                assert reply.status == health_pb2.HealthCheckResponse.SERVING
            asked = reflection_pb2.ServerReflectionRequest(list_services="")
            call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]))
            listed = [entry.name async for reply in call for entry in reply.list_services_response.service]
            assert "weir.v1.Coordinator" in listed
            with pytest.raises(ConfigError, match="cannot be had"):
                await Daemon.start(load_config(path, listen=daemon.address))
        await daemon.stop()

    asyncio.run(run())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_says_where_it_serves_and_ends_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "coordinator.toml"
    path.write_text(config_text(free_address()), encoding="utf-8")
    code = "import sys, pathlib; from coordinator.serve import serve; serve(pathlib.Path(sys.argv[1]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    assert told["serving"] == "coordinator"
    with grpc.insecure_channel(told["address"]) as channel:
        stub = coordinator_pb2_grpc.CoordinatorStub(channel)
        reply = stub.GetCatalog(coordinator_pb2.CatalogRequest(), timeout=10)
        assert reply.toml == CATALOG.read_text(encoding="utf-8")
    process.send_signal(number)
    rest, log = process.communicate(timeout=20)
    assert (process.returncode, rest) == (0, "")
    assert "Traceback" not in log
