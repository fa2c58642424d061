"""One block → its fragments: one for each province that has rows to contribute."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sqlglot import exp

from privacy.accounting import zcdp_epsilon, zcdp_rho
from privacy.calibration import WITHIN, Spendable, calibrate, difficulty, important, predicted_error
from privacy.catalog import Catalog
from privacy.domains import Cells, Domains
from privacy.errors import DomainRefused
from privacy.fragment import Block, Bounding, Fragment, Key, Measure, Mechanism
from privacy.grouping import MAX_ROWS
from privacy.levels import Groups, at_levels, choose_levels, groups_of
from privacy.measures import MOST_LEAVES, RawMeasure
from privacy.noise import variance
from privacy.open_keys import check_open, count_units, most_groups, open_cells
from privacy.relation_texts import RelationTexts
from privacy.request import Options, Request
from privacy.rows.source import is_province
from privacy.split import KeyColumn, Split, split
from privacy.stability import choose_bounding
from privacy.thresholds import DECIDES, choose_threshold

_COARSER = (100, 12)  # leaves of a histogram where finer ones make too many cells


@dataclass(frozen=True)
class Below:
    """What one node runs, whatever the budget is.

    Attributes:
        cells: its groups.
        relation: as in `Fragment`.
    """

    cells: Cells
    bounding: Bounding
    relation: str


@dataclass(frozen=True)
class Fitted:
    """A block on both sides of the privacy line, whose groups fit into a release.

    Attributes:
        below: by province that WHERE does not exclude.
        levels: by digest of cells, the groups of the grouping sets (see `levels.groups_of`); without such sets, where a
            threshold decides on groups, and for histograms empty: then only the cells are released.
    """

    cut: Split
    below: dict[str, Below]
    levels: dict[str, tuple[Groups, ...]]

    def measures(
        self, cells_digest: str, bounding: Bounding, mechanism: Mechanism
    ) -> tuple[tuple[RawMeasure, ...], dict[str, float]]:
        """What a node releases, at all levels, and how much each of it matters."""
        raws, importance = self.cut.measures, _importance(self.cut, mechanism)
        if not self.levels:
            return raws, importance
        loads = choose_levels(self.levels[cells_digest], bounding, mechanism)
        of_row = {raw.name: important(raw.name, importance) for raw in raws}
        return at_levels(raws, of_row, loads, self.cut.keys)


def _fitted(cut: Split, cells: dict[str, Cells]) -> Fitted:
    relations = RelationTexts(cut)
    below: dict[str, Below] = {}
    for province, own in cells.items():
        twin = None if cut.located else next(iter(below.values()), None)
        below[province] = twin or _below(relations, own, province)
    sets, trees = cut.grouping_sets, any(measure.tree is not None for measure in cut.measures)
    if not sets or not cut.keys or cut.decides or trees:
        return Fitted(cut, below, {})
    distinct = {found.digest: found.table for found in cells.values()}
    return Fitted(cut, below, {digest: groups_of(table, sets) for digest, table in distinct.items()})


def _below(relations: RelationTexts, cells: Cells, province: str) -> Below:
    cut = relations.cut
    bounding = choose_bounding(cut.relation, cut.keys, cells=cells.count if cells.listed else None)
    return Below(cells, bounding, relations.sql(province, bounding))


@dataclass(frozen=True)
class Shape:
    """A block before it has a budget: the same for every ε.

    Attributes:
        derived: the same where sums are computed from means, if some can be.
    """

    fitted: Fitted
    derived: Fitted | None

    def difficulty(self, mechanism: Mechanism) -> float:
        """What share of a budget the block needs beside others, so that the predicted errors together are least.

        That is of a row of the finest groups, whatever other levels there are: rows of all blocks count alike.
        """
        cut, below = self.fitted.cut, next(iter(self.fitted.below.values()))
        return difficulty(cut.measures, below.bounding, _importance(cut, mechanism), mechanism, alone=cut.decides)

    @property
    def cells_bytes(self) -> int:
        """What the groups take of memory."""
        sides = [fitted for fitted in (self.fitted, self.derived) if fitted is not None]
        tables = {below.cells.digest: below.cells.table for fitted in sides for below in fitted.below.values()}
        return sum(table.nbytes for table in tables.values())


@dataclass(frozen=True)
class PlannedBlock:
    """A block with its budget, the split that it is of, and what a reader of its answer must know.

    Attributes:
        error: predicted, as in privacy/calibration.py, summed over nodes.
    """

    block: Block
    cut: Split
    notes: tuple[str, ...]
    error: float


class BlockPlanner:
    """Plans blocks against one catalog. Thread-safe."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._domains = Domains(catalog)

    def shape(self, bound: exp.Select, names: tuple[str, ...], options: Options, *, delta: float) -> Shape:
        """The split and its cells.

        Raises:
            QueryRefused: with the construct, its position and what to write instead.
        """
        fitted = self._fitting(bound, names, options, delta)
        if not fitted.below:
            raise DomainRefused(
                "WHERE is never true: the catalog has no such value, so every answer would be empty",
                remedy="Compare with values of the column's domain: see `weir catalog`.",
            )
        derivable = fitted.cut.derivable
        derived = self._fitting(bound, names, options, delta, derivable) if derivable else None
        return Shape(fitted, derived)

    def _fitting(
        self,
        bound: exp.Select,
        names: tuple[str, ...],
        options: Options,
        delta: float,
        from_means: frozenset[str] = frozenset(),
    ) -> Fitted:
        """With the finest histograms that a release has room for."""
        cuts: list[Split] = []
        for most_leaves in (MOST_LEAVES, *_COARSER):
            cut = split(
                bound,
                names,
                self._catalog,
                options,
                self._domains,
                most_leaves=most_leaves,
                from_means=from_means,
            )
            cuts.append(cut)
            last = not any(map(_can_be_coarser, cut.measures)) or most_leaves == _COARSER[-1]
            try:
                cells = self._cells(cut, [key.reading.sql for key in cut.keys])
            except DomainRefused as refusal:
                if last:  # the second cut's histograms leave room for some hundred groups
                    return _fitted(*self._open(cuts[:2][-1], delta, refusal))
                continue
            many = _too_many_rows(cut, cells)
            if many is None:
                return _fitted(cut, cells)
            if last:
                raise many
        raise AssertionError("the loop returns or raises")

    def _open(self, cut: Split, delta: float, refusal: DomainRefused) -> tuple[Split, dict[str, Cells]]:
        """The same where a threshold is to decide which cells there are, because nobody can list them."""
        check_open(cut, delta=delta, refusal=refusal)
        cells = open_cells([key.reading.facts.type for key in cut.keys])
        return count_units(cut), dict.fromkeys(self._cells(cut, []), cells)

    def _cells(self, cut: Split, keys: list[exp.Expr]) -> dict[str, Cells]:
        """By province that WHERE does not exclude."""
        found: dict[str, Cells] = {}
        cells = None
        for number, province in enumerate(self._catalog.region.provinces):
            if cut.located or not number:  # else all provinces have the same
                cells = self._domains.cells(cut.relation, keys, province, measures=_numbers_per_cell(cut))
            if cells is not None:
                found[province] = cells
        return found


