from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pyarrow as pa
import pytest

from coordinator import wire as sent
from node import wire as received
from node.guard import Asked, Guard, QueryLimit, first_difference
from privacy.accounting import Charge, zcdp_rho
from privacy.errors import MismatchRefused, QueryRefused, RequestRefused
from privacy.planner import Planner
from tests.node.makers import asked, catalog

COUNT = "SELECT kind, COUNT(*), SUM(cost) FROM visits GROUP BY kind"
NOW_S = 1_900_000_000


def guard(province: str = "east", epsilon_per_query: float = 2.0) -> Guard:
    return Guard(
        province=province,
        catalog_digest=catalog().digest,
        limit=QueryLimit(epsilon_per_query, 1e-9),
        planner=Planner(catalog()),
        clock=lambda: NOW_S,
    )


def with_request(honest: Asked, **changes: Any) -> Asked:
    return dataclasses.replace(honest, request=json.dumps(json.loads(honest.request) | changes).encode())


def with_fragment(honest: Asked, **changes: Any) -> Asked:
    return dataclasses.replace(honest, fragment=dataclasses.replace(honest.fragment, **changes))


def test_the_derived_fragment_is_returned_not_the_claimed_one() -> None:
    honest = asked(COUNT)
    without_cells = with_fragment(honest, cells=pa.table({"forged": [1]}))
    admitted = guard().admit(without_cells)
    assert admitted.fragment == honest.fragment
    assert admitted.fragment.cells.equals(honest.fragment.cells)
    assert admitted.project == "default"


@pytest.mark.parametrize("raw", [b"", b"\xff", b"[]", b"{}", b'{"sql": "SELECT 1"}'])
def test_what_is_no_request_is_refused(raw: bytes) -> None:
    with pytest.raises(RequestRefused):
        guard().admit(dataclasses.replace(asked(COUNT), request=raw))


def test_an_expired_request_is_refused() -> None:
    guard().admit(asked(COUNT, expires_unix_s=NOW_S))
    with pytest.raises(RequestRefused, match="expired"):
        guard().admit(asked(COUNT, expires_unix_s=NOW_S - 1))


def test_another_planner_says_so() -> None:
    with pytest.raises(MismatchRefused, match="planner 99"):
        guard().admit(with_request(asked(COUNT), planner_version=99))


def test_another_catalog_is_refused() -> None:
    with pytest.raises(MismatchRefused, match="catalog"):
        guard().admit(dataclasses.replace(asked(COUNT), catalog_digest="0" * 64))


def test_more_than_one_query_may_spend_is_refused_with_the_limit() -> None:
    guard(epsilon_per_query=0.5).admit(asked(COUNT, epsilon=1.0))  # span 2: half at each node
    with pytest.raises(RequestRefused, match=r"ε = 0\.5 at east; one query may spend at most 0\.25"):
        guard(epsilon_per_query=0.25).admit(asked(COUNT, epsilon=1.0))


@pytest.mark.parametrize("delta", [0.0, 1e-9])
def test_an_accuracy_that_needs_more_is_refused_with_what_can_be_reached(delta: float) -> None:
    """Both what the node's limit allows and what the node would be asked for it: then it is admitted."""
    wanted = asked(COUNT, epsilon=100.0, delta=delta, options={"max_standard_error": {"COUNT(*)": 20.0}})
    with pytest.raises(RequestRefused, match=r"at east; one query may spend at most 0\.5") as refused:
        guard(epsilon_per_query=0.5).admit(wanted)
    reached = re.search(
        r"With all of ε = ([\d.]+) the standard error of `COUNT\(\*\)` is still ([\d.]+)", refused.value.remedy
    )
    assert reached is not None
    epsilon, error = map(float, reached.groups())
    less = asked(COUNT, epsilon=epsilon, delta=delta, options={"max_standard_error": {"COUNT(*)": error}})
    guard(epsilon_per_query=0.5).admit(less)
    assert epsilon > 0.9


def test_the_node_finds_the_epsilon_of_an_accuracy_itself() -> None:
    """An ε that only the coordinator believes in is another fragment."""
    sql = "SELECT kind, COUNT(*) AS n, AVG(cost) AS a FROM visits GROUP BY ROLLUP (kind)"
    options = {"max_standard_error": {"a": 30.0}, "expected_rows": 1000.0}
    honest = asked(sql, epsilon=4.0, options=options)
    assert guard().admit(honest).fragment.epsilon < 2
    more = asked(sql, epsilon=4.0)
    with pytest.raises(MismatchRefused, match="differs"):
        guard().admit(dataclasses.replace(honest, fragment=more.fragment))


