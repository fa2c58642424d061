"""What decides: nobody's word is taken for what a query costs or reveals, all of it is derived here again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol

from privacy.accounting import Charge, Spent
from privacy.errors import MismatchRefused, RequestRefused
from privacy.fragment import Fragment, Plan
from privacy.request import PLANNER_VERSION, Request


@dataclass(frozen=True)
class Asked:
    """What a caller sends: the researcher's request verbatim, and what the caller makes of one block of it."""

    request: bytes
    block: str
    fragment: Fragment
    catalog_digest: str


@dataclass(frozen=True)
class Admitted:
    """What is asked, by this node's own reading.

    Attributes:
        beside: what the same request asks of this node in other blocks.
        project: whose budget pays.
        explains: the request is an EXPLAIN.
    """

    fragment: Fragment
    beside: tuple[Fragment, ...]
    project: str
    explains: bool = False


@dataclass(frozen=True)
class QueryLimit:
    """The most that one query may spend here: (ε, δ)."""

    epsilon: float
    delta: float

    def cost(self, charge: Charge) -> float:
        """The ε of `charge` at the δ of the limit."""
        return Spent().plus(charge).epsilon_at(self.delta)

    def check(self, charge: Charge, province: str) -> None:
        """Raises: RequestRefused: `charge` is more than that."""
        cost = self.cost(charge)
        if cost <= self.epsilon:
            return
        name, asked, most, at_delta = "epsilon", f"ε = {cost:g}", self.epsilon, ""
        if charge.delta > self.delta:
            name, asked, most = "delta", f"δ = {charge.delta:g}", self.delta
        elif charge.rho:
            at_delta = f" at δ = {self.delta:g}"
        raise RequestRefused(
            f"The query spends {asked}{at_delta} at {province}; one query may spend at most {most:g} there.",
            remedy=f"Ask with a smaller {name}.",
        )


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
    limit: QueryLimit
    planner: Plans
    clock: Callable[[], float]

    def admit(self, asked: Asked) -> Admitted:
        """The fragment that this node derives from the request; the caller's is compared and dropped.

        Raises:
            RequestRefused: not a request, expired, or more than one query may spend here.
            MismatchRefused: another catalog, planner or fragment than the caller's.
            QueryRefused: the SQL cannot be answered.
        """
        request = Request.decode(asked.request)
        self._check_time(request)
        self._check_versions(request, asked)
        plan = self.planner.plan(request)
        of_all = plan.asked.get(self.province, {})
        derived = of_all.get(asked.block)
        if derived is None:
            raise MismatchRefused(f"The query asks nothing of {self.province}.", remedy=_UPGRADE)
        if derived != asked.fragment:
            difference = first_difference(derived, asked.fragment)
            raise MismatchRefused(
                f"What was sent is not what the request asks: `{difference}` differs.", remedy=_UPGRADE
            )
        self._check_limit(request, plan, total_charge(of_all.values()))
        beside = tuple(fragment for block, fragment in of_all.items() if block != asked.block)
        return Admitted(derived, beside, request.project, plan.explains)

    def _check_limit(self, request: Request, plan: Plan, charge: Charge) -> None:
        """Raises: RequestRefused: too much for one query, with what can be had for less where an accuracy is named."""
        try:
            self.limit.check(charge, self.province)
        except RequestRefused as refusal:
            share = self.limit.epsilon / self.limit.cost(charge)
            fits = float(f"{plan.epsilon * share * _BELOW:.3g}") if 0 < share < 1 else 0.0
            less = _refusal_of(self.planner, request, fits) if fits > 0 else None
            if less is None:
                raise
            raise RequestRefused(refusal.message, remedy=f"{less.message} {less.remedy}") from None

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


def total_charge(fragments: Iterable[Fragment]) -> Charge:
    """What several fragments cost together, at most."""
    charges = [fragment.charge for fragment in fragments]
    return Charge(
        epsilon=math.fsum(charge.epsilon for charge in charges),
        rho=math.fsum(charge.rho for charge in charges),
        delta=math.fsum(charge.delta for charge in charges),
    )


_BELOW = 0.995  # so that three digits of it are no more


def _refusal_of(planner: Plans, request: Request, epsilon: float) -> RequestRefused | None:
    """Why `epsilon` is not enough for the accuracy that the request names; None where it names none, or it is."""
    try:
        planner.plan(request.model_copy(update={"epsilon": epsilon}))
    except RequestRefused as refusal:
        return refusal
    return None


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