def plan_block(shape: Shape, name: str, request: Request, *, rho: float | None = None) -> PlannedBlock:
    """The block called `name`, with the (ε, δ) of `request` for itself.

    Args:
        rho: what it may spend instead, of the ρ of several blocks: then its noise is Gaussian.
    """
    cut = shape.fitted.cut
    span = min(cut.relation.owned.span, len(shape.fitted.below))
    # ε, ρ and δ all add up over the nodes that hold one unit.
    whole = zcdp_rho(request.epsilon, _noise_delta(cut, request)) if rho is None else rho
    spendable = Spendable(request.epsilon / span, whole / span)
    best = _best if rho is None else _gaussian
    fragments = best(shape.fitted, request, spendable)
    error = _error(fragments, shape.fitted)
    if shape.derived is not None:
        other = best(shape.derived, request, spendable)
        other_error = _error(other, shape.derived)
        if other_error < error:
            cut, fragments, error = shape.derived.cut, other, other_error
    if cut.decides:
        fragments = _with_thresholds(fragments, cut, request, span)
    charges = [fragment.charge for fragment in fragments.values()]
    delta = request.delta if any(charge.rho or charge.delta for charge in charges) else 0.0
    per_node = max(fragment.epsilon for fragment in fragments.values())
    block = Block(name, fragments, cut.read_off, cut.grouping_sets, request.epsilon, delta, per_node, span)
    return PlannedBlock(block, cut, _notes(cut, fragments), error)


