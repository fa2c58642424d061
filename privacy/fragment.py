"""A fragment: what one node is asked to release, typed and complete.

Coordinator and node derive it from the same request by the same code (design.md §4), so equality is the check.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from privacy.accounting import Charge
from privacy.linear import Form
from privacy.trees import Rank, Tree

Kind = Literal["count", "sum", "tree", "units"]
# What is read off a histogram: the value at a rank, how many bins hold rows, what stands for the largest
# bin, or a MAP of what stands for each to its count.
Asked = Rank | Literal["distinct", "mode", "counts"]
# Discrete Laplace (pure ε-DP); the same for a count and a centred sum of its rows at once (privacy/pairs.py); discrete
# Gaussian (zCDP).
Mechanism = Literal["laplace", "laplace_pair", "gaussian"]

MAX_CELLS = (
    100_000  # numbers (groups × what each has of all measures) of one release: their noise takes a second or two
)


@dataclass(frozen=True)
class Key:
    """A group key: column `name` of the relation, of DuckDB type `type`, standing for `label` in the query."""

    name: str
    type: str
    label: str


@dataclass(frozen=True)
class Level:
    """Where a measure is released once more, for fewer and larger groups (privacy/levels.py).

    Attributes:
        of: the measure of the cells that is added up.
        keys: names of the keys that the groups of this level have, a part of the fragment's.
        most_cells: cells in the largest of its groups.
    """

    of: str
    keys: tuple[str, ...]
    most_cells: int


@dataclass(frozen=True)
class Measure:
    """A sum of integers over the rows of a group.

    Attributes:
        name: the column of the release, `m0`, `m1` …
        label: what it is in the researcher's words, for example `SUM(visits.cost)`.
        input: the column of the relation that is counted (`count`), summed (`sum`) or a bin's number (`tree`); None
            counts rows, or the distinct units of a group (`units`).
        tree: of a `tree`, the bins that are counted and the levels above them; its release is one list a cell.
        low, high: least and greatest value of one row, in steps of `grid` after `centre` is taken off.
        weight: the `count` measure of the same rows that scales a unit with too many rows down; None clips instead.
        grid: value of one step.
        centre: steps that were taken off each row, to be added back as `centre × weight`.
        total: the label of a sum that is computed so; empty where there is none. Where `label` is empty there is no
            mean, only that sum.
        mechanism: of its noise.
        sensitivity, sensitivity_l2: L1 and L2, in steps: the most by which one unit changes the whole vector at this
            node.
        epsilon: this measure's share of the fragment's ε, if its noise is Laplace; else 0.
        rho: this measure's share of the fragment's ρ, if its noise is Gaussian; else 0.
        scale: of the noise, in steps: `sensitivity / epsilon`, or `sensitivity_l2 / √(2 rho)`; of a pair's
            noise, that of each of the two Laplace draws that it is the sum of, with the ε of both measures.
        level: None where the groups are the cells themselves; else the column of the release repeats each group's
            number in all its cells.
    """

    name: str
    label: str
    kind: Kind
    input: str | None
    low: int
    high: int
    weight: str | None
    grid: float
    centre: int
    tree: Tree | None
    mechanism: Mechanism
    sensitivity: int
    sensitivity_l2: float
    epsilon: float
    rho: float
    scale: float
    total: str = ""
    level: Level | None = None

    @property
    def width(self) -> int:
        """How many integers a cell has of it."""
        return self.tree.size if self.tree is not None else 1


@dataclass(frozen=True)
class Bounding:
    """How one unit's contribution is limited; the forms are described in privacy/bounding.py.

    Attributes:
        form: `none` (one row per unit), `clip` (rows per group), `clip_and_limit` (and the number of groups).
        max_rows: rows of one unit that count in one group.
        max_groups: groups that one unit may touch at this node.
        reason: why this form is enough, for `explain`.
    """

    form: Literal["none", "clip", "clip_and_limit"]
    max_rows: int
    max_groups: int
    reason: str


@dataclass(frozen=True)
class Threshold:
    """Which groups are released where no public list of them exists; why it is sound: privacy/thresholds.py.

    Attributes:
        measure: the one that counts distinct units: a group is released only if its noisy value is above `above`.
        above: the threshold; strictly more is needed.
        least: a group of fewer units is not looked at.
        delta: at this node, the most by which the chance of any outcome may exceed what ε allows.
        most_groups: of more groups than this, those with the greatest noisy counts are released.
    """

    measure: str
    above: int
    least: int
    delta: float
    most_groups: int


@dataclass(frozen=True)
class Fragment:
    """One DP release at one node.

    Attributes:
        province: the node that it is for.
        tables: the private tables that are read; one unit owns all their rows.
        unit: what the unit is, for example `person`.
        relation: SQL (DuckDB dialect) of the rows: columns `u` (unit; absent for form `none`), keys `k0` …,
            integer measure inputs `x0` …, over the tables of the standard.
        cells: every group that is answered, one row each, columns as `keys`; a single row without keys. Public.
            No row where `threshold` decides, and then its schema is what the release has.
        cells_digest: SHA-256 that identifies `cells` in comparisons and on the wire.
        epsilon: the guarantee of this release by itself, at the request's δ where there is a threshold or the noise is
            Gaussian; where it shares one ρ with those of other blocks, its part of what they cost together.
        threshold: decides which groups are released; None where `cells` are all of them.
    """

    province: str
    tables: tuple[str, ...]
    unit: str
    relation: str
    keys: tuple[Key, ...]
    measures: tuple[Measure, ...]
    bounding: Bounding
    epsilon: float
    cell_count: int
    cells_digest: str
    cells: pa.Table = field(compare=False, repr=False)
    threshold: Threshold | None = None

    @property
    def finest(self) -> tuple[Measure, ...]:
        """The measures of the cells themselves."""
        return tuple(measure for measure in self.measures if measure.level is None)

    @property
    def charge(self) -> Charge:
        """What releasing it costs at this node: the sum of the measures' shares, and the threshold's δ."""
        return Charge(
            epsilon=math.fsum(measure.epsilon for measure in self.measures),
            rho=math.fsum(measure.rho for measure in self.measures),
            delta=self.threshold.delta if self.threshold is not None else 0.0,
        )


@dataclass(frozen=True)
class OutputColumn:
    """A column of the answer.

    Attributes:
        noisy: whether it is a number computed from noisy values, and so has an error bar.
        linear: by measure, what it is multiplied with, where the column is Σ coefficient × measure + a constant; None
            where it is something else.
    """

    name: str
    noisy: bool
    linear: Form | None = None


@dataclass(frozen=True)
class ReadOff:
    """A column of a block's table that is computed from a histogram: `name`, for example `q0`.

    Attributes:
        values: what stands for each bin, in their order; of quantiles, which lie between bins, nothing.
        boundaries: so many bins, the first, are in the MAP even if their count is 0.
    """

    name: str
    measure: str
    asked: Asked
    values: pa.Array = field(default_factory=lambda: pa.nulls(0), repr=False)
    boundaries: int = 0

    @property
    def type(self) -> pa.DataType:
        """Of the column."""
        if self.asked == "mode":
            return self.values.type
        if self.asked == "counts":
            return pa.map_(self.values.type, pa.int64())
        return pa.float64()


@dataclass(frozen=True)
class Rest:
    """The part above the privacy line: SQL (DuckDB dialect) over the tables of the blocks.

    A block's table has one row per cell: `cell` (its number), the keys `k0` …, the merged counts and sums `m0` …, what
    is read off histograms `q0` …. Where there are grouping sets it has one row per group of each set: keys that are
    rolled up are NULL, and `r0` … say with 1 that key `k0` … is rolled up. Its simulated table has the same columns,
    many draws of each cell, and the number of the draw in `draw`.

    Attributes:
        sql: gives the answer's rows in order, `cell` last.
        error_sql: over a simulated table: one row a draw, with the noisy columns of the answer that are not linear, in
            the order of `columns`; empty where there are none. Where it is `joint`, the same over all simulated tables
            at once: for each row of the answer, in order, one row a draw.
        columns: of the answer.
    """

    sql: str
    error_sql: str
    columns: tuple[OutputColumn, ...]
    joint: bool = False


MERGED = "merged"  # the table of the first block


@dataclass(frozen=True)
class Block:
    """One aggregation over private rows, whose releases are merged into one table.

    Attributes:
        name: of that table: `merged`, `merged2` …; `simulated_name` has many draws of each of its cells.
        fragments: by province; a province whose rows the WHERE clause excludes has none and is not asked.
        read_off: the columns of the table that come from trees.
        grouping_sets: for each, the places of its keys among the fragment's; empty where all keys are the only set.
        epsilon, delta: the regional guarantee; δ is 0 where all noise is Laplace and all groups are public. Of blocks
            that share one ρ (privacy/sharing.py), the part of the guarantee that they have together.
        epsilon_per_node: the same of one node by itself, at the same δ.
        span: how many nodes may hold one unit, at most the number of fragments; with Laplace noise each node
            spends epsilon / span, with Gaussian noise ρ / span.
    """

    name: str
    fragments: dict[str, Fragment]
    read_off: tuple[ReadOff, ...]
    grouping_sets: tuple[tuple[int, ...], ...]
    epsilon: float
    delta: float
    epsilon_per_node: float
    span: int

    @property
    def any_fragment(self) -> Fragment:
        """One of them: keys and measures are the same in all."""
        return next(iter(self.fragments.values()))

    @property
    def simulated_name(self) -> str:
        return self.name.replace(MERGED, "simulated")


@dataclass(frozen=True)
class Plan:
    """A whole query: blocks below the privacy line, the rest above it.

    Attributes:
        notes: what a reader of the answer must know, in a sentence each.
        explains: the request is an EXPLAIN: nothing of it may be released.
    """

    blocks: tuple[Block, ...]
    rest: Rest
    notes: tuple[str, ...]
    explains: bool = False

    @property
    def epsilon(self) -> float:
        """The regional guarantee: of the blocks together."""
        return math.fsum(block.epsilon for block in self.blocks)

    @property
    def delta(self) -> float:
        return math.fsum(block.delta for block in self.blocks)

    @property
    def epsilon_per_node(self) -> float:
        """The guarantee of one node by itself, at the same δ."""
        return math.fsum(block.epsilon_per_node for block in self.blocks)

    @property
    def span(self) -> int:
        """How many nodes may hold one unit."""
        return max((block.span for block in self.blocks), default=0)

    @property
    def asked(self) -> dict[str, dict[str, Fragment]]:
        """By province, by block."""
        found: dict[str, dict[str, Fragment]] = {}
        for block in self.blocks:
            for province, fragment in block.fragments.items():
                found.setdefault(province, {})[block.name] = fragment
        return found