@pytest.mark.parametrize(
    ("charge", "reason"),
    [
        (Charge(epsilon=2.0), None),
        (Charge(epsilon=2.0, delta=1e-9), None),
        (Charge(rho=zcdp_rho(2.0, 1e-9)), None),
        (Charge(epsilon=2.1), r"ε = 2\.1 at east; one query may spend at most 2 there"),
        (Charge(rho=1.0), r"ε = [0-9.]+ at δ = 1e-09 at east; one query may spend at most 2 there"),
        (Charge(epsilon=0.1, delta=2e-9), r"δ = 2e-09 at east; one query may spend at most 1e-09 there"),
    ],
)
def test_one_query_is_held_to_an_epsilon_and_a_delta(charge: Charge, reason: str | None) -> None:
    limit = QueryLimit(2.0, 1e-9)
    if reason is None:
        limit.check(charge, "east")
        return
    with pytest.raises(RequestRefused, match=reason):
        limit.check(charge, "east")


def test_sql_that_cannot_be_answered_is_refused_here_too() -> None:
    with pytest.raises(QueryRefused):
        guard().admit(with_request(asked(COUNT), sql="SELECT person_id FROM visits"))


def test_another_query_than_the_fragment_is_refused() -> None:
    with pytest.raises(MismatchRefused, match=r"fragment\.relation"):
        guard().admit(with_request(asked(COUNT), sql="SELECT kind, COUNT(*), SUM(age) FROM visits GROUP BY kind"))


def test_a_fragment_of_another_province_is_refused() -> None:
    with pytest.raises(MismatchRefused, match=r"fragment\.province"):
        guard().admit(asked(COUNT, province="west"))


def test_a_province_that_the_query_leaves_out_is_refused() -> None:
    with pytest.raises(MismatchRefused, match="asks nothing of east"):
        guard().admit(asked("SELECT COUNT(*) FROM visits WHERE province = 'west'", province="west"))


FORGED_FRAGMENT = [
    ("relation", "SELECT person_id AS k0, 1 AS x0 FROM visits"),
    ("tables", ("residents",)),
    ("unit", "firm"),
    ("keys", ()),
    ("measures", ()),
    ("epsilon", 1e-9),
    ("epsilon", float("nan")),
    ("cell_count", 1),
    ("cells_digest", "0" * 64),
]


@pytest.mark.parametrize(("field", "value"), FORGED_FRAGMENT)
def test_any_forged_field_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(MismatchRefused, match=rf"fragment\.{field}"):
        guard().admit(with_fragment(asked(COUNT), **{field: value}))


@pytest.mark.parametrize("field", ["low", "high", "sensitivity", "epsilon", "scale", "grid", "centre", "input", "kind"])
def test_any_forged_field_of_a_measure_is_refused_by_name(field: str) -> None:
    honest = asked(COUNT)
    first, second, *rest = honest.fragment.measures
    forged = dataclasses.replace(second, **{field: "x0 * 1000" if field in ("input", "kind") else 12345})
    with pytest.raises(MismatchRefused, match=rf"fragment\.measures\[1\]\.{field}"):
        guard().admit(with_fragment(honest, measures=(first, forged, *rest)))


def test_forged_bounding_is_refused_by_name() -> None:
    honest = asked(COUNT)
    forged = dataclasses.replace(honest.fragment.bounding, max_rows=1)
    with pytest.raises(MismatchRefused, match=r"fragment\.bounding\.max_rows"):
        guard().admit(with_fragment(honest, bounding=forged))


OPEN = "SELECT cost, COUNT(*) FROM visits GROUP BY cost"


@pytest.mark.parametrize(
    ("field", "value"), [("measure", "m0"), ("above", 1), ("least", 99), ("delta", 1e-3), ("most_groups", 10**6)]
)
def test_a_forged_threshold_is_refused_by_name(field: str, value: Any) -> None:
    honest = asked(OPEN, delta=1e-9)
    assert honest.fragment.threshold is not None
    forged = dataclasses.replace(honest.fragment.threshold, **{field: value})
    with pytest.raises(MismatchRefused, match=rf"fragment\.threshold\.{field}"):
        guard().admit(with_fragment(honest, threshold=forged))
    with pytest.raises(MismatchRefused, match=r"fragment\.threshold"):
        guard().admit(with_fragment(honest, threshold=None))


def test_a_threshold_crosses_the_wire_unchanged() -> None:
    for sql in (OPEN, COUNT):
        honest = asked(sql, delta=1e-9)
        message = sent.fragment_request(honest.request, honest.block, honest.fragment, honest.catalog_digest)
        assert received.asked(message).fragment == honest.fragment


def test_equal_fragments_do_not_differ() -> None:
    assert first_difference(asked(COUNT).fragment, asked(COUNT).fragment) == ""
