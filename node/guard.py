"""What decides: nobody's word is taken for what a query costs or reveals, all of it is derived here again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol

from privacy.errors import MismatchRefused, RequestRefused
from privacy.fragment import Fragment, Plan
from privacy.request import PLANNER_VERSION, Request


@dataclass(frozen=True)
class Asked:
    """What a caller sends: the researcher's request verbatim, and what the caller makes of it."""

    request: bytes
    fragment: Fragment
    catalog_digest: str


class Plans(Protocol):
    """The pure planning code that coordinator and node share."""

    def plan(self, request: Request) -> Plan: ...


@dataclass(frozen=True)
class Guard:
    """The checks of one node, before any data or budget is touched.

    Attributes:
        clock: the time in seconds since 1970.
    """

    province: str
    catalog_digest: str
    epsilon_per_query: float
    planner: Plans
    clock: Callable[[], float]

    def admit(self, asked: Asked) -> Fragment:
        """The fragment that this node derives from the request; the caller's is compared and dropped.

        Raises:
            RequestRefused: not a request, expired, or more ε than one query may spend here.
            MismatchRefused: another catalog, planner or fragment than the caller's.
            QueryRefused: the SQL cannot be answered.
        """
        request = Request.decode(asked.request)
        self._check_time(request)
        self._check_versions(request, asked)
        derived = self.planner.plan(request).fragments.get(self.province)
        if derived is None:
            raise MismatchRefused(f"The query asks nothing of {self.province}.", remedy=_UPGRADE)
        difference = first_difference(derived, asked.fragment)
        if difference:
            raise MismatchRefused(
                f"What was sent is not what the request asks: `{difference}` differs.", remedy=_UPGRADE
            )
        self._check_epsilon(derived)
        return derived

    def _check_time(self, request: Request) -> None:
        if request.expires_unix_s < self.clock():
            raise RequestRefused("The request has expired.", remedy="Send it anew; check the clocks if it is fresh.")

    def _check_versions(self, request: Request, asked: Asked) -> None:
        if request.planner_version != PLANNER_VERSION:
            raise MismatchRefused(
                f"The request is for planner {request.planner_version}; this node has planner {PLANNER_VERSION}.",
                remedy=_UPGRADE,
            )
        if asked.catalog_digest != self.catalog_digest:
            raise MismatchRefused(
                f"The caller's catalog is not the one that {self.province} accepted.",
                remedy="Give coordinator and node the same catalog version.",
            )

    def _check_epsilon(self, fragment: Fragment) -> None:
        if fragment.epsilon > self.epsilon_per_query:
            raise RequestRefused(
                f"The query spends ε = {fragment.epsilon:g} at {self.province}; "
                f"one query may spend at most {self.epsilon_per_query:g} there.",
                remedy="Ask with a smaller epsilon.",
            )


_UPGRADE = "Run the same version of weir at client, coordinator and node."


def first_difference(ours: Any, theirs: Any, path: str = "fragment") -> str:
    """The path of the first compared field in which two fragments differ; empty where they are equal."""
    if is_dataclass(ours) and type(ours) is type(theirs):
        names = [field.name for field in fields(ours) if field.compare]
        parts = [(f"{path}.{name}", getattr(ours, name), getattr(theirs, name)) for name in names]
    elif isinstance(ours, tuple) and isinstance(theirs, tuple) and len(ours) == len(theirs):
        parts = [(f"{path}[{place}]", *pair) for place, pair in enumerate(zip(ours, theirs, strict=True))]
    else:
        return "" if ours == theirs else path
    return next((found for place, our, their in parts if (found := first_difference(our, their, place))), "")
