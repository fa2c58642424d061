"""A whole query over fake nodes: progress, missing nodes, refusals, retries and what they cost."""

from __future__ import annotations

import asyncio
import math
from contextlib import AbstractContextManager, aclosing
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from coordinator import fanout, node_link, query
from coordinator.above import NO_ERROR_BARS, Computed, computed
from coordinator.answers import Answer, Event, NodeDone, Started
from coordinator.explain import explanation
from coordinator.query import answer
from coordinator.question import Tools
from coordinator.replies import Missing
from coordinator.rest import RestEngine, Session
from privacy.errors import (
    BudgetRefused,
    ConstructRefused,
    DataError,
    DomainRefused,
    MismatchRefused,
    Position,
    RequestRefused,
    UnavailableError,
)
from privacy.fragment import OutputColumn, Plan, Rest
from privacy.noise import laplace_variance
from privacy.request import PLANNER_VERSION
from tests.coordinator.fakes import (
    NOW,
    FakeNode,
    FixedPlanner,
    federation,
    fragment,
    no_keys,
    plan_of,
    raw_request,
    release,
    total_plan,
)


def node(province: str, count: int, **faults: object) -> FakeNode:
    return FakeNode(province, release(no_keys(), [count]), **faults)  # type: ignore[arg-type]


def ask(nodes: dict[str, FakeNode | None], plan: Plan | None = None, **options: object) -> list[Event]:
    """All events of one query."""

    async def run() -> list[Event]:
        planner = FixedPlanner(plan or total_plan(*nodes))
        async with federation(nodes, planner) as tools:
            return await events_of(tools, raw_request(**options))

    return asyncio.run(run())


async def events_of(tools: Tools, raw: bytes) -> list[Event]:
    async with aclosing(answer(tools, raw)) as events:
        return [event async for event in events]


def last(events: list[Event]) -> Answer:
    assert isinstance(events[-1], Answer)
    return events[-1]


def test_the_answer_is_the_sum_with_its_error_and_its_price() -> None:
    nodes = {"anhui": node("anhui", 3), "shanghai": node("shanghai", -5)}
    events = ask(nodes)
    assert events[0] == Started(("anhui", "shanghai"))
    assert {event.province for event in events[1:-1] if isinstance(event, NodeDone)} == {"anhui", "shanghai"}
    answered = last(events)
    assert answered.rows.to_pydict() == {"n": [-2]}
    assert answered.bars.standard_errors.to_pydict() == {"n": [pytest.approx(math.sqrt(2 * laplace_variance(2.0)))]}
    assert [(charge.province, charge.epsilon_charged) for charge in answered.charges] == [
        ("anhui", 0.5),
        ("shanghai", 0.5),
    ]
    assert answered.charges[0].budget.epsilon_left == 9.5
    assert (answered.epsilon, answered.span, answered.missing, answered.notes) == (1.0, 2, (), ("a note",))


def test_every_node_gets_the_request_verbatim_and_its_own_fragment() -> None:
    nodes = {"anhui": node("anhui", 3), "shanghai": node("shanghai", 4)}
    ask(nodes)
    for province, asked in nodes.items():
        assert asked.calls == ["describe", "prepare", "release"]
        assert [request.request for request in asked.requests] == [raw_request()] * 2
        assert {request.fragment.province for request in asked.requests} == {province}
        assert {request.catalog_digest for request in asked.requests} == {asked.digest}


def test_what_a_node_sends_with_prepare_it_is_not_asked_to_release() -> None:
    nodes = {"anhui": node("anhui", 3, settled=True), "shanghai": node("shanghai", 4)}
    events = ask(nodes)
    assert nodes["anhui"].calls == ["describe", "prepare"]
    assert nodes["shanghai"].calls == ["describe", "prepare", "release"]
    assert {event.province for event in events[1:-1] if isinstance(event, NodeDone)} == {"anhui", "shanghai"}
    answered = last(events)
    assert answered.rows.to_pydict() == {"n": [7]}
    assert [(charge.epsilon_charged, charge.already_released) for charge in answered.charges] == [
        (0.0, True),
        (0.5, False),
    ]


def test_a_stored_answer_of_other_cells_makes_the_node_missing() -> None:
    other = FakeNode("shanghai", release(no_keys(), [4], [5]), settled=True)
    answered = last(ask({"anhui": node("anhui", 3), "shanghai": other}))
    assert [missing.province for missing in answered.missing] == ["shanghai"]
    assert answered.rows.to_pydict() == {"n": [3]}


