"""The researcher's request: the bytes that travel verbatim from the client to every node."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from privacy.errors import RequestRefused

PLANNER_VERSION = 4  # a node of another version says so instead of guessing
MAX_SQL_CHARACTERS = 20_000
DELTA = 1e-9
MOST_DELTA = 1e-3
MOST_EPSILON = 1e9
PROJECT = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
LIFETIME_S = 600  # how long the client lets a request live


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_ByColumn = Annotated[dict[Annotated[str, Field(min_length=1)], Positive], Field(min_length=1)]
Limits = Positive | dict[str, Positive]  # of every column, or by column of the answer
_Limits = Positive | _ByColumn


class Options(BaseModel):
    """What a researcher may ask for beside the SQL; each can only tighten the catalog's limits."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    require_all: bool = False  # refuse rather than answer without some province
    weights: dict[str, Positive] | None = None  # which columns matter more
    max_rows: Annotated[int, Field(ge=1)] | None = None  # rows of one unit that count in one group
    max_groups: Annotated[int, Field(ge=1)] | None = None  # groups that one unit may touch at one node
    # Accuracy first: spend no more of ε than these need (privacy/accuracy.py).
    max_standard_error: _Limits | None = None  # of every column whose error can be told beforehand, or of those named
    max_relative_error: _Limits | None = None  # of every count, as a share of `expected_rows`, or of those named
    expected_rows: Positive | None = None  # that the researcher expects in a group


def by_column(limits: Limits | None) -> dict[str, float]:
    """Limits by column; what holds for every column stands under no name, which no column has."""
    return limits if isinstance(limits, dict) else {} if limits is None else {"": limits}


class Request(BaseModel):
    """One query and what it may cost.

    Attributes:
        epsilon, delta: the regional guarantee: the most that any one unit loses, over all nodes. With δ = 0 only pure
            mechanisms are used.
        project: whose budget pays, as node policies name it.
        nonce: makes two requests differ, 32 hexadecimal digits.
        expires_unix_s: after this moment nodes refuse it.
        explains: it asks only what it would run and cost, as with EXPLAIN in the SQL: no node releases anything for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sql: Annotated[str, Field(max_length=MAX_SQL_CHARACTERS)]
    epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False, le=MOST_EPSILON)]
    delta: Annotated[float, Field(ge=0, le=MOST_DELTA)] = DELTA
    project: Annotated[str, Field(pattern=PROJECT)] = "default"
    options: Options = Options()
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    expires_unix_s: int
    explains: bool = False
    planner_version: int = PLANNER_VERSION

    @staticmethod
    def new(
        sql: str,
        *,
        epsilon: float,
        nonce: str,
        expires_unix_s: int,
        delta: float = DELTA,
        project: str = "default",
        options: dict[str, Any] | None = None,
    ) -> Request:
        """A validated request; the caller brings the nonce and the clock.

        Raises:
            RequestRefused: ε that is not a positive finite number, an unknown option, no SQL.
        """
        fields = {
            "sql": sql,
            "epsilon": float(epsilon) if isinstance(epsilon, int) and not isinstance(epsilon, bool) else epsilon,
            "options": options or {},
            "delta": float(delta) if isinstance(delta, int) and not isinstance(delta, bool) else delta,
            "project": project,
            "nonce": nonce,
            "expires_unix_s": expires_unix_s,
        }
        return _validated(fields)

    def encode(self) -> bytes:
        """The bytes that travel."""
        return self.model_dump_json().encode()

    @staticmethod
    def decode(raw: bytes) -> Request:
        """The request in `raw`.

        Raises:
            RequestRefused: not a request.
        """
        try:
            fields = json.loads(raw)
        except (UnicodeDecodeError, ValueError, RecursionError):
            raise RequestRefused("The request is not UTF-8 JSON.", remedy="Send it through weir's client.") from None
        for name in ("epsilon", "delta"):  # JSON writes 1.0 as 1 in other languages
            if isinstance(fields, dict) and type(fields.get(name)) is int:
                fields[name] = float(fields[name])
        return _validated(fields)


def _validated(fields: Any) -> Request:
    try:
        return Request.model_validate(fields)
    except ValidationError as fault:
        first = max(fault.errors(include_url=False), key=lambda error: len(error["loc"]))  # the one that says most
        steps = [str(step) for step in first["loc"] if step not in _KINDS]
        name = ".".join(steps) or "request"
        raise RequestRefused(f"`{name}`: {first['msg']}.", remedy=_REMEDIES.get(name, _OTHER_REMEDY)) from None


_KINDS = ("constrained-float", "dict[constrained-str,constrained-float]")  # of limits, which are either
_REMEDIES = {
    "epsilon": "Give ε as a positive finite number, for example epsilon=0.5.",
    "delta": "Give δ as a number from 0 to 0.001, far below one in the number of people.",
    "project": "Name the project with letters, digits, dots, dashes: project='ageing-2026'.",
    "sql": f"Give one SELECT statement of at most {MAX_SQL_CHARACTERS:,} characters.",
}
_REMEDIES |= {
    f"options.{name}": f"Give a number above 0, or one for each of some columns: {name}={{'n': {example:g}}}."
    for name, example in (("max_standard_error", 50), ("max_relative_error", 0.05))
}
_OTHER_REMEDY = f"Options are {', '.join(Options.model_fields)}; docs/queries.md describes them."
