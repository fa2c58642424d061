"""Measures that are released at several levels → one consistent estimate of the finest groups.

The levels form a chain: each group of a level lies within one group of the next coarser level. Every level has noise of
its own, so a coarse group is known twice: from its own release, and from its parts. Least squares over the known
variances combines them, and every level becomes the sum of the finest estimates.

Source: Hay, Rastogi, Miklau and Suciu 2010, "Boosting the accuracy of differentially private histograms through
consistency", §4: one pass up, one down; here for levels of unequal variance and groups of unequal size, with weights by
inverse variance.

Estimates are rounded to whole steps from the coarsest level down, such that the parts of a group add up to it. So every
level shows its own estimate, rounded, and is the sum of the finest to the last step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from privacy.codes import group_of_cells
from privacy.noise import WHOLE, simulated_noise, variance
from privacy.roll_up import added

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from privacy.fragment import Fragment, Measure, Mechanism

_ROUNDING = 1 / 6  # variance of the difference of two roundings
_LEAST_VARIANCE = 1e-30  # of noise that vanishes: then all levels agree, and weights do not matter


@dataclass(frozen=True, eq=False)
class Chain:
    """The levels of one measure at one node.

    Attributes:
        names: of the measure at each level, the finest first.
        parents: by level but the coarsest, for each group the group of the next level that it lies in.
        noises: by level, the mechanism and the scale of its noise, in steps.
    """

    names: tuple[str, ...]
    parents: tuple[NDArray[np.int64], ...]
    noises: tuple[tuple[Mechanism, float], ...]

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """By level, how many groups."""
        return *map(len, self.parents), int(self.parents[-1].max()) + 1

    @cached_property
    def places(self) -> tuple[NDArray[np.int64], ...]:
        """By coarser level, for each finest group the group that it lies in."""
        found = [self.parents[0]]
        for parent in self.parents[1:]:
            found.append(parent[found[-1]])
        return tuple(found)

    @cached_property
    def _own(self) -> tuple[float, ...]:
        """Variance of each level's noise."""
        return tuple(max(variance(*noise), _LEAST_VARIANCE) for noise in self.noises)

    @cached_property
    def _upward(self) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
        """Variance of each group's estimate from its own level and those below; and, for each coarser level, of the sum
        of its parts' estimates."""
        known = [np.full(self.sizes[0], self._own[0])]
        parts = []
        for parent, own, size in zip(self.parents, self._own[1:], self.sizes[1:], strict=True):
            parts.append(added(known[-1], parent, size))
            known.append(parts[-1] * own / (parts[-1] + own))
        return known, parts

    @cached_property
    def _members(self) -> tuple[NDArray[np.int64], ...]:
        """By coarser level, the groups of the level before that lie in each group."""
        return tuple(map(np.bincount, self.parents))

    def offsets(self, levels: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        """By coarser level, its values (groups × draws) less the sums of the finest ones."""
        sums, found = levels[0], []
        for parent, level in zip(self.parents, levels[1:], strict=True):
            sums = added(sums, parent, len(level))
            found.append(level - sums)
        return found

    def corrections(self, offsets: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        """What least squares adds to the finest groups, and to their sums at each coarser level.

        Args:
            offsets: of what was released.
        """
        known, parts = self._upward
        raised, sums = [np.zeros((self.sizes[0], 1))], []
        for parent, own, part, offset in zip(self.parents, self._own[1:], parts, offsets, strict=True):
            total = added(raised[-1], parent, len(offset))
            weight = (part / (part + own))[:, np.newaxis]
            sums.append(total)
            raised.append(total + weight * (offset - total))
        found = [raised.pop()]
        for level in reversed(range(len(self.parents))):
            parent = self.parents[level]
            share = (known[level] / parts[level][parent])[:, np.newaxis]
            found.insert(0, raised[level] + share * (found[0] - sums[level])[parent])
        return found

    def combined(self, released: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """The finest groups' estimates in whole steps.

        Args:
            released: by level, the released values, those of a coarser level repeated in each of its cells.
        """
        once = [
            _once(values, place, size)
            for values, place, size in zip(released[1:], self.places, self.sizes[1:], strict=True)
        ]
        levels = [values.astype(np.float64)[:, np.newaxis] for values in (released[0], *once)]
        return _saturated(released[0], self._whole(self.corrections(self.offsets(levels)))[:, 0])

    def _whole(self, corrections: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """What is added to the finest groups, in whole steps: at every level its sum is the correction, rounded."""
        whole = np.rint(corrections[-1])
        for level in reversed(range(len(self.parents))):
            parent = self.parents[level]
            cut = (whole - corrections[level + 1]) / self._members[level][:, np.newaxis]
            whole = _rounded(corrections[level] + cut[parent], parent)
        return whole

    def simulated(self, draws: int, *, seed: int, opposite: bool = False) -> NDArray[np.float64]:
        """Noise of the finest groups' estimates (groups × draws); small noise in whole steps, as it is.

        Args:
            opposite: as in `noise.simulated_noise`; a pair is a pair at every level.
        """
        noises = [
            simulated_noise(*noise, (size, draws), seed=seed + (level << 64), opposite=opposite)
            for level, (noise, size) in enumerate(zip(self.noises, self.sizes, strict=True))
        ]
        corrections = self.corrections(self.offsets(noises))
        small = min(self._own) < WHOLE
        return noises[0] + (self._whole(corrections) if small else corrections[0])

    def variances_of_sums(self, rows: NDArray[np.int64], size: int) -> NDArray[np.float64]:
        """Variance of the sums of the finest groups' estimates that fall in each of `size` rows.

        On the way down each group's estimate is a part of its own, uncorrelated with everything above, and a share of
        its parent's. So Var(Σ w x) is Σ w² b − (Σ w b)² / S within each family, with b the variance on the way up and S
        its sum, plus the variance of the parents' estimates, weighted by Σ w b / S. Rounding to whole steps adds its
        own, of which the sum over a family is free too.

        Args:
            rows: of each finest group.
        """
        known, parts = self._upward
        total, node, weight = np.zeros(size), np.arange(self.sizes[0]), np.ones(self.sizes[0])
        for level, parent in enumerate(self.parents):
            weighed = weight * known[level][node]
            rounding = min(_ROUNDING, self._own[level])
            total += added(weight * weighed + rounding * weight**2, rows, size)
            codes, family = np.unique(rows * self.sizes[level + 1] + parent[node], return_inverse=True)
            rows, node = np.divmod(codes, self.sizes[level + 1])
            shared, weights = (added(values, family, len(codes)) for values in (weighed, weight))
            shared_rounding = rounding * weights**2 / self._members[level][node]
            total -= added(shared**2 / parts[level][node] + shared_rounding, rows, size)
            weight = shared / parts[level][node]
        total += added(weight**2 * (known[-1][node] + min(_ROUNDING / 2, self._own[-1])), rows, size)
        return total


def chains_of(fragments: Sequence[Fragment]) -> list[dict[str, Chain]]:
    """For each fragment, by measure, the levels at which it is released, where those are several."""
    known: dict[tuple[object, ...], dict[str, Chain]] = {}  # many nodes are asked for the same
    for fragment in fragments:
        alike = fragment.cells_digest, fragment.measures
        if alike not in known:
            chains = {measure.name: _chain(fragment, measure) for measure in fragment.finest}
            known[alike] = {name: chain for name, chain in chains.items() if chain is not None}
    return [known[fragment.cells_digest, fragment.measures] for fragment in fragments]


def _chain(fragment: Fragment, measure: Measure) -> Chain | None:
    coarser = [(part, part.level) for part in fragment.measures if part.level and part.level.of == measure.name]
    if not coarser:
        return None
    groups = [np.arange(fragment.cell_count), *(group_of_cells(fragment, level) for _, level in coarser)]
    parts = [measure, *(part for part, _ in coarser)]
    noises = tuple((part.mechanism, part.scale) for part in parts)
    return Chain(tuple(part.name for part in parts), _parents(groups), noises)


def _parents(groups: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], ...]:
    """`Chain.parents`, from the group of each cell at each level."""
    found = []
    for finer, coarser in pairwise(groups):
        parent = np.zeros(finer.max() + 1, dtype=np.int64)
        parent[finer] = coarser
        found.append(parent)
    return tuple(found)


def _once(values: NDArray[np.int64], place: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """The number of each group, from those that its cells repeat."""
    found = np.empty(size, dtype=np.int64)
    found[place] = values
    return found


def _rounded(exact: NDArray[np.float64], parent: NDArray[np.int64]) -> NDArray[np.float64]:
    """`exact` (groups × draws), whole by parent when added up, as whole numbers that add up to the same.

    Running sums are rounded, and what comes out are their differences: no group is off by as much as one step, and up
    and down are equally likely for each.
    """
    order = np.argsort(parent, kind="stable")
    down = np.floor(exact)
    down[order] += np.diff(np.rint(np.cumsum((exact - down)[order], axis=0)), axis=0, prepend=0)
    return down


def _saturated(values: NDArray[np.int64], corrections: NDArray[np.float64]) -> NDArray[np.int64]:
    """`values` + `corrections`, at the end of the range where that leaves an int64."""
    most = np.iinfo(np.int64).max // 2
    added_up = np.clip(values, -most, most) + np.clip(corrections, -most, most).astype(np.int64)
    return np.where(corrections == 0, values, added_up)