def test_a_node_that_is_down_is_missing_and_the_answer_says_so() -> None:
    events = ask({"anhui": node("anhui", 3), "shanghai": None})
    missing = Missing("shanghai", "The node cannot be reached.")
    assert missing in events
    answered = last(events)
    assert answered.missing == (missing,)
    assert answered.rows.to_pydict() == {"n": [3]}
    assert [charge.province for charge in answered.charges] == ["anhui"]


def test_a_province_without_a_configured_node_is_missing() -> None:
    plan = total_plan("anhui", "zhejiang")
    answered = last(ask({"anhui": node("anhui", 3)}, plan))
    assert [missing.province for missing in answered.missing] == ["zhejiang"]


def test_require_all_refuses_before_anything_is_charged() -> None:
    anhui = node("anhui", 3)
    with pytest.raises(UnavailableError, match=r"requires all.*shanghai: The node cannot be reached"):
        ask({"anhui": anhui, "shanghai": None}, require_all=True)
    assert anhui.spent == 0
    assert "release" not in anhui.calls


def test_no_node_at_all() -> None:
    with pytest.raises(UnavailableError, match="No province can answer"):
        ask({"anhui": None, "shanghai": None})


@pytest.mark.parametrize(
    "refusal",
    [
        BudgetRefused("Only 0.1 is left.", remedy="Ask for less."),
        MismatchRefused("Fragments differ."),
        ConstructRefused("No.", position=Position(1, 8)),
        RequestRefused("ε is above the policy."),
    ],
    ids=lambda refusal: refusal.code,
)
def test_a_refusal_in_prepare_is_the_answer_and_charges_nobody(refusal: BudgetRefused) -> None:
    nodes = {"anhui": node("anhui", 3), "shanghai": node("shanghai", 4, refusal=refusal)}
    with pytest.raises(type(refusal)) as caught:
        ask(nodes)
    assert caught.value.message == f"shanghai: {refusal.message}"
    assert (caught.value.remedy, caught.value.position) == (refusal.remedy, refusal.position)
    assert [asked.spent for asked in nodes.values()] == [0, 0]
    assert all("release" not in asked.calls for asked in nodes.values())


def test_a_node_with_a_fault_of_its_own_is_missing() -> None:
    broken = node("shanghai", 4, refusal=DataError("Column `cost` is no DOUBLE."))
    answered = last(ask({"anhui": node("anhui", 3), "shanghai": broken}))
    assert answered.missing == (Missing("shanghai", "Column `cost` is no DOUBLE."),)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"digest": "e" * 64}, "shanghai: The node has catalog eeeeeeeeeeee…"),
        ({"planner_version": PLANNER_VERSION + 1}, "shanghai: The node has planner"),
    ],
    ids=["catalog", "planner"],
)
def test_a_node_of_another_standard_is_refused(wrong: dict[str, object], message: str) -> None:
    nodes = {"anhui": node("anhui", 3), "shanghai": node("shanghai", 4, **wrong)}
    with pytest.raises(MismatchRefused, match=message):
        ask(nodes)
    assert nodes["shanghai"].calls == ["describe"]
    assert nodes["anhui"].spent == 0


def test_a_node_of_another_province_is_refused() -> None:
    with pytest.raises(MismatchRefused, match="shanghai: The node says that it is 'jiangsu'"):
        ask({"shanghai": node("jiangsu", 4)})


def test_a_node_that_fails_in_release_is_missing() -> None:
    failing = node("shanghai", 4, release_fault=BudgetRefused("Spent meanwhile."))
    events = ask({"anhui": node("anhui", 3), "shanghai": failing})
    assert Missing("shanghai", "Spent meanwhile.") in events
    assert last(events).rows.to_pydict() == {"n": [3]}


def test_a_failure_in_release_ends_a_query_that_requires_all() -> None:
    failing = node("shanghai", 4, release_fault=BudgetRefused("Spent meanwhile."))
    with pytest.raises(UnavailableError, match=r"Not every province answered\. shanghai: Spent meanwhile"):
        ask({"anhui": node("anhui", 3), "shanghai": failing}, require_all=True)


def test_nobody_releases() -> None:
    failing = node("shanghai", 4, release_fault=BudgetRefused("Spent meanwhile."))
    with pytest.raises(UnavailableError, match="No province answered"):
        ask({"shanghai": failing})


