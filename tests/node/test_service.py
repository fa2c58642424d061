"""The whole node over a real channel: real planner, engine, ledger and noise; only the clock is the test's."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio
import pyarrow as pa
import pytest

from node.admin import freeze
from node.config import load_config
from node.data import ServedData
from node.engine import Engine
from node.guard import Asked
from node.one_at_a_time import OneAtATime
from node.release import Releases
from node.service import NodeService, status_of
from privacy import errors
from privacy.bounding import bounded_sql
from privacy.errors import ERROR_KEY, WeirError
from privacy.fragment import Fragment
from privacy.noise import noisy
from privacy.request import PLANNER_VERSION
from protos.weir.v1 import fragment_pb2, node_pb2, node_pb2_grpc
from tests.node.makers import Folder, asked, catalog, open_ledger
from tests.node.test_guard import guard, with_fragment, with_request

SQL = "SELECT kind, COUNT(*), AVG(cost) FROM visits GROUP BY kind"
Stub = Any


@contextlib.asynccontextmanager
async def serving(folder: Folder, **parts: Any) -> AsyncIterator[Stub]:
    config = load_config(folder.config)
    async with contextlib.AsyncExitStack() as held:
        ledger = open_ledger(config.ledger, policy=config.budget.policy())
        held.enter_context(contextlib.closing(ledger))
        engine = held.enter_context(contextlib.closing(Engine.open(config)))
        data = ServedData(engine, config, secret=ledger.secret)
        data.verify_first()
        made = Releases(guard(), ledger, engine, data, bounded_sql, noisy, OneAtATime(timeout_s=60))
        workers = held.enter_context(ThreadPoolExecutor(2))
        server = grpc.aio.server()
        node_pb2_grpc.add_NodeServicer_to_server(NodeService(replace(made, **parts), workers), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        held.push_async_callback(server.stop, None)
        channel = await held.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
        yield node_pb2_grpc.NodeStub(channel)


def message(sent: Asked) -> node_pb2.FragmentRequest:
    return node_pb2.FragmentRequest(
        request=sent.request,
        block=sent.block,
        fragment=fragment_message(sent.fragment),
        catalog_digest=sent.catalog_digest,
    )


def fragment_message(fragment: Fragment) -> fragment_pb2.Fragment:
    """As the coordinator writes it; tests of the node do not import the coordinator."""
    kinds = {
        "count": fragment_pb2.Measure.KIND_COUNT,
        "sum": fragment_pb2.Measure.KIND_SUM,
        "tree": fragment_pb2.Measure.KIND_TREE,
    }
    forms = {
        "none": fragment_pb2.Bounding.FORM_NONE,
        "clip": fragment_pb2.Bounding.FORM_CLIP,
        "clip_and_limit": fragment_pb2.Bounding.FORM_CLIP_AND_LIMIT,
    }
    mechanisms = {
        "laplace": fragment_pb2.Measure.MECHANISM_LAPLACE,
        "laplace_pair": fragment_pb2.Measure.MECHANISM_LAPLACE_PAIR,
        "gaussian": fragment_pb2.Measure.MECHANISM_GAUSSIAN,
    }
    plain = ("province", "tables", "unit", "relation", "epsilon", "cell_count", "cells_digest")
    return fragment_pb2.Fragment(
        **{name: getattr(fragment, name) for name in plain},
        keys=[fragment_pb2.Key(**vars(key)) for key in fragment.keys],
        measures=[
            fragment_pb2.Measure(
                **(vars(measure) | {"kind": kinds[measure.kind], "mechanism": mechanisms[measure.mechanism]})
            )
            for measure in fragment.measures
        ],
        bounding=fragment_pb2.Bounding(**(vars(fragment.bounding) | {"form": forms[fragment.bounding.form]})),
    )


async def refused(call: Awaitable[Any]) -> tuple[grpc.StatusCode, WeirError]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    metadata = dict(caught.value.trailing_metadata() or ())
    return caught.value.code(), WeirError.from_json(metadata[ERROR_KEY].decode())


def test_a_node_describes_itself_and_releases_once(folder: Folder) -> None:
    async def scenario() -> None:
        async with serving(folder) as node:
            described = await node.Describe(node_pb2.DescribeRequest())
            assert (described.province, described.catalog_digest) == ("east", catalog().digest)
            assert described.planner_version == PLANNER_VERSION
            prepared = await node.Prepare(message(asked(SQL)))
            assert (prepared.already_released, prepared.budget.epsilon_spent) == (False, 0.0)
            assert prepared.engine.startswith("DuckDB")
            first = await node.Release(message(asked(SQL)))
            second = await node.Release(message(asked(SQL)))
            assert (first.epsilon_charged, second.epsilon_charged) == (0.5, 0.0)
            assert second.already_released
            assert first.release == second.release
            budget = await node.GetBudget(node_pb2.BudgetRequest())
            assert (budget.province, budget.epsilon_total, budget.epsilon_left) == ("east", 5.0, 4.5)
            table = pa.ipc.open_stream(first.release).read_all()
            assert table.column("k0").to_pylist() == ["inpatient", "outpatient"]
            assert [str(table.schema.field(name).type) for name in ("m0", "m1")] == ["int64", "int64"]

    asyncio.run(scenario())


def test_without_noise_the_release_is_the_exact_bounded_answer(folder: Folder) -> None:
    def exact(fragment: Fragment, table: pa.Table) -> pa.Table:
        return table.sort_by("k0")

    async def scenario() -> None:
        async with serving(folder, noise=exact) as node:
            reply = await node.Release(message(asked("SELECT kind, COUNT(*) FROM visits GROUP BY kind")))
            table = pa.ipc.open_stream(reply.release).read_all()
            assert {
                name: [int(v) if name == "m0" else v for v in values] for name, values in table.to_pydict().items()
            } == {
                "k0": ["inpatient", "outpatient"],
                "m0": [200, 200],
            }

    asyncio.run(scenario())


def test_duplicates_at_once_are_charged_once(folder: Folder) -> None:
    async def scenario() -> None:
        async with serving(folder) as node:
            replies = await asyncio.gather(*(node.Release(message(asked(SQL))) for _ in range(8)))
            assert len({reply.release for reply in replies}) == 1
            assert sorted(reply.epsilon_charged for reply in replies) == [0.0] * 7 + [0.5]

    asyncio.run(scenario())


REFUSED: list[tuple[str, Callable[[], Asked], grpc.StatusCode, type[WeirError]]] = [
    ("bytes", lambda: replace(asked(SQL), request=b"x"), grpc.StatusCode.INVALID_ARGUMENT, errors.RequestRefused),
    ("expired", lambda: asked(SQL, expires_unix_s=5), grpc.StatusCode.INVALID_ARGUMENT, errors.RequestRefused),
    ("too much", lambda: asked(SQL, epsilon=4.5), grpc.StatusCode.INVALID_ARGUMENT, errors.RequestRefused),
    (
        "rows",
        lambda: with_request(asked(SQL), sql="SELECT * FROM visits"),
        grpc.StatusCode.INVALID_ARGUMENT,
        errors.QueryRefused,
    ),
    (
        "another catalog",
        lambda: replace(asked(SQL), catalog_digest="0" * 64),
        grpc.StatusCode.FAILED_PRECONDITION,
        errors.MismatchRefused,
    ),
    (
        "less noise",
        lambda: with_fragment(asked(SQL), epsilon=1e-6),
        grpc.StatusCode.FAILED_PRECONDITION,
        errors.MismatchRefused,
    ),
    (
        "other rows",
        lambda: with_fragment(asked(SQL), relation="SELECT * FROM visits"),
        grpc.StatusCode.FAILED_PRECONDITION,
        errors.MismatchRefused,
    ),
]


@pytest.mark.parametrize(("make", "status", "kind"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refusals_are_typed_and_charge_nothing(
    folder: Folder, make: Callable[[], Asked], status: grpc.StatusCode, kind: type[WeirError]
) -> None:
    async def scenario() -> None:
        async with serving(folder) as node:
            for method in (node.Prepare, node.Release):
                code, fault = await refused(method(message(make())))
                assert code == status
                assert isinstance(fault, kind)
                assert fault.remedy
            assert (await node.GetBudget(node_pb2.BudgetRequest())).epsilon_spent == 0.0

    asyncio.run(scenario())


def test_an_unknown_kind_of_measure_is_a_mismatch(folder: Folder) -> None:
    async def scenario() -> None:
        async with serving(folder) as node:
            for part in ("kind", "form"):
                sent = message(asked(SQL))
                setattr(
                    *((sent.fragment.measures[0], "kind") if part == "kind" else (sent.fragment.bounding, "form")), 77
                )
                code, fault = await refused(node.Release(sent))
                assert code == grpc.StatusCode.FAILED_PRECONDITION
                assert part in fault.message

    asyncio.run(scenario())


def test_a_budget_that_does_not_cover_it_says_what_is_left(folder: Folder) -> None:
    folder.edit("epsilon_total = 5.0", "epsilon_total = 0.75")

    async def scenario() -> None:
        async with serving(folder) as node:
            await node.Release(message(asked(SQL)))
            other = message(asked("SELECT COUNT(*) FROM visits"))
            for method in (node.Prepare, node.Release):
                code, fault = await refused(method(other))
                assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
                assert "0.25 of 0.75 left" in fault.message
            assert (await node.Prepare(message(asked(SQL)))).already_released

    asyncio.run(scenario())


def test_an_unexpected_fault_says_nothing_of_its_text(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    def leaking(fragment: Fragment, table: pa.Table) -> pa.Table:
        raise ValueError("Zhang San has 3 rows")

    async def scenario() -> None:
        async with serving(folder, noise=leaking) as node:
            code, fault = await refused(node.Release(message(asked(SQL))))
            assert (code, fault.code) == (grpc.StatusCode.INTERNAL, "internal")
            assert "Zhang" not in fault.to_json()

    with caplog.at_level(logging.DEBUG):
        asyncio.run(scenario())
    assert "ValueError" in caplog.text
    assert "Zhang" not in caplog.text


def test_a_long_message_still_arrives_typed(folder: Folder) -> None:
    async def scenario() -> None:
        async with serving(folder) as node:
            name = "漢" * 15_000
            sent = message(with_request(asked(SQL), sql=f'SELECT COUNT(*) FROM "{name}"'))
            _, fault = await refused(node.Release(sent))
            assert isinstance(fault, errors.NameRefused)

    asyncio.run(scenario())


def test_every_kind_of_error_has_a_status() -> None:
    def leaves(kind: type[WeirError]) -> list[type[WeirError]]:
        return [kind, *(leaf for child in kind.__subclasses__() for leaf in leaves(child))]

    assert all(status_of(kind("x")) is not grpc.StatusCode.OK for kind in leaves(WeirError))


def test_budgets_of_period_and_project_cross_the_wire(folder: Folder) -> None:
    folder.edit(
        "[tables.visits]",
        '[budget.period]\nlength = "year"\nepsilon = 2\n[budget.projects.ageing]\nepsilon = 0.75\n[tables.visits]',
    )

    async def scenario() -> None:
        async with serving(folder) as node:
            described = await node.Describe(node_pb2.DescribeRequest())
            assert len(bytes.fromhex(described.public_key)) == 32
            first = await node.Release(message(asked(SQL, project="ageing")))
            shares = {share.kind: share for share in first.budget.shares}
            assert (shares["project"].name, shares["project"].epsilon_left) == ("ageing", 0.25)
            assert (shares["period"].name, shares["period"].epsilon_left) == ("2030", 1.5)
            assert (shares["period"].end, shares["project"].end) == ("2031-01-01", "")
            for method in (node.Prepare, node.Release):
                code, fault = await refused(method(message(asked("SELECT COUNT(*) FROM visits", project="ageing"))))
                assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
                assert "of project `ageing` at this node: it has 0.25 of 0.75 left" in fault.message
            freeze(folder.config, reason="an audit")
            budget = await node.GetBudget(node_pb2.BudgetRequest())
            assert budget.frozen
            assert [share.kind for share in budget.shares] == ["period"]
            for method in (node.Prepare, node.Release):
                _, fault = await refused(method(message(asked("SELECT COUNT(*) FROM visits"))))
                assert "frozen by the operator" in fault.message
            assert (await node.Release(message(asked(SQL)))).already_released

    asyncio.run(scenario())


def test_gaussian_noise_is_charged_in_rho(folder: Folder) -> None:
    sums = ", ".join(f"SUM(cost) FILTER (WHERE age > {age})" for age in range(10, 70, 5))
    sql = f"SELECT kind, {sums} FROM visits GROUP BY kind"

    async def scenario() -> None:
        async with serving(folder) as node:
            sent = asked(sql, delta=1e-9)
            reply = await node.Release(message(sent))
            charge = sent.fragment.charge
            assert charge.rho > 0
            assert reply.budget.rho_spent == pytest.approx(charge.rho, abs=1e-12)
            assert reply.budget.epsilon_spent > 0
            assert reply.budget.delta_total == 1e-6

    asyncio.run(scenario())