def _can_be_coarser(measure: RawMeasure) -> bool:
    return measure.tree is not None and not measure.tree.flat


def _numbers_per_cell(cut: Split) -> int:
    return sum(measure.width for measure in cut.measures)


def _too_many_rows(cut: Split, cells: dict[str, Cells]) -> DomainRefused | None:
    """Every grouping set has at most as many groups as there are cells in the region."""
    distinct = {found.digest: found.count for found in cells.values()}
    sets, groups = len(cut.grouping_sets), sum(distinct.values())
    numbers = max(measure.width for measure in cut.measures)
    if sets * groups * numbers <= MAX_ROWS:
        return None
    histograms = f", with histograms of {numbers} numbers," if numbers > 1 else ""
    return DomainRefused(
        f"{sets} grouping sets of {groups:,} groups{histograms} are more than {MAX_ROWS:,} rows",
        remedy="Name fewer: GROUPING SETS ((a, b), (a), ()); or group by coarser keys.",
    )


def _best(fitted: Fitted, request: Request, spendable: Spendable) -> dict[str, Fragment]:
    """The fragments with the mechanism that is predicted to err less; Laplace, which needs no δ, where they tie."""
    best = _fragments(fitted, spendable)
    if spendable.rho > 0:
        other = _with_gaussian_noise(best, fitted, request, spendable)
        if _error(other, fitted) < _error(best, fitted):
            return other
    return best


def _gaussian(fitted: Fitted, request: Request, spendable: Spendable) -> dict[str, Fragment]:
    return _with_gaussian_noise(_fragments(fitted, spendable), fitted, request, spendable)


def _error(fragments: dict[str, Fragment], fitted: Fitted) -> float:
    errors = []
    for fragment in fragments.values():
        mechanism: Mechanism = "gaussian" if fragment.charge.rho else "laplace"
        _, importance = fitted.measures(fragment.cells_digest, fragment.bounding, mechanism)
        errors.append(predicted_error(fragment.measures, importance))
    return sum(errors)


def _importance(cut: Split, mechanism: Mechanism) -> dict[str, float]:
    """How much each measure matters; that of the count that decides also says which groups are shown at all."""
    if not cut.decides:
        return cut.importance
    return cut.importance | {cut.decides: cut.importance.get(cut.decides, 0.0) + DECIDES[mechanism]}


def _noise_delta(cut: Split, request: Request) -> float:
    """The δ that Gaussian noise may spend: half of it where a threshold needs some too."""
    return request.delta / 2 if cut.decides else request.delta


def _fragments(fitted: Fitted, spendable: Spendable) -> dict[str, Fragment]:
    """With Laplace noise."""
    found: dict[str, Fragment] = {}
    made: dict[int, Fragment] = {}  # where nodes run the same
    for province, below in fitted.below.items():
        if id(below) not in made:
            made[id(below)] = _fragment(fitted, province, spendable)
        found[province] = replace(made[id(below)], province=province)
    return found


def _with_gaussian_noise(
    fragments: dict[str, Fragment], fitted: Fitted, request: Request, spendable: Spendable
) -> dict[str, Fragment]:
    """The same fragments, calibrated for the other mechanism."""
    epsilon = zcdp_epsilon(spendable.rho, _noise_delta(fitted.cut, request))
    found: dict[str, Fragment] = {}
    measures: dict[tuple[str, Bounding], tuple[Measure, ...]] = {}
    for province, fragment in fragments.items():
        alike = fragment.cells_digest, fragment.bounding
        if alike not in measures:
            raws, importance = fitted.measures(*alike, "gaussian")
            measures[alike] = calibrate(raws, fragment.bounding, importance, spendable, "gaussian")
        found[province] = replace(fragment, measures=measures[alike], epsilon=epsilon)
    return found


