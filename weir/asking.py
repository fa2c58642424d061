"""What is sent: a request whose ε and δ are written out, whichever of Python and SQL names them."""

from __future__ import annotations

import secrets
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from privacy.errors import RequestRefused
from privacy.request import DELTA, LIFETIME_S, Request

if TYPE_CHECKING:
    from privacy.clause import Clause

PROJECT = "default"  # of requests that name none
EXPLAINED = 1.0  # the ε of explanations of questions that name none


def new_request(
    sql: str,
    *,
    epsilon: float | None,
    delta: float | None,
    project: str,
    explains: bool = False,
    **options: Any,
) -> Request:
    """A request that may spend `epsilon`, or where that is None what the SQL says.

    Args:
        explains: as where EXPLAIN stands in the SQL.

    Raises:
        RequestRefused: ε, an option or the text itself is wrong, or nobody names an ε.
        QueryRefused: the SQL does not parse.
    """
    first = Request.new(
        sql,
        epsilon=1.0 if epsilon is None else epsilon,
        delta=DELTA if delta is None else delta,
        project=project,
        nonce=secrets.token_hex(16),
        expires_unix_s=int(time.time()) + LIFETIME_S,
        options=options,
    )
    clause, says_explain = _said(first.sql)
    explains = explains or says_explain
    given = first.epsilon if epsilon is not None else None
    named = _first(given, clause.epsilon, EXPLAINED if explains else None)
    if named is None:
        raise RequestRefused(
            "The question does not say what it may cost: `epsilon` is missing.",
            remedy="Name it, for example epsilon=0.5, or in the SQL: "
            "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 0.5) ….",
        )
    of_delta = _first(first.delta if delta is not None else None, clause.delta, DELTA)
    return first.model_copy(update={"epsilon": named, "delta": of_delta, "explains": explains})


@lru_cache(maxsize=64)
def _said(sql: str) -> tuple[Clause, bool]:
    """What a text says of its price, and whether it is an EXPLAIN; the same question is often asked again."""
    from privacy.parsing import parse  # here, because budgets and catalogs do without a parser

    written = parse(sql)
    return written.clause, written.explains


def _first(*numbers: float | None) -> float | None:
    return next((number for number in numbers if number is not None), None)
