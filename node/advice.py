"""`weir node advise`: which limits would err least on the real data, for the operator beside the data.

A low limit cuts rows of people who have many, a high one needs more noise. What is cut is counted exactly, so it stays
at the node; the advice is for the catalog, which all provinces share, and follows from people's data: take it from
another year's, or round it, before you publish it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from node.config import NodeConfig, load_config
from node.data import prepare_view
from node.engine import Engine
from node.finding import refuse_errors
from privacy.accounting import zcdp_rho
from privacy.catalog import PrivateTable
from privacy.errors import ConfigError
from privacy.fragment import Block, Fragment
from privacy.layout import planned_block
from privacy.planner import Planner
from privacy.request import DELTA

CANDIDATES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)


@dataclass(frozen=True)
class Limits:
    """What one choice of limits does to a count by these keys.

    Attributes:
        cut: share of the rows that do not count, over all groups.
        noise: standard deviation of the noise of one group at this node.
        error: root mean square over the groups of what is cut and of the noise together.
    """

    max_rows: int
    max_groups: int
    cut: float
    noise: float
    error: float


@dataclass(frozen=True)
class Advice:
    """About the counts of one table by some keys.

    Attributes:
        groups: how many groups have rows.
        now: with the catalog's limits.
        best: with those of the candidates that err least.
    """

    table: str
    keys: tuple[str, ...]
    groups: int
    now: Limits
    best: Limits


def advise(
    config_path: Path, *, epsilon: float, table: str | None = None, keys: Sequence[str] = ()
) -> tuple[Advice, ...]:
    """Measure what limits cut and predict what noise they need, for counts of rows; nothing is released or charged.

    Args:
        epsilon: of a query over the region.
        table: only this one.
        keys: group keys, together; by default those that `[snapshots]` names, and each column with a public domain.

    Raises:
        ConfigError: a key or a table is not what the catalog has.
        DataError: the data do not meet the standard.
    """
    config = load_config(config_path)
    tables = [name for name, private in config.catalog.private_tables.items() if private.rows_per_unit is None]
    chosen = tables if table is None else [name for name in tables if name == table]
    if not chosen:
        raise ConfigError("There is no such table whose persons may have several rows.", remedy=_known(tables))
    engine = Engine.open(config)
    try:
        return tuple(advice for name in chosen for advice in _of_table(engine, config, name, epsilon, tuple(keys)))
    finally:
        engine.close()


def _known(tables: Sequence[str]) -> str:
    return f"Choose one of: {', '.join(tables)}." if tables else "No limits are needed for this catalog."


def _of_table(engine: Engine, config: NodeConfig, name: str, epsilon: float, keys: tuple[str, ...]) -> Iterator[Advice]:
    table = config.catalog.private_tables[name]
    refuse_errors(prepare_view(engine, config.sources[name], table))
    planner = Planner(config.catalog)
    for combination in [keys] if keys else _usual_keys(config, name, table):
        block = planned_block(planner, name, ["COUNT(*)"], keys=combination, epsilon=epsilon)
        fragment = block.fragments[config.province]
        if fragment.bounding.form != "none":
            yield _advice(engine, name, combination, block, fragment)


def _usual_keys(config: NodeConfig, name: str, table: PrivateTable) -> Iterator[tuple[str, ...]]:
    """None at all, those that snapshots have sums of, and every column that falls in listed groups."""
    listed = [
        (column,)
        for column, spec in table.columns.items()
        if column != table.unit_column and (spec.values or spec.references or spec.type == "BOOLEAN")
    ]
    ready = config.prepared.sums[name].keys if config.prepared is not None else ()
    yield from dict.fromkeys([(), *ready, *listed])


def _advice(engine: Engine, table: str, keys: tuple[str, ...], block: Block, fragment: Fragment) -> Advice:
    bounding = fragment.bounding
    rows = tuple(sorted({*CANDIDATES, bounding.max_rows}))
    groups = (
        tuple(sorted({*CANDIDATES, bounding.max_groups}))
        if bounding.form == "clip_and_limit"
        else (bounding.max_groups,)
    )
    counted = _counted(engine, fragment, rows, groups)
    tried = {
        (most_rows, most_groups): _limits(counted, block, fragment, most_rows, most_groups, place)
        for place, most_groups in enumerate(groups)
        for most_rows in rows
    }
    best = min(tried.values(), key=lambda limits: limits.error)
    return Advice(table, keys, len(counted.whole), tried[bounding.max_rows, bounding.max_groups], best)


@dataclass(frozen=True)
class _Counted:
    """Rows by group: all of them, and by limits (groups of a unit × groups × rows of a unit)."""

    whole: np.ndarray
    kept: dict[int, np.ndarray]


def _counted(engine: Engine, fragment: Fragment, rows: tuple[int, ...], groups: tuple[int, ...]) -> _Counted:
    """One pass over the data: for each group and place in a unit's order of groups, what each limit of rows keeps."""
    names = "".join(f", {key.name}" for key in fragment.keys)
    own = f"SELECT u{names}, COUNT(*) AS n FROM ({fragment.relation}) AS r GROUP BY u{names}"
    order = f"HASH(u{names}), u{names}"  # which groups are dropped is by chance; how much is dropped is not
    ranked = f"SELECT *, ROW_NUMBER() OVER (PARTITION BY u ORDER BY {order}) AS place FROM ({own})"
    last = len(groups)
    bucket = (
        "CASE " + "".join(f"WHEN place <= {most} THEN {at} " for at, most in enumerate(groups)) + f"ELSE {last} END"
    )
    kept = ", ".join(f"SUM(LEAST(n, {most})) AS r{most}" for most in rows)
    by = f"{names.removeprefix(', ')}, b" if names else "b"
    found = engine.run(f"SELECT {bucket} AS b{names}, SUM(n) AS n, {kept} FROM ({ranked}) GROUP BY {by}")
    cells, size = _numbered(found, [key.name for key in fragment.keys])
    places = found.column("b").to_numpy()

    def by_place(column: str) -> np.ndarray:
        grid = np.zeros((last + 1, size))
        np.add.at(grid, (places, cells), [float(value) for value in found.column(column).to_pylist()])
        return grid

    return _Counted(by_place("n").sum(axis=0), {most: by_place(f"r{most}").cumsum(axis=0) for most in rows})


