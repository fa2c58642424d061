"""`weir node explain`: how much of the real data a query's limits cut, for the operator beside the data.

Bounding biases an answer in a way that no error bar shows and that cannot be told outside without cost. What is
measured here is exact, so it never leaves the node: it helps to choose `max_rows` and `max_groups` for the catalog.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from node.config import load_config
from node.data import prepare_view
from node.engine import Engine
from node.finding import refuse_errors
from privacy.bounding import bounded_sql
from privacy.errors import RequestRefused
from privacy.fragment import Fragment, Measure
from privacy.planner import Planner
from privacy.request import Request

_SECRET = "00"  # which groups are dropped is by chance; how much is dropped is not


@dataclass(frozen=True)
class Cut:
    """One count or sum of the query.

    Attributes:
        whole: over all rows that the query asks for at this node, in the measure's own unit; of an average, the mean.
        kept: over what the limits leave.
    """

    label: str
    whole: float
    kept: float

    @property
    def share(self) -> float:
        """By what part the limits change it."""
        return abs(self.whole - self.kept) / abs(self.whole) if self.whole else 0.0


@dataclass(frozen=True)
class Truncation:
    """What the limits of a query do to the data of this node."""

    fragment: Fragment
    cuts: tuple[Cut, ...]


def truncation(config_path: Path, sql: str, *, options: dict[str, Any] | None = None) -> tuple[Truncation, ...]:
    """Compare the exact sums with and without bounding, block by block; nothing is released and nothing charged.

    Raises:
        ConfigError, DataError: as at start-up.
        QueryRefused: the SQL; RequestRefused: it asks nothing of this province.
    """
    config = load_config(config_path)
    request = Request.new(sql, epsilon=1.0, nonce="0" * 32, expires_unix_s=0, options=options)
    asked = Planner(config.catalog).plan(request).asked.get(config.province)
    if asked is None:
        raise RequestRefused(f"The query asks nothing of {config.province}.", remedy="Ask about this province.")
    engine = Engine.open(config)
    try:
        for table in sorted({table for fragment in asked.values() for table in fragment.tables}):
            refuse_errors(prepare_view(engine, config.sources[table], config.catalog.private_tables[table]))
        return tuple(Truncation(fragment, _cuts(engine, fragment)) for fragment in asked.values())
    finally:
        engine.close()


def _cuts(engine: Engine, fragment: Fragment) -> tuple[Cut, ...]:
    sums = [measure for measure in fragment.finest if measure.tree is None]
    rows = Measure(
        name="rows",
        label="rows",
        kind="count",
        input=None,
        low=0,
        high=1,
        weight=None,
        grid=1.0,
        centre=0,
        tree=None,
        mechanism="laplace",
        sensitivity=0,
        sensitivity_l2=0.0,
        epsilon=0.0,
        rho=0.0,
        scale=0.0,
    )
    bounded = replace(fragment, measures=(rows, *sums), threshold=None)  # which would leave out whole groups
    unbounded = replace(bounded, bounding=replace(fragment.bounding, form="none"))
    whole, kept = (_totals(engine, part) for part in (unbounded, bounded))
    shown = [(measure, measure.label, _value) for measure in bounded.measures if measure.label]
    shown += [(measure, measure.total, _sum) for measure in bounded.measures if measure.total]
    return tuple(Cut(label, value(measure, whole), value(measure, kept)) for measure, label, value in shown)


def _sum(measure: Measure, totals: dict[str, int]) -> float:
    """A total in the measure's own unit."""
    shift = measure.centre * totals[measure.weight] if measure.weight is not None else 0
    return (totals[measure.name] + shift) * measure.grid


def _value(measure: Measure, totals: dict[str, int]) -> float:
    """The same; of an average, the mean."""
    if measure.weight is None:
        return _sum(measure, totals)
    rows = totals[measure.weight]
    return (measure.centre + totals[measure.name] / rows) * measure.grid if rows else 0.0


def _totals(engine: Engine, fragment: Fragment) -> dict[str, int]:
    """The sums of each measure over all groups."""
    exact = engine.run(bounded_sql(fragment, secret=_SECRET))
    columns = {measure.name: exact.column(measure.name).to_pylist() for measure in fragment.measures}
    return {name: sum(int(value or 0) for value in column) for name, column in columns.items()}