def test_a_broken_connection_is_tried_once_more_and_charged_once() -> None:
    flaky = node("shanghai", 4, broken=1)
    answered = last(ask({"shanghai": flaky}))
    assert flaky.calls.count("release") == 2
    assert flaky.spent == 0.5
    assert answered.rows.to_pydict() == {"n": [4]}
    assert [(charge.epsilon_charged, charge.already_released) for charge in answered.charges] == [(0.5, False)]


def test_a_connection_that_breaks_twice_is_given_up_without_raw_text() -> None:
    flaky = node("shanghai", 4, broken=2)
    answered = last(ask({"anhui": node("anhui", 3), "shanghai": flaky}))
    assert answered.missing == (Missing("shanghai", "The node cannot be reached."),)
    assert flaky.calls.count("release") == 2


def test_a_node_that_sends_other_cells_is_missing() -> None:
    liar = FakeNode("shanghai", release(pa.table({"k0": ["x"]}), [1]))
    answered = last(ask({"anhui": node("anhui", 3), "shanghai": liar}))
    assert answered.missing == (Missing("shanghai", "The node answered other cells than were asked for."),)


def test_a_slow_node_is_late_and_the_others_are_answered() -> None:
    async def run() -> list[object]:
        nodes = {"anhui": node("anhui", 3), "shanghai": node("shanghai", 4, gate=asyncio.Event())}
        raw, asked, clock = raw_request(), total_plan(*nodes).asked, asyncio.get_running_loop().time
        async with federation(nodes, FixedPlanner()) as tools:
            readiness = await tools.fanout.prepare(raw, asked, require_all=True, deadline=clock() + 5)
            outcomes = tools.fanout.release(raw, asked, readiness, deadline=clock() + 0.3)
            async with aclosing(outcomes):
                return [outcome.result async for outcome in outcomes]

    results = asyncio.run(run())
    assert results[1] == Missing("shanghai", "The node did not answer in time.")


def test_when_late_nodes_are_cut_there_is_time_left_for_the_answer_of_the_others() -> None:
    class Watched(RestEngine):
        def session(self, *, timeout_s: float) -> AbstractContextManager[Session]:
            left_s.append(timeout_s)
            return super().session(timeout_s=timeout_s)

    async def run() -> Answer:
        nodes = {"anhui": node("anhui", 3), "shanghai": node("shanghai", 4, gate=asyncio.Event())}
        async with federation(nodes, FixedPlanner(total_plan(*nodes)), deadline_s=2.0) as tools:
            return last(await events_of(replace(tools, rest=rest), raw_request()))

    left_s: list[float] = []
    rest = Watched()
    answered = asyncio.run(run())
    rest.close()
    assert answered.missing == (Missing("shanghai", "The node did not answer in time."),)
    assert answered.rows["n"].to_pylist() == [3]
    assert 0 < left_s[-1] <= 0.4  # of 2 s the nodes have 1.6


def test_a_node_that_was_late_is_not_waited_for_as_long_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_link, "DOUBTED_S", 0.2)
    monkeypatch.setattr(fanout, "PREPARE_S", 1.0)

    async def run() -> None:
        halted = node("shanghai", 4)
        nodes = {"anhui": node("anhui", 3), "shanghai": halted}
        async with federation(nodes, FixedPlanner(total_plan(*nodes))) as tools:
            assert last(await events_of(tools, raw_request())).missing == ()
            halted.halted = asyncio.Event()
            for least_s, most_s in ((1.0, 5.0), (0.2, 0.9)):
                start = asyncio.get_running_loop().time()
                answered = last(await events_of(tools, raw_request()))
                assert answered.missing == (Missing("shanghai", "The node did not answer in time."),)
                assert least_s <= asyncio.get_running_loop().time() - start < most_s
            halted.halted.set()
            assert last(await events_of(tools, raw_request())).missing == ()
            assert halted.calls.count("describe") == 3

    asyncio.run(run())


def test_500_nodes_of_which_one_is_down_and_one_refuses_late() -> None:
    names = [f"p{number:03d}" for number in range(500)]
    nodes: dict[str, FakeNode | None] = {name: node(name, 3) for name in names}
    nodes["p007"], nodes["p100"] = None, node("p100", 3, release_fault=DataError("The data changed."))
    answered = last(ask(nodes))
    assert {one.province for one in answered.missing} == {"p007", "p100"}
    assert [charge.province for charge in answered.charges] == [one for one in names if one not in ("p007", "p100")]
    assert answered.rows["n"].to_pylist() == [3 * 498]


