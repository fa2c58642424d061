import json
import math
import socket
from dataclasses import replace
from typing import Any

import grpc
import pytest

import weir
from privacy.errors import Position
from privacy.request import DELTA, LIFETIME_S, Request
from tests.weir.fake_coordinator import CATALOG_TOML, FakeCoordinator, answer, connected
from weir.budget import Missing
from weir.progress import NodeDone, Progress, Started


def test_a_question_comes_back_with_what_it_cost() -> None:
    coordinator = FakeCoordinator()
    heard: list[Progress] = []
    with connected(coordinator) as con:
        found = con.sql("SELECT 1", epsilon=0.5, require_all=False, max_rows=3, on_progress=heard.append)
    assert found.df()["n"].tolist() == [12345, 987, 3]
    assert found.epsilon == 0.5
    assert found.epsilon_per_node == 0.25
    assert [charge.epsilon_charged for charge in found.charges] == [0.25, 0.0]
    assert found.charges[1].already_released
    assert found.charges[0].budget.epsilon_left == 19.75
    assert found.missing == (Missing("anhui", "did not answer in time"),)
    assert heard == [
        Started(("shanghai", "jiangsu", "anhui")),
        NodeDone("shanghai", 0.01),
        NodeDone("jiangsu", 0.02),
        Missing("anhui", "did not answer in time"),
    ]
    sent = Request.decode(coordinator.requests[0])
    assert (sent.sql, sent.epsilon, sent.options.max_rows) == ("SELECT 1", 0.5, 3)


def test_delta_and_project_travel() -> None:
    coordinator = FakeCoordinator()
    with connected(coordinator) as con:
        con.sql("SELECT 1", epsilon=0.5, delta=0, project="ageing-2026")
        con.explain("SELECT 1")
        con.budget(project="ageing-2026")
        with pytest.raises(weir.RequestRefused, match="project"):
            con.sql("SELECT 1", epsilon=0.5, project="two words")
        with pytest.raises(weir.RequestRefused, match="delta"):
            con.sql("SELECT 1", epsilon=0.5, delta=0.5)
    first, second = map(Request.decode, coordinator.requests)
    assert (first.delta, first.project) == (0.0, "ageing-2026")
    assert (second.delta, second.project) == (DELTA, "default")
    assert coordinator.projects == ["ageing-2026"]


def test_requests_differ_in_nonce_and_expire() -> None:
    coordinator = FakeCoordinator()
    with connected(coordinator) as con:
        con.explain("SELECT 1")
        con.explain("SELECT 1")
    first, second = map(Request.decode, coordinator.requests)
    assert first.nonce != second.nonce
    assert 0 <= second.expires_unix_s - first.expires_unix_s < LIFETIME_S
    assert first.epsilon == 1.0


@pytest.mark.parametrize("epsilon", [0, -1, math.nan, math.inf, "0.5", None, True])
def test_an_epsilon_that_is_none_is_never_sent(epsilon: Any) -> None:
    coordinator = FakeCoordinator()
    with connected(coordinator) as con, pytest.raises(weir.RequestRefused) as refused:
        con.sql("SELECT 1", epsilon=epsilon)
    assert "epsilon" in str(refused.value)
    assert coordinator.requests == []


def test_progress_is_asked_for_where_somebody_listens() -> None:
    coordinator = FakeCoordinator()
    with connected(coordinator) as con:
        con.sql("SELECT 1", epsilon=1)
        con.sql("SELECT 1", epsilon=1, on_progress=print)
    assert coordinator.quiet == [True, False]


def test_an_unknown_option_is_refused_with_the_known_ones() -> None:
    with (
        connected(FakeCoordinator()) as con,
        pytest.raises(weir.RequestRefused, match="require_all"),
    ):
        con.sql("SELECT 1", epsilon=1, rounds=3)


def test_nobody_spends_an_epsilon_that_they_did_not_name() -> None:
    coordinator = FakeCoordinator()
    with connected(coordinator) as con, pytest.raises(weir.RequestRefused, match="epsilon") as refused:
        con.sql("SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(max_groups_contributed = 2) 1")
    assert "OPTIONS(epsilon = 0.5)" in refused.value.remedy
    assert coordinator.requests == []


def test_epsilon_and_delta_may_stand_in_the_sql() -> None:
    written = "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 2, delta = 1e-6) 1"
    coordinator = FakeCoordinator()
    with connected(coordinator) as con:
        con.sql(written)
        con.explain(written)
        con.sql(written, epsilon=3, delta=0.0)
        con.sql("SELECT WITH DIFFERENTIAL_PRIVACY 1", epsilon=0.5)
    sent = [(asked.sql, asked.epsilon, asked.delta) for asked in map(Request.decode, coordinator.requests)]
    assert sent == [
        (written, 2.0, 1e-6),
        (written, 2.0, 1e-6),
        (written, 3.0, 0.0),  # the SQL travels as it is: the nodes take the smaller of both
        ("SELECT WITH DIFFERENTIAL_PRIVACY 1", 0.5, DELTA),
    ]


