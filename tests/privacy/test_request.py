"""Requests: what is refused before anything is sent, and the bytes that travel."""

import json
import math

import pytest

from privacy.errors import RequestRefused
from privacy.request import PLANNER_VERSION, Request
from tests.privacy.corpus_planner import request

SQL = "SELECT COUNT(*) FROM visits"


@pytest.mark.parametrize("epsilon", [0, -1, math.nan, math.inf, -math.inf, "1", None, True, 1e10])
def test_epsilon_is_a_positive_finite_number(epsilon: object) -> None:
    with pytest.raises(RequestRefused, match="epsilon"):
        request(SQL, epsilon=epsilon)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{"max_rows": 0}, {"max_groups": -1}, {"max_rows": 1.5}, {"speed": 3}, {"require_all": "yes"}]
)
def test_options_are_known_and_typed(options: dict[str, object]) -> None:
    with pytest.raises(RequestRefused, match="options"):
        request(SQL, **options)


@pytest.mark.parametrize("raw", [b"", b"\xff", b"[]", b"{}", b'"x"', b'{"sql": "SELECT 1"}', b"null"])
def test_other_bytes_are_no_request(raw: bytes) -> None:
    with pytest.raises(RequestRefused):
        Request.decode(raw)


def test_too_long_a_query_is_refused() -> None:
    with pytest.raises(RequestRefused, match="sql"):
        request("SELECT " + "1" * 30_000)


def test_bytes_round_trip() -> None:
    sent = request(SQL, epsilon=1, max_rows=3)
    assert Request.decode(sent.encode()) == sent
    assert sent.planner_version == PLANNER_VERSION


def test_nan_cannot_be_smuggled_through_json() -> None:
    fields = json.loads(request(SQL).encode())
    raw = json.dumps(fields | {"epsilon": math.nan}).encode()
    with pytest.raises(RequestRefused):
        Request.decode(raw)
