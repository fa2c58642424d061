"""The parts of one query, done in this process: what one node does, and what the coordinator does before and after."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.report import Figure
from benchmarks.samples import samples
from coordinator.above import computed, rehearse
from coordinator.merge import merge
from coordinator.rest import RestEngine
from node.config import load_config
from node.guard import Asked
from node.release import Releases
from node.serve import open_engine, open_ledger, open_releases
from privacy.error_bars import seed_of
from privacy.fragment import MERGED, Plan
from privacy.noise import noisy
from privacy.planner import Planner
from privacy.request import Request

Spent = defaultdict[str, float]  # seconds by part
_WARM_UP = 2
_TIMEOUT_S = 60.0


def node_parts(federation: Path, queries: Mapping[str, str], epsilon: float, rounds: int) -> Iterator[Figure]:
    """Prepare and Release of fresh questions at one node, and what of them is planning, ledger, engine and noise."""
    config = load_config(sorted((federation / "nodes").glob("*.toml"))[0])
    planner, fresh = Planner(config.catalog), itertools.count(5_000_000)  # the daemons' ledger has none of these
    with closing(open_ledger(config)) as ledger, closing(open_engine(config)) as engine:
        spent: Spent = defaultdict(float)
        releases = _watched(open_releases(config, ledger, engine), spent)
        taken: dict[str, list[float]] = {}
        for number in range(rounds + _WARM_UP):
            for name, sql in queries.items():
                request = _request(sql.format(n=next(fresh)), epsilon)
                fragment = planner.plan(request).blocks[0].fragments[config.province]
                asked = Asked(request.encode(), MERGED, fragment, config.catalog.digest)
                spent.clear()
                _clocked(releases.prepare, spent, "Prepare")(asked)
                _clocked(releases.release, spent, "Release")(asked)
                if number >= _WARM_UP:
                    _note(taken, f"inside a node, {name}", spent)
    yield from (Figure(name, "ms", sample) for name, sample in samples(taken).items())


def _watched(releases: Releases, spent: Spent) -> Releases:
    """`releases` that notes where its time goes."""
    watch: Any = _Watched  # stands for whatever it watches
    return replace(
        releases,
        guard=replace(releases.guard, planner=watch(releases.guard.planner, spent, "  planning")),
        ledger=watch(releases.ledger, spent, "  ledger"),
        engine=watch(releases.engine, spent, "  engine"),
        noise=_clocked(releases.noise, spent, "  noise"),
    )


def coordinator_parts(federation: Path, queries: Mapping[str, str], epsilon: float, rounds: int) -> Iterator[Figure]:
    """Planning, and what happens above the privacy line, over made-up releases of as many nodes as there are."""
    config = load_config(sorted((federation / "nodes").glob("*.toml"))[0])
    planner, rest, fresh = Planner(config.catalog), RestEngine(), itertools.count(2_000_000)
    taken: dict[str, list[float]] = {}
    for number in range(rounds + _WARM_UP):
        for name, sql in queries.items():
            request, spent = _request(sql.format(n=next(fresh)), epsilon), Spent(float)
            plan = _clocked(planner.plan, spent, "planning, cold")(request)
            _clocked(planner.plan, spent, "planning, with another ε")(
                request.model_copy(update={"epsilon": epsilon / (2 + number / 1e3)})
            )
            _clocked(planner.plan, spent, "planning, known")(request)
            _clocked(rehearse, spent, "rehearsal of the rest")(rest, plan, timeout_s=_TIMEOUT_S)
            _above(plan, rest, seed_of(request), spent)
            if number >= _WARM_UP:
                _note(taken, f"inside the coordinator, {name}", spent)
    rest.close()
    yield from (Figure(name, "ms", sample) for name, sample in samples(taken).items())


def _above(plan: Plan, rest: RestEngine, seed: int, spent: Spent) -> None:
    fragments = plan.blocks[0].fragments
    cells = {province: noisy(fragment, _nothing(plan)) for province, fragment in fragments.items()}
    _clocked(merge, spent, "  merge")(fragments, cells)
    releases = {province: {MERGED: table} for province, table in cells.items()}
    bare = replace(plan, rest=replace(plan.rest, error_sql=""))
    _clocked(computed, spent, "  merge and rest")(rest, bare, releases, seed=seed, timeout_s=_TIMEOUT_S)
    _clocked(computed, spent, "merge, rest and error bars")(rest, plan, releases, seed=seed, timeout_s=_TIMEOUT_S)


def _nothing(plan: Plan) -> pa.Table:
    """The exact result of a node without rows."""
    fragment = plan.blocks[0].any_fragment
    keys = fragment.cells.schema.empty_table()
    sums = {measure.name: pa.array([], pa.int64()) for measure in fragment.measures}
    return pa.table({name: keys.column(name) for name in keys.column_names} | sums)


def _request(sql: str, epsilon: float) -> Request:
    return Request.new(sql, epsilon=epsilon, nonce="0" * 32, expires_unix_s=int(time.time()) + 600)


def _note(taken: dict[str, list[float]], group: str, spent: Spent) -> None:
    for part, seconds in spent.items():
        taken.setdefault(f"{group}: {part}", []).append(seconds)


def _clocked(work: Callable[..., Any], spent: Spent, part: str) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        start = time.perf_counter()
        try:
            return work(*arguments, **named)
        finally:
            spent[part] += time.perf_counter() - start

    return call


class _Watched:
    """Passes everything on to `target` and adds the time of its methods to `spent[part]`."""

    def __init__(self, target: object, spent: Spent, part: str) -> None:
        self._target, self._spent, self._part = target, spent, part

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        return _clocked(found, self._spent, self._part) if callable(found) else found
