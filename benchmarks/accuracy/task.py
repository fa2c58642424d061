"""What a peer is asked, and what it gives back: plain JSON, because its environment has none of our code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.accuracy.cases import CASES, DELTA, EPSILON, VISITS, Case, Subject
from privacy.accounting import zcdp_rho


@dataclass(frozen=True)
class Releases:
    """Of one case by one engine.

    Attributes:
        values: repetition × key (in order of the keys) × column.
        failure: why there are none; None where there are.
    """

    values: list[list[list[float]]]
    failure: str | None = None


@dataclass(frozen=True)
class Answers:
    """Of one engine: its name with version, what it releases, by case."""

    engine: str
    cases: dict[str, Releases]


def task(
    table: Path,
    rows: int,
    *,
    repetitions: int,
    seconds_per_case: float,
    subject: Subject = VISITS,
    cases: Sequence[Case] = CASES,
    enforce_limits: bool = False,
) -> dict[str, Any]:
    """The same for every peer.

    Args:
        enforce_limits: by a peer that can also be told, as a fact, that all rows are within them.
    """
    return {
        "table": str(table),
        "name": subject.name,
        "unit": subject.unit,
        "rows": rows,
        "epsilon": EPSILON,
        "delta": DELTA,
        "rho": zcdp_rho(EPSILON, DELTA),
        "max_rows": subject.max_rows,
        "max_groups": subject.max_groups,
        "enforce_limits": enforce_limits,
        "highest": {name: measure.highest for name, measure in subject.measures.items()},
        "grid": {name: measure.grid for name, measure in subject.measures.items()},
        "keys": {key: sorted(values) for key, values in subject.keys.items()},
        "repetitions": repetitions,
        "seconds_per_case": seconds_per_case,
        "cases": [{**asdict(case), "sql": case.sql} for case in cases],
    }


def answers(content: dict[str, Any]) -> Answers:
    cases = {name: Releases(found.get("values", []), found.get("failure")) for name, found in content["cases"].items()}
    return Answers(content["engine"], cases)