def _with_thresholds(fragments: dict[str, Fragment], cut: Split, request: Request, span: int) -> dict[str, Fragment]:
    """The same fragments, each with the threshold that decides on its groups."""
    most = most_groups([key.reading.facts.type for key in cut.keys], numbers=_numbers_per_cell(cut))
    if cut.grouping_sets:  # every set may have every group of every province
        most = max(1, min(most, MAX_ROWS // (len(cut.grouping_sets) * _numbers_per_cell(cut) * len(fragments))))
    found: dict[str, Fragment] = {}
    for province, fragment in fragments.items():
        decides = next(measure for measure in fragment.measures if measure.name == cut.decides)
        left = request.delta - _noise_delta(cut, request) if decides.rho else request.delta
        delta = left / span * WITHIN
        threshold = choose_threshold(decides, fragment.bounding, delta=delta, most_groups=most)
        found[province] = replace(fragment, threshold=threshold)
    return found


def _fragment(fitted: Fitted, province: str, spendable: Spendable) -> Fragment:
    cut, below = fitted.cut, fitted.below[province]
    raws, importance = fitted.measures(below.cells.digest, below.bounding, "laplace")
    return Fragment(
        province=province,
        tables=cut.relation.tables,
        unit=cut.relation.owned.unit,
        relation=below.relation,
        keys=tuple(Key(key.name, key.reading.facts.type, key.label) for key in cut.keys),
        measures=calibrate(raws, below.bounding, importance, spendable, "laplace", alone=cut.decides),
        bounding=below.bounding,
        epsilon=spendable.epsilon,
        cell_count=below.cells.count,
        cells_digest=below.cells.digest,
        cells=below.cells.table,
    )


def _is_by_province(key: KeyColumn) -> bool:
    return is_province(key.reading.sql)


def _notes_on_distinct(cut: Split, fragments: dict[str, Fragment]) -> list[str]:
    """Which values COUNT(DISTINCT x) is likely to miss, in the finest groups."""
    notes = []
    for column in cut.read_off:
        if column.asked == "distinct":
            measures = [one for part in fragments.values() for one in part.measures if one.name == column.measure]
            spread = 2 * math.sqrt(sum(variance(measure.mechanism, measure.scale) for measure in measures))
            if spread > 1:
                notes.append(
                    f"COUNT(DISTINCT …) may miss values with fewer than some {spread:,.0f} rows: where there are many, "
                    "it errs downwards."
                )
    return notes


def _notes(cut: Split, fragments: dict[str, Fragment]) -> tuple[str, ...]:
    """What bounding may have cut, which no error bar shows."""
    unit = cut.relation.owned.unit
    forms = {fragment.bounding for fragment in fragments.values()}
    limits = next(iter(forms))
    notes = []
    if limits.form != "none":
        rows = "1 row counts" if limits.max_rows == 1 else f"{limits.max_rows} rows count"
        notes.append(f"Of one {unit}, at most {rows} in a group of one province.")
    if any(form.form == "clip_and_limit" for form in forms):
        most = max(form.max_groups for form in forms)
        finest = " of all keys together" if cut.grouping_sets else ""
        notes.append(f"One {unit} counts in at most {most} group{'s' if most > 1 else ''}{finest} of one province.")
    if cut.grouping_sets:
        notes.append("Every level is a sum of the groups of all keys together, so that all levels agree.")
    notes += [
        f"{measure.label} is read off bins of width {measure.tree.width:g}."
        for measure in cut.measures
        if measure.tree is not None and not measure.tree.flat
    ]
    notes += _notes_on_distinct(cut, fragments)
    several = len(fragments) > 1 and cut.relation.owned.span > 1 and not any(map(_is_by_province, cut.keys))
    if several and any(measure.kind == "units" and measure.name != cut.decides for measure in cut.measures):
        notes.append(f"Distinct {unit}s are counted once in each province that holds them, and these counts are added.")
    above = [fragment.threshold.above for fragment in fragments.values() if fragment.threshold is not None]
    if above:
        notes.append(
            f"Groups that too few {unit}s share are left out: a province shows those with more than {max(above):,} "
            f"{unit}s, counted with noise. A province that leaves a group out adds nothing to it."
        )
    return tuple(notes)
