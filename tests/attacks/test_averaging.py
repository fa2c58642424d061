"""Averaging and differencing: the same question gives the same noise however it is spelt, and every other one is paid for
until nothing is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from node.guard import Asked
from privacy.accounting import Spent
from privacy.errors import BudgetRefused
from privacy.fragment import MERGED
from privacy.planner import Planner
from privacy.request import Request
from tests.attacks.local_node import LocalNode, local_node
from tests.statistics.clinic import CATALOG, STANDARD, tables

PLANNER = Planner(STANDARD)
QUESTION = "SELECT ward, COUNT(*) AS n, SUM(cost) AS s FROM visits WHERE urgent AND cost > 3 GROUP BY ward"
SPELLINGS = [
    "select WARD, count( * ) as N, sum(Cost) as S from VISITS where URGENT and cost > 3 group by ward",
    "SELECT ward,\n  COUNT(*) AS n, -- how many\n  SUM(cost) AS s\nFROM visits\nWHERE urgent AND cost > 3 /* yuan */\nGROUP BY ward;",
    "SELECT v.ward AS w, COUNT(*) AS visits, SUM(v.cost) AS total FROM visits v WHERE v.urgent AND v.cost > 3 GROUP BY v.ward",
    "SELECT x.ward, COUNT(*), SUM(x.cost) FROM visits AS x WHERE (x.cost > 3) AND (x.urgent) GROUP BY 1",
    "SELECT ward, COUNT(*), SUM(cost) FROM visits WHERE cost > 3 AND urgent GROUP BY ALL",
    "SELECT ward, COUNT(*), SUM(cost) FROM visits WHERE 3 < cost AND urgent GROUP BY ward",
    "SELECT ward, COUNT(*), SUM(cost) FROM visits WHERE ((cost > 3) AND urgent AND cost > 3) GROUP BY ward",
    "SELECT ward, COUNT(*), SUM(cost) FROM visits WHERE urgent AND cost > 3 GROUP BY ward ORDER BY 2 DESC LIMIT 3",
    "SELECT ward, COUNT(*), SUM(cost) FROM visits WHERE urgent AND cost > 3 GROUP BY ward HAVING COUNT(*) > 5",
    "SELECT ward AS k, COUNT(*) AS c, SUM(cost) FROM visits WHERE urgent AND cost > 3 GROUP BY k ORDER BY c",
    'SELECT "ward", COUNT(*), SUM("cost") FROM "visits" WHERE "urgent" AND "cost" > 3 GROUP BY "ward"',
    "SELECT ward, COUNT(ward), SUM((cost)) FROM visits WHERE urgent AND cost > 3 GROUP BY ward",
]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[LocalNode]:
    rows = tables(target=True)
    with local_node(tmp_path, CATALOG, rows, province="east", epsilon_total=2.0, epsilon_per_query=0.5) as opened:
        yield opened


def asked(sql: str, *, number: int = 0, epsilon: float = 0.5, **fields: float) -> Asked:
    """A request of its own: another nonce, another time."""
    request = Request.new(sql, epsilon=epsilon, nonce=f"{number:032x}", expires_unix_s=2**40 + number, **fields)
    return Asked(request.encode(), MERGED, PLANNER.plan(request).blocks[0].fragments["east"], STANDARD.digest)


def test_one_question_in_many_spellings_is_one_release(node: LocalNode) -> None:
    first = node.release(asked(QUESTION))
    spent = node.epsilon_spent
    assert first.epsilon_charged > 0
    for number, spelling in enumerate(SPELLINGS, start=1):
        again = node.release(asked(spelling, number=number))
        assert (again.already_released, again.epsilon_charged) == (True, 0.0), spelling
        assert again.release == first.release
    assert node.epsilon_spent == spent


@pytest.mark.parametrize(
    "another",
    [
        "SELECT ward, COUNT(*) AS n, SUM(cost) AS s FROM visits WHERE urgent AND cost > 3.5 GROUP BY ward",
        "SELECT ward, COUNT(*) AS n, SUM(cost) AS s FROM visits WHERE urgent AND NOT cost <= 3 GROUP BY ward",
        "SELECT ward, COUNT(*) AS n, SUM(cost + 0) AS s FROM visits WHERE urgent AND cost > 3 GROUP BY ward",
        "SELECT ward, COUNT(*) AS n, SUM(cost), SUM(score) FROM visits WHERE urgent AND cost > 3 GROUP BY ward",
        "SELECT shift, ward, COUNT(*), SUM(cost) FROM visits WHERE urgent AND cost > 3 GROUP BY shift, ward",
        "SELECT ward, COUNT(*), SUM(cost) FROM visits WHERE urgent AND cost > 3 AND person_id <> 7 GROUP BY ward",
    ],
)
def test_whatever_draws_fresh_noise_is_paid_for(node: LocalNode, another: str) -> None:
    """Also a question that means the same and is not recognised: its noise is new, so it costs again."""
    one = node.release(asked(QUESTION))
    before = node.epsilon_spent
    other = node.release(asked(another))
    assert other.release != one.release
    assert other.epsilon_charged > 0
    assert node.epsilon_spent > before


def test_the_same_question_at_another_price_is_paid_for(node: LocalNode) -> None:
    first = asked(QUESTION, epsilon=0.5)
    answer = node.release(first).release
    for epsilon, fields in ((0.4, {}), (0.2, {"delta": 1e-5}), (0.1, {"delta": 1e-3})):
        other = asked(QUESTION, epsilon=epsilon, **fields)
        before = node.epsilon_spent
        released = node.release(other)
        same = other.fragment == first.fragment  # δ changes nothing where the noise is Laplace all the same
        assert (released.release == answer) == same
        assert (node.epsilon_spent > before) == (not same)


@pytest.mark.parametrize("delta", [0.0, 1e-9], ids=["pure", "with a δ"])
def test_a_thousand_questions_exhaust_the_budget_and_then_nothing_comes(node: LocalNode, delta: float) -> None:
    """Differencing: everybody but one person, asked again and again for another person."""
    paid: list[Asked] = []
    answers: list[bytes] = []
    composed = Spent()
    refused = 0
    for person in range(1_000):
        if refused > 20 and person % 10:
            continue  # of what follows a refusal, some are asked
        question = asked(f"SELECT COUNT(*) FROM visits WHERE person_id <> {person}", number=person, delta=delta)
        try:
            answers.append(node.release(question).release)
        except BudgetRefused:
            refused += 1
            assert node.epsilon_spent <= 2.0
            continue
        assert not refused, "a refusal is not followed by an answer at the same price"
        paid.append(question)
        composed = composed.plus(question.fragment.charge)
    assert refused > 50
    assert len(paid) >= 8
    assert composed.epsilon_at(1e-6) <= 2.0 * (1 + 1e-9)  # what the node gave away, by itself
    for question, answer in zip(paid[:5], answers, strict=False):
        again = node.release(question)  # what was bought stays bought, and stays the same
        assert (again.release, again.epsilon_charged) == (answer, 0.0)


def test_noise_does_not_average_out_over_repeats(node: LocalNode) -> None:
    releases = {node.release(asked("SELECT COUNT(*) FROM visits", number=number)).release for number in range(50)}
    assert len(releases) == 1
    assert pa.ipc.open_stream(releases.pop()).read_all().num_rows == 1
