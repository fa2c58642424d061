"""Two real nodes over neighbouring data, and audits of what they would release."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pytest

import privacy.block_planner
from privacy.accounting import Charge, zcdp_rho
from privacy.catalog import Catalog
from privacy.fragment import Fragment, Plan
from privacy.planner import Planner
from privacy.request import Request
from tests.attacks.local_node import LocalNode, local_node
from tests.statistics.audit import Finding, Noising, audit, together
from tests.statistics.clinic import CATALOG, STANDARD, tables

Mechanism = Literal["laplace", "gaussian"]
MECHANISMS: tuple[Mechanism, ...] = ("laplace", "gaussian")
DELTA = 1e-3

with_each_mechanism = pytest.mark.parametrize("mechanism", MECHANISMS)


def planned(
    sql: str,
    mechanism: Mechanism,
    monkeypatch: pytest.MonkeyPatch,
    *,
    epsilon: float | None = None,
    delta: float | None = None,
    catalog: Catalog = STANDARD,
) -> Plan:
    """The plan with the mechanism that the test is about, whichever would err less.

    Args:
        delta: where Laplace noise needs one too, for a threshold.
    """

    def error(fragments: dict[str, Fragment], _: object) -> float:
        return float(any(measure.mechanism != mechanism for part in fragments.values() for measure in part.measures))

    monkeypatch.setattr(privacy.block_planner, "_error", error)
    if delta is None:
        delta = DELTA if mechanism == "gaussian" else 0.0
    # About ε = 1.5 or ρ = 1 at one node: where 20,000 releases tell most.
    wanted = epsilon or (1.5 if mechanism == "laplace" else 5.0) * (2 if "visits" in sql else 1)
    request = Request.new(sql, epsilon=wanted, delta=delta, nonce="0" * 32, expires_unix_s=2**40)
    return Planner(catalog).plan(request)


def regional(epsilon: float, mechanism: Mechanism) -> Charge:
    """What a request promises for the region."""
    return Charge(epsilon=epsilon) if mechanism == "laplace" else Charge(rho=zcdp_rho(epsilon, DELTA))


@dataclass(frozen=True)
class Neighbours:
    """Two real nodes over Parquet files, with and without the person."""

    with_target: LocalNode
    without: LocalNode

    def exact(self, fragment: Fragment, sql_of: Fragment | None = None) -> tuple[pa.Table, pa.Table]:
        return self.with_target.exact(fragment, sql_of=sql_of), self.without.exact(fragment, sql_of=sql_of)

    def audited(
        self, fragment: Fragment, claim: Charge, *, noise: Fragment | None = None, sql_of: Fragment | None = None
    ) -> Finding:
        """Audit `claim` of a fragment.

        Args:
            noise: the fragment with the noise that is really added.
            sql_of: the fragment with the bounding that is really done.
        """
        one, other = (Noising(noise or fragment, exact) for exact in self.exact(fragment, sql_of))
        return audit(one, other, claim)

    def audited_together(self, fragments: Sequence[Fragment], claim: Charge) -> Finding:
        """Audit `claim` of the joint releases of several fragments: of blocks, or of nodes that all hold these rows."""
        pairs = [(fragment, self.exact(fragment)) for fragment in fragments]
        one = together(*(Noising(fragment, exact[0]) for fragment, exact in pairs))
        other = together(*(Noising(fragment, exact[1]) for fragment, exact in pairs))
        return audit(one, other, claim)


@contextlib.contextmanager
def clinics(folder: Path) -> Iterator[Neighbours]:
    """The nodes of clinic.py."""
    with (
        local_node(folder / "with", CATALOG, tables(target=True), province="east") as one,
        local_node(folder / "without", CATALOG, tables(target=False), province="east") as other,
    ):
        yield Neighbours(one, other)