@pytest.mark.parametrize("epsilon", [None, 0.5])
def test_an_explain_in_sql_is_an_explanation(epsilon: float | None) -> None:
    coordinator = FakeCoordinator()
    with connected(coordinator) as con:
        found = con.sql("EXPLAIN SELECT 1", epsilon=epsilon)
        also = con.explain("EXPLAIN SELECT 1", epsilon=epsilon)
        plain = con.explain("SELECT 1", epsilon=epsilon)
    assert isinstance(found, weir.Explanation)
    assert found == also == replace(plain, sql="EXPLAIN SELECT 1")
    sent = [(asked.sql, asked.epsilon) for asked in map(Request.decode, coordinator.requests)]
    assert sent == [(sql, epsilon or 1.0) for sql in ("EXPLAIN SELECT 1", "EXPLAIN SELECT 1", "SELECT 1")]
    assert coordinator.queries == 0
    assert all(Request.decode(raw).explains for raw in coordinator.requests)  # so no node can be made to release them


def test_a_text_that_is_no_query_is_never_sent() -> None:
    coordinator = FakeCoordinator()
    with connected(coordinator) as con, pytest.raises(weir.SyntaxRefused) as refused:
        con.sql("SELECT (1", epsilon=1)
    assert refused.value.position is not None
    assert coordinator.requests == []


@pytest.mark.parametrize(
    "fault",
    [
        weir.NameRefused("Unknown column `agee`.", remedy="Did you mean `age`?", position=Position(1, 8)),
        weir.BudgetRefused("ε = 3 is more than shanghai has left.", remedy="Ask with ε ≤ 2."),
    ],
)
@pytest.mark.parametrize("method", ["sql", "explain"])
def test_typed_errors_cross_the_wire(fault: weir.WeirError, method: str) -> None:
    with (
        connected(FakeCoordinator(fault=fault)) as con,
        pytest.raises(type(fault)) as refused,
    ):
        getattr(con, method)("SELECT agee", epsilon=1)
    assert str(refused.value) == str(fault)
    assert refused.value.position == fault.position
    assert refused.value.__suppress_context__  # no gRPC traceback below it


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, weir.UnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, weir.UnavailableError),
        (grpc.StatusCode.INTERNAL, weir.InternalError),
    ],
)
def test_plain_grpc_failures_become_typed_too(status: grpc.StatusCode, kind: type[weir.WeirError]) -> None:
    with connected(FakeCoordinator(fault=status)) as con, pytest.raises(kind) as failed:
        con.budget()
    assert failed.value.remedy


def test_nobody_there_is_said_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"localhost:{free.getsockname()[1]}"
    with pytest.raises(weir.UnavailableError, match="Nothing answers") as failed:
        weir.connect(address)
    assert "weir up" in failed.value.remedy


def test_a_server_that_is_no_coordinator_is_named_so() -> None:
    with (
        connected(None) as con,
        pytest.raises(weir.UnavailableError, match="no weir coordinator"),
    ):
        con.budget()


@pytest.mark.parametrize(
    "address", ["", "localhost", "localhost:", "localhost:0", "localhost:99999", "http://h:1", ":1"]
)
def test_an_address_is_host_and_port(address: str) -> None:
    with pytest.raises(weir.ConfigError, match="no address"):
        weir.connect(address)


def test_the_catalog_is_checked_against_its_digest() -> None:
    with (
        connected(FakeCoordinator(digest="0" * 64)) as con,
        pytest.raises(weir.MismatchRefused),
    ):
        con.catalog()
    with connected(FakeCoordinator(toml=CATALOG_TOML)) as con:
        assert con.catalog().tables == ("visits", "residents", "hospitals")


def test_a_broken_answer_is_a_typed_error() -> None:
    broken = answer()
    broken.rows = b"not arrow"
    with (
        connected(FakeCoordinator(answer=broken)) as con,
        pytest.raises(weir.InternalError, match="Arrow"),
    ):
        con.sql("SELECT 1", epsilon=1)


def test_the_environment_proxy_is_not_asked_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with connected(FakeCoordinator()) as con:
        assert [node.province for node in con.budget().nodes] == ["shanghai", "jiangsu"]


def test_a_receipt_can_be_filed_as_json() -> None:
    with connected(FakeCoordinator()) as con:
        receipt = con.sql("SELECT 1", epsilon=0.5).receipt()
    again = json.loads(json.dumps(receipt))
    assert again["sql"] == "SELECT 1"
    assert again["epsilon"] == 0.5
    assert again["epsilon_per_node"] == 0.25
    assert again["charges"][0]["budget"]["epsilon_left"] == 19.75
    assert again["missing"] == [{"province": "anhui", "reason": "did not answer in time"}]