def _numbered(found: pa.Table, keys: list[str]) -> tuple[np.ndarray, int]:
    """The group of each row, as a number, and how many there are."""
    numbers: dict[tuple[object, ...], int] = {}
    rows = zip(*(found.column(key).to_pylist() for key in keys), strict=True) if keys else [()] * found.num_rows
    return np.array([numbers.setdefault(tuple(row), len(numbers)) for row in rows], dtype=np.int64), len(numbers)


def _limits(counted: _Counted, block: Block, fragment: Fragment, max_rows: int, max_groups: int, place: int) -> Limits:
    listed = fragment.cell_count if fragment.threshold is None else max_groups
    touched = min(max_groups, listed)
    noise = _noise(block, max_rows, touched)
    lost = counted.whole - counted.kept[max_rows][place]
    cut = float(lost.sum() / counted.whole.sum()) if counted.whole.size else 0.0
    error = math.sqrt(float(np.mean(lost**2)) + noise**2) if counted.whole.size else noise
    return Limits(max_rows, max_groups, cut, noise, error)


def _noise(block: Block, max_rows: int, max_groups: int) -> float:
    """Standard deviation of one count, by the better of the two mechanisms (√2 L1/ε, or L2/√(2ρ))."""
    laplace = math.sqrt(2) * max_rows * max_groups / block.epsilon_per_node
    rho = zcdp_rho(block.epsilon, DELTA) / block.span
    return min(laplace, max_rows * math.sqrt(max_groups) / math.sqrt(2 * rho))
