"""The noise of an answer's cells: its moments, and draws of it that the rest is computed on again.

The noise's distribution is public (each measure states its scale), and the merged values are released already: nothing
here costs budget, and nothing here is ever added to data. What a reader is told is made of it in privacy/intervals.py.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from privacy.noise import WHOLE, simulated_noise, variance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from privacy.chains import Chain
    from privacy.fragment import Mechanism
    from privacy.histograms import Histogram
    from privacy.linear import Form
    from privacy.request import Request
    from privacy.roll_up import RollUp

DRAWS_STEP = 40  # with 40 n − 1 draws, 2.5 % of what comes lies below the n-th of them
MOST_DRAWS = 50 * DRAWS_STEP - 1  # a cell: standard errors of ratios to about 3 %
LEAST_DRAWS = DRAWS_STEP - 1  # a cell: the least and the greatest draw are the interval
SIMULATED_ROWS = 4_000_000  # cells × draws, about 100 MB with its columns
NOISE_DRAWS = 40_000_000  # cells × draws × measures × nodes, about 20 ns each


@dataclass(frozen=True)
class Contribution:
    """The noise of one node.

    Attributes:
        cells: the numbers of the merged cells that it added to, each at most once.
        noises: by measure, the mechanism and the scale of its noise, in steps.
        pairs: by sum that was released with the count of its rows (privacy/pairs.py), that count.
        chains: by measure that was released at several levels, how they were combined.
    """

    cells: NDArray[np.int64]
    noises: Mapping[str, tuple[Mechanism, float]]
    pairs: Mapping[str, str] = field(default_factory=dict)
    chains: Mapping[str, Chain] = field(default_factory=dict)

    def variances(self, measure: str, roll_up: RollUp | None, size: int) -> NDArray[np.float64]:
        """The variance of a measure's noise in each of `size` merged cells, or of the groups that sum them."""
        chain, total, places = self.chains.get(measure), np.zeros(size), [self.cells]
        if roll_up is not None:
            places = [place[self.cells] for place in roll_up.places]
        for place in places:
            if chain is None:
                total += np.bincount(place, minlength=size) * variance(*self.noises[measure])
            else:
                total += chain.variances_of_sums(place, size)
        return total

    def same(self, measure: str) -> tuple[object, ...]:
        """Equal where two nodes have the same cells and noise; some may go unnoticed."""
        return id(self.cells), id(self.chains.get(measure)), self.noises[measure]

    def draws(
        self, measure: str, shape: tuple[int, ...], *, seeds: Mapping[str, int], nodes: int = 1
    ) -> NDArray[np.float64]:
        """Noise like that of a measure, cells × `shape`.

        Args:
            seeds: by measure.
            nodes: like this one, whose noise is added up; 1 where several levels were combined.
        """
        count = self.pairs.get(measure)  # the same two draws as the count's, the second with the other sign
        seed, opposite = seeds[count or measure], count is not None
        chain = self.chains.get(measure)
        if chain is not None:
            drawn = chain.simulated(math.prod(shape), seed=seed, opposite=opposite)
            return drawn.reshape(len(self.cells), *shape)
        shape = (len(self.cells), *shape)
        return simulated_noise(*self.noises[measure], shape, seed=seed, opposite=opposite, nodes=nodes)


def seed_of(request: Request) -> int:
    """The same for the same question, so that asking again gives the same error bars."""
    question = request.model_dump_json(include={"sql", "epsilon", "delta", "options"})
    return int.from_bytes(hashlib.sha256(question.encode()).digest()[:8], "big")


