"""What a peer is asked, and what it gives back: plain JSON, because its environment has none of our code."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.accuracy.cases import (
    CASES,
    DELTA,
    EPSILON,
    HIGHEST_AGE,
    HIGHEST_COST,
    KEYS,
    MAX_GROUPS,
    MAX_ROWS,
)
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


def task(table: Path, rows: int, *, repetitions: int, seconds_per_case: float) -> dict[str, Any]:
    """The same for every peer."""
    return {
        "table": str(table),
        "rows": rows,
        "epsilon": EPSILON,
        "delta": DELTA,
        "rho": zcdp_rho(EPSILON, DELTA),
        "max_rows": MAX_ROWS,
        "max_groups": MAX_GROUPS,
        "highest": {"cost": HIGHEST_COST, "age": HIGHEST_AGE},
        "keys": {key: sorted(values) for key, values in KEYS.items()},
        "repetitions": repetitions,
        "seconds_per_case": seconds_per_case,
        "cases": [{**asdict(case), "sql": case.sql} for case in CASES],
    }


def answers(content: dict[str, Any]) -> Answers:
    cases = {name: Releases(found.get("values", []), found.get("failure")) for name, found in content["cases"].items()}
    return Answers(content["engine"], cases)