def test_progress_comes_while_other_nodes_still_work() -> None:
    async def run() -> list[Event]:
        gate = asyncio.Event()
        nodes = {"anhui": node("anhui", 3), "shanghai": node("shanghai", 4, gate=gate)}
        seen: list[Event] = []
        async with (
            federation(nodes, FixedPlanner(total_plan(*nodes))) as tools,
            aclosing(answer(tools, raw_request())) as events,
        ):
            async for event in events:
                seen.append(event)
                if isinstance(event, NodeDone) and event.province == "anhui":
                    gate.set()  # shanghai ends only after anhui's end was told
        return seen

    done = [event.province for event in asyncio.run(run()) if isinstance(event, NodeDone)]
    assert done == ["anhui", "shanghai"]


def test_a_client_that_leaves_stops_the_work() -> None:
    async def run() -> None:
        nodes = {"anhui": node("anhui", 3), "shanghai": node("shanghai", 4, gate=asyncio.Event())}
        async with federation(nodes, FixedPlanner(total_plan(*nodes))) as tools:
            before = asyncio.all_tasks()
            async with aclosing(answer(tools, raw_request())) as events:
                async for event in events:
                    if isinstance(event, NodeDone):
                        break
            names = {task.get_coro().__qualname__ for task in asyncio.all_tasks() - before}
            assert not any("FanOut" in name for name in names)

    asyncio.run(run())


def test_the_planner_refuses_before_any_node_is_asked() -> None:
    async def run(anhui: FakeNode) -> None:
        planner = FixedPlanner(refusal=DomainRefused("No domain."))
        async with federation({"anhui": anhui}, planner) as tools:
            await events_of(tools, raw_request())

    anhui = node("anhui", 3)
    with pytest.raises(DomainRefused):
        asyncio.run(run(anhui))
    assert anhui.calls == []


OTHER_PLANNER = raw_request().replace(f'"planner_version":{PLANNER_VERSION}'.encode(), b'"planner_version":99')


@pytest.mark.parametrize(
    ("raw", "kind", "message"),
    [
        (b"\xff", RequestRefused, "not UTF-8 JSON"),
        (raw_request(expires_unix_s=NOW), RequestRefused, "has expired"),
        (OTHER_PLANNER, MismatchRefused, "planner 99"),
    ],
    ids=["bytes", "expired", "planner"],
)
def test_bad_requests_are_refused_before_any_node_is_asked(raw: bytes, kind: type[Exception], message: str) -> None:
    async def run(anhui: FakeNode) -> None:
        async with federation({"anhui": anhui}, FixedPlanner(total_plan("anhui"))) as tools:
            await events_of(tools, raw)

    anhui = node("anhui", 3)
    with pytest.raises(kind, match=message):
        asyncio.run(run(anhui))
    assert anhui.calls == []


def test_a_rest_that_cannot_work_is_refused_before_anything_is_charged() -> None:
    anhui = node("anhui", 3)
    with pytest.raises(ConstructRefused, match="BinderException"):
        ask({"anhui": anhui}, total_plan("anhui", sql="SELECT date_trunc('month', m0) AS n, cell FROM merged"))
    assert anhui.spent == 0


def test_a_rest_that_fails_on_the_noisy_values_says_what_is_charged() -> None:
    plan = total_plan("anhui", sql="SELECT m0::TINYINT AS n, cell FROM merged")
    with pytest.raises(ConstructRefused, match="costs nothing more"):
        ask({"anhui": node("anhui", 1000)}, plan)


def test_an_answer_without_error_bars_is_better_than_none() -> None:
    plan = total_plan("anhui")
    overflowing = Rest(plan.rest.sql, "SELECT m0::TINYINT FROM simulated", (OutputColumn("n", True),))
    answered = last(ask({"anhui": node("anhui", 1000)}, replace(plan, rest=overflowing)))
    assert answered.rows.to_pydict() == {"n": [1000]}
    for bars in (answered.bars.standard_errors, answered.bars.low, answered.bars.high):
        assert bars.to_pydict() == {"n": [None]}
    assert NO_ERROR_BARS in answered.notes


def test_groups_by_province_stand_side_by_side() -> None:
    cells = {province: pa.table({"k0": [province]}) for province in ("anhui", "shanghai")}
    plan = plan_of(
        {province: fragment(province, table) for province, table in cells.items()},
        Rest(
            "SELECT k0, 'x', m0, cell FROM merged ORDER BY m0 DESC",
            "",
            (OutputColumn("province", False), OutputColumn("x", False), OutputColumn("n", True, (("m0", 1.0),))),
        ),
    )
    nodes: dict[str, FakeNode | None] = {
        province: FakeNode(province, release(cells[province], [count]))
        for province, count in (("anhui", 1), ("shanghai", 2))
    }
    answered = last(ask(nodes, plan))
    assert answered.rows.to_pydict() == {"province": ["shanghai", "anhui"], "x": ["x", "x"], "n": [2, 1]}
    one = pytest.approx(math.sqrt(laplace_variance(2.0)))
    assert answered.bars.standard_errors.to_pydict() == {"province": [None] * 2, "x": [None] * 2, "n": [one, one]}


