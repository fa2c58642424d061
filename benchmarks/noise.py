"""The noise step, from an exact result to a release, beside the bare OpenDP calls that it cannot do without.

Bare is one vector call a measure, over a list that is there already. The step finds the cell of each group, asks what
the noise loses, draws it, and makes the columns of the release. With one thread, processor times are compared; on all
cores, the time that passes, with that of the bare calls one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import opendp.prelude as dp
import pyarrow as pa

from benchmarks import machine
from benchmarks.planning import CATALOG
from benchmarks.report import Figure, Section
from benchmarks.samples import in_turn
from privacy.catalog import parse_catalog
from privacy.fragment import Fragment, Key, Measure, Mechanism
from privacy.noise import noisy
from privacy.planner import Planner
from privacy.request import Request

ROUNDS = {10: 100, 1_000: 20, 100_000: 3}  # by how many integers the release has
_LARGE = 10_000  # integers, from which all cores are worth a figure
_MOST_UNITS = 10**6  # in a group; far above any threshold


@dataclass(frozen=True)
class Case:
    """A query, and the noise that its measures have instead of the planner's."""

    sql: str
    noise: tuple[Mechanism, float] | None = None
    delta: float = 0.0


_COUNT = "SELECT kind, COUNT(*) FROM visits GROUP BY kind"
SCALES = {
    f"counts, {mechanism} of scale {scale:g}": Case(_COUNT, (mechanism, scale))
    for mechanism in ("laplace", "gaussian")
    for scale in (1.0, 100.0, 1e6, 1e9)
}
CASES = {
    "counts": Case(_COUNT, ("laplace", 100.0)),
    "counts, gaussian": Case(_COUNT, ("gaussian", 100.0)),
    "counts by three keys": Case("SELECT kind, sex, age, COUNT(*) FROM visits GROUP BY ALL", ("laplace", 100.0)),
    "means, in pairs with their counts": Case("SELECT kind, AVG(cost) FROM visits GROUP BY kind"),
    "medians, of trees": Case("SELECT kind, MEDIAN(cost) FROM visits GROUP BY kind"),
    "counts by keys that nobody can list": Case("SELECT age * cost, COUNT(*) FROM visits GROUP BY ALL", delta=1e-9),
}


def measure(*, rounds: Mapping[int, int] = ROUNDS) -> Section:
    """All cases at all sizes, and all scales at 1,000 integers.

    Args:
        rounds: by how many integers a release has.
    """
    before = machine.load()
    planner = Planner(parse_catalog(CATALOG.read_text(encoding="utf-8"), source=CATALOG.name))
    figures: list[Figure] = []
    for size, times in rounds.items():
        for name, case in CASES.items() if size != 1_000 else (CASES | SCALES).items():
            figures += _compared(f"{size:,} integers: {name}", _fragment(planner, case), size, times)
    title = "noise: the whole step against bare OpenDP calls"
    return Section("noise", title, tuple(figures), (before, machine.load()))


def _compared(name: str, fragment: Fragment, size: int, rounds: int) -> Iterator[Figure]:
    cells = max(1, size // sum(part.width for part in fragment.measures))
    wide, exact = _widened(fragment, cells)
    bare = [_bare(fragment, part, cells) for part in fragment.measures]
    sides: dict[str, Callable[[], object]] = {
        "bare": lambda: [call() for call in bare],
        "step": partial(noisy, wide, exact),
    }
    worked = in_turn(sides, rounds=rounds, clock=time.process_time)
    yield Figure(f"{name}: bare", "ms", worked["bare"])
    yield Figure(f"{name}: step", "×", worked["step"].over(worked["bare"]))
    if size >= _LARGE:
        sides["step"] = partial(noisy, wide, exact, threads=machine.cores())
        waited = in_turn(sides, rounds=rounds, warm_up=0)
        yield Figure(f"{name}: on all cores, time", "×", waited["step"].over(waited["bare"]))


def _fragment(planner: Planner, case: Case) -> Fragment:
    request = Request.new(case.sql, epsilon=1.0, delta=case.delta, nonce="0" * 32, expires_unix_s=2**40)
    fragment = planner.plan(request).blocks[0].fragments["shanghai"]
    if case.noise is None:
        return fragment
    return replace(fragment, measures=tuple(_with_noise(part, *case.noise) for part in fragment.measures))


def _with_noise(part: Measure, mechanism: Mechanism, scale: float) -> Measure:
    epsilon, rho = 1.01 * part.sensitivity / scale, 1.01 * (part.sensitivity_l2 / scale) ** 2 / 2
    return replace(part, mechanism=mechanism, scale=scale, epsilon=epsilon, rho=rho)


def _widened(fragment: Fragment, cells: int) -> tuple[Fragment, pa.Table]:
    """`fragment` with so many cells, and an exact result with a group in each, in another order than the cells."""
    side = int(np.ceil(cells ** (1 / len(fragment.keys))))
    places = [np.arange(cells) // side**number % side for number in range(len(fragment.keys))]
    columns = {key.name: _key(key, place) for key, place in zip(fragment.keys, places, strict=True)}
    groups = {name: column[::-1] for name, column in columns.items()}
    exact = pa.table(groups | {part.name: _sums(part, cells) for part in fragment.measures})
    if fragment.threshold is not None:
        return fragment, exact
    return replace(fragment, cells=pa.table(columns), cell_count=cells), exact


def _key(key: Key, places: np.ndarray) -> pa.Array:
    if key.type == "VARCHAR":
        return pa.array([f"code {place:06}" for place in places])
    return pa.array(places.astype(np.float64 if key.type == "DOUBLE" else np.int64))


def _sums(part: Measure, cells: int) -> pa.Array:
    """As the engine gives them: sums in 128 bits, histograms as lists of the bins with rows in them."""
    if part.tree is not None:
        bins = [{"leaf": leaf, "n": 3} for leaf in range(0, part.tree.leaves, 50)]
        return pa.array([bins] * cells)
    return pa.array([_MOST_UNITS + cell for cell in range(cells)], pa.decimal128(38, 0))


def _bare(fragment: Fragment, part: Measure, cells: int) -> Callable[[], object]:
    """The vector call for one measure; a pair's noise, of which half is the count's, is as wide as the sum's bounds."""
    dp.enable_features("contrib")
    scale = part.scale
    if part.mechanism == "laplace_pair":
        total = next(other for other in fragment.measures if other.mechanism == "laplace_pair" and other.weight)
        scale *= total.high - total.low
    integers = dp.vector_domain(dp.atom_domain(T="i64"))
    if part.mechanism == "gaussian":
        made = dp.m.make_gaussian(integers, dp.l2_distance(T="f64"), scale=scale)
    else:
        made = dp.m.make_laplace(integers, dp.l1_distance(T="i64"), scale=scale)
    return partial(made, [0] * (cells * part.width))