def draws_per_cell(cells: int, noises: int) -> int:
    """How many draws of each cell are worth their time and memory.

    Args:
        cells: merged cells.
        noises: noise terms of one draw of all cells: Σ over nodes of cells × measures.
    """
    affordable = min(SIMULATED_ROWS // max(cells, 1), NOISE_DRAWS // max(noises, 1), MOST_DRAWS)
    return DRAWS_STEP * max(1, (affordable + 1) // DRAWS_STEP) - 1


def cell_deviations(
    measure: str, contributions: Sequence[Contribution], cells: int, *, roll_up: RollUp | None = None
) -> NDArray[np.float64]:
    """The standard deviation of a measure's noise in each merged cell; rolled up where `roll_up` says how."""
    total = np.zeros(cells if roll_up is None else roll_up.groups)
    alike: dict[tuple[object, ...], list[Contribution]] = {}
    for part in contributions:
        alike.setdefault(part.same(measure), []).append(part)
    for parts in alike.values():
        total += len(parts) * parts[0].variances(measure, roll_up, len(total))
    deviations: NDArray[np.float64] = np.sqrt(total)
    return deviations


def fourth_cumulants(
    form: Form, contributions: Sequence[Contribution], cells: int, *, roll_up: RollUp | None = None
) -> NDArray[np.float64]:
    """The fourth cumulant of the noise of Σ coefficient × measure in each merged cell, or in each group.

    That of Laplace noise of scale b is 12 b⁴, that of Gaussian noise 0, and they add up. Of what a node combined from
    several levels it is taken as the most that it may be: that of a single Laplace noise of the same variance. No sum
    of independent ones has more, so an interval is too wide rather than too narrow, by 8 % at most.
    """
    size = cells if roll_up is None else roll_up.groups
    single, combined = np.zeros(cells if roll_up is None else roll_up.cells), np.zeros(size)
    known: dict[tuple[object, ...], NDArray[np.float64]] = {}
    for part in contributions:
        for measure, scale in _laplace_draws(dict(form), part):
            if measure not in part.chains:
                single[part.cells] += 12 * scale**4
            elif scale:
                alike = part.same(measure)
                if alike not in known:
                    known[alike] = part.variances(measure, roll_up, size)
                share = (scale / part.noises[measure][1]) ** 2 / (2 if measure in part.pairs.values() else 1)
                combined += 3 * (share * known[alike]) ** 2
    summed: NDArray[np.float64] = single if roll_up is None else roll_up.sums(single)
    return summed + combined


def _laplace_draws(form: Mapping[str, float], part: Contribution) -> Iterator[tuple[str, float]]:
    """The scale of each independent Laplace draw that one node's noise of `form` consists of, and of which measure's
    noise it is all or, of a pair's count, half."""
    counts = set(part.pairs.values())
    for name, (mechanism, scale) in part.noises.items():
        by = form.get(name, 0.0)
        if name in part.pairs:  # in the count both draws stand with one sign, in the sum with opposite ones
            count = part.pairs[name]
            both = form.get(count, 0.0) * part.noises[count][1]
            yield from ((count, both + by * scale), (count, both - by * scale))
        elif mechanism != "gaussian" and name not in counts:
            yield name, by * scale


def simulated(
    merged: pa.Table,
    histograms: Sequence[Histogram],
    contributions: Sequence[Contribution],
    *,
    seed: int,
    roll_up: RollUp | None = None,
    draws: int | None = None,
) -> Iterator[tuple[pa.Table, int]]:
    """The table `simulated` of `Rest.error_sql`, in parts of many rows, and how many draws each cell has in it.

    It has every row of `merged` once a draw, its measures with fresh noise.

    Args:
        merged: `cell` (0 …, in order), the keys, the measures (int64), what is read off `histograms`.
        roll_up: which of the cells of `contributions` each row of `merged` is the sum of; None where each is one.
        draws: of each cell; as many as are worth it where it is None.

    Yields:
        The same columns, numbers as float64; the draws of a cell follow each other.
    """
    rows = merged.num_rows
    cells = roll_up.cells if roll_up is not None else rows
    asked = [column.name for histogram in histograms for column in histogram.read_off]
    trees = {histogram.measure: histogram.tree.size for histogram in histograms}
    measures = [name for name in contributions[0].noises if name not in trees]
    numbers = len(measures) + sum(histogram.work for histogram in histograms)
    draws = draws or draws_per_cell(max(cells, rows), sum(len(part.cells) for part in contributions) * numbers)
    seeds = {name: seed + number * len(contributions) for number, name in enumerate([*measures, *trees])}
    noises = {
        name: _summed(
            name, contributions, (cells, draws, *([trees[name]] if name in trees else [])), roll_up, seeds=seeds
        )
        for name in seeds
    }
    for measure in measures:  # a histogram's many independent numbers need no matching
        variances = cell_deviations(measure, contributions, cells, roll_up=roll_up) ** 2
        noises[measure] = _matched(noises[measure], variances)
    keys = merged.drop_columns([*measures, *asked])
    size = max(1, SIMULATED_ROWS // draws)
    for start in range(0, rows, size):
        part = slice(start, min(start + size, rows))
        table = keys.take(pa.array(np.repeat(np.arange(part.start, part.stop), draws)))
        for measure in measures:
            values = merged.column(measure).to_numpy()[part].astype(np.float64)[:, np.newaxis]
            table = table.append_column(measure, pa.array((values + noises[measure][part]).ravel()))
        for histogram in histograms:
            for name, column in histogram.simulated_columns(noises[histogram.measure][part], part).items():
                table = table.append_column(name, column)
        yield table, draws


def _summed(
    measure: str,
    contributions: Sequence[Contribution],
    shape: tuple[int, ...],
    roll_up: RollUp | None,
    *,
    seeds: Mapping[str, int],
) -> NDArray[np.float64]:
    """The sum of the nodes' noise: rows × draws × …, from `shape` = cells × draws × …."""
    noise = np.zeros(shape)
    for numbers in _alike(contributions):
        part, own = contributions[numbers[0]], {name: start + numbers[0] for name, start in seeds.items()}
        noise[part.cells] += part.draws(measure, shape[1:], seeds=own, nodes=len(numbers))
    return noise if roll_up is None else roll_up.sums(noise)


def _alike(contributions: Sequence[Contribution]) -> list[list[int]]:
    """The numbers of nodes that have the same noise in the same cells: the sum of theirs is drawn at once."""
    found: dict[object, list[int]] = {}
    for number, part in enumerate(contributions):
        same = number if part.chains else (id(part.cells), tuple(part.noises.items()), tuple(part.pairs.items()))
        found.setdefault(same, []).append(number)
    return list(found.values())


def _matched(noise: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """`noise` shifted and stretched to mean 0 and `variance` in each cell (moment matching), but for whole steps.

    Then what is nearly linear has nearly its analytic standard error however few draws there are. Small noise stays in
    the whole steps that it comes in: an interval that ends between two of them would cover too little.
    """
    fine = variance >= WHOLE
    noise -= np.where(fine, noise.mean(axis=1), 0.0)[:, np.newaxis]
    spread = noise.var(axis=1, ddof=1)
    stretch = np.sqrt(np.divide(variance, spread, out=np.ones_like(variance), where=fine & (spread > 0)))
    noise *= stretch[:, np.newaxis]
    return noise