def test_explain_is_free() -> None:
    async def run(nodes: dict[str, FakeNode | None]) -> None:
        plan = total_plan(*nodes)
        async with federation(nodes, FixedPlanner(plan)) as tools:
            explained = await explanation(tools, raw_request())
        assert [planned.fragment.province for planned in explained.nodes] == ["anhui"]
        assert explained.nodes[0].prepared.engine_sql == "SELECT 1"
        assert explained.rest_sql == plan.rest.sql
        assert (explained.epsilon, explained.span, explained.notes) == (1.0, 2, ("a note",))
        assert [missing.province for missing in explained.missing] == ["shanghai"]

    anhui = node("anhui", 3)
    asyncio.run(run({"anhui": anhui, "shanghai": None}))
    assert anhui.calls == ["describe", "prepare"]


def test_an_explain_that_is_sent_as_a_query_asks_nobody() -> None:
    anhui = node("anhui", 3)
    with pytest.raises(RequestRefused, match="EXPLAIN"):
        ask({"anhui": anhui}, replace(total_plan("anhui"), explains=True))
    assert anhui.calls == []


def test_budgets_of_the_nodes_that_can_be_reached() -> None:
    async def run() -> None:
        nodes = {"anhui": node("anhui", 3), "shanghai": None}
        async with federation(nodes, FixedPlanner()) as tools:
            found = await tools.fanout.budgets(deadline=asyncio.get_running_loop().time() + 5)
        assert [(budget.province, budget.epsilon_left) for budget in found.budgets] == [("anhui", 10.0)]
        assert [missing.province for missing in found.missing] == ["shanghai"]

    asyncio.run(run())


def test_a_node_is_introduced_once_and_queries_run_side_by_side() -> None:
    async def run(nodes: dict[str, FakeNode | None]) -> None:
        async with federation(nodes, FixedPlanner(total_plan(*nodes))) as tools:
            await events_of(tools, raw_request())
            answers = await asyncio.gather(*(events_of(tools, raw_request()) for _ in range(20)))
        assert {last(events).rows["n"][0].as_py() for events in answers} == {3}

    anhui = node("anhui", 3)
    asyncio.run(run({"anhui": anhui}))
    assert anhui.calls.count("describe") == 1


def test_who_asks_again_and_gets_the_same_releases_gets_the_same_answer_uncomputed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computations: list[dict[str, object]] = []

    def counted(*arguments: Any, **named: Any) -> Computed:
        computations.append(named)
        return computed(*arguments, **named)

    monkeypatch.setattr(query, "computed", counted)

    async def run() -> None:
        nodes = {"anhui": node("anhui", 3), "shanghai": node("shanghai", 4)}
        async with federation(nodes, FixedPlanner(total_plan(*nodes))) as tools:
            first, again = [last(await events_of(tools, raw_request())) for _ in range(2)]
            assert len(computations) == 1
            assert (again.rows, again.bars) == (first.rows, first.bars)
            await events_of(tools, raw_request(max_rows=5))
            assert len(computations) == 2  # another question, with other error bars
            nodes["shanghai"].cells = release(no_keys(), [5])
            assert last(await events_of(tools, raw_request())).rows.to_pydict() == {"n": [8]}
            assert len(computations) == 3
            nodes["shanghai"].release_fault = DataError("The data changed.")
            assert last(await events_of(tools, raw_request())).rows.to_pydict() == {"n": [3]}
            assert len(computations) == 4

    asyncio.run(run())


def test_an_answer_that_lacks_its_error_bars_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def hasty(*arguments: Any, **named: Any) -> Computed:
        return replace(computed(*arguments, **named), notes=("No error bars.",))

    async def run() -> None:
        nodes = {"anhui": node("anhui", 3)}
        async with federation(nodes, FixedPlanner(total_plan(*nodes))) as tools:
            with monkeypatch.context() as changed:
                changed.setattr(query, "computed", hasty)
                assert "No error bars." in last(await events_of(tools, raw_request())).notes
            assert "No error bars." not in last(await events_of(tools, raw_request())).notes

    asyncio.run(run())
