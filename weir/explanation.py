"""What a query would run, cost and err, before anything is spent."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from weir.budget import Budget, Missing

if TYPE_CHECKING:
    from rich.console import RenderableType


MeasureKind = Literal["count", "sum", "average", "histogram"]


@dataclass(frozen=True)
class MeasurePlan:
    """One noisy number of each cell.

    Attributes:
        label: what it is in the researcher's words, for example `SUM(visits.cost)`.
        kind: an `average` is released as a sum of distances from the middle of the bounds, beside its count; a
            `histogram` as a list of counts, whose error is that of one count.
        mechanism: of its noise: `Laplace`, `Laplace pair` (of a count and a sum together) or `Gaussian`.
        epsilon, rho: its share of what the node spends: ε with Laplace noise, ρ (zCDP) with Gaussian.
        scale: of the noise, in the measure's own unit.
        standard_error: predicted, in the measure's own unit; of an average, at most, and times the rows behind it.
    """

    label: str
    kind: MeasureKind
    mechanism: str
    epsilon: float
    rho: float
    scale: float
    standard_error: float


@dataclass(frozen=True)
class ThresholdPlan:
    """Which groups one node shows where nobody can list them beforehand.

    Attributes:
        above: a group is shown if its distinct units, counted with noise, are more than this.
        least: a group of fewer units is not looked at.
        delta: what the threshold costs: the chance that a group is shown that one unit alone makes large enough.
        most_groups: of more groups, those with most units, by the noisy count, are shown.
    """

    above: int
    least: int
    delta: float
    most_groups: int


@dataclass(frozen=True)
class NodePlan:
    """What one node would do for one block: one aggregation of the query.

    Attributes:
        block: the table that its releases are merged into, as `Explanation.rest_sql` names it.
        bounding: `none`, `clip` or `clip_and_limit`, and why in `bounding_reason`.
        cells: how many groups are answered, empty ones too; 0 where `threshold` decides which.
        cells_digest: equal where two nodes answer the same groups.
        relation: SQL of the rows that are aggregated, over the tables of the standard.
        engine_sql: SQL that the node's engine would run.
        already_released: the node has this release in its ledger; asking again costs nothing.
    """

    block: str
    province: str
    tables: tuple[str, ...]
    unit: str
    keys: tuple[str, ...]
    measures: tuple[MeasurePlan, ...]
    bounding: str
    bounding_reason: str
    max_rows: int
    max_groups: int
    cells: int
    cells_digest: str
    epsilon: float
    relation: str
    engine: str
    engine_sql: str
    already_released: bool
    budget: Budget
    threshold: ThresholdPlan | None = None


@dataclass(frozen=True, repr=False)
class Explanation:
    """The plan of a query, free of charge.

    >>> print(con.explain("SELECT year, AVG(visits) FROM panel GROUP BY year", epsilon=0.5))

    Attributes:
        epsilon, delta: what the query would cost the region; δ is 0 without Gaussian noise and thresholds.
        epsilon_per_node: what it would cost each node by itself.
        span: how many nodes may hold one person's records.
        nodes: the plans of the nodes that answered.
        rest_sql: what the coordinator computes from the merged noisy numbers; costs nothing.
        missing: provinces that did not answer.
    """

    sql: str
    epsilon: float
    delta: float
    epsilon_per_node: float
    span: int
    nodes: tuple[NodePlan, ...]
    rest_sql: str
    notes: tuple[str, ...]
    missing: tuple[Missing, ...]

    @property
    def merged_standard_errors(self) -> dict[str, float] | None:
        """Predicted standard error of each measure over all nodes, by `title`, of a group that all of them answer.

        None where nodes answer different groups (`GROUP BY province`): each cell then has its own node's error.
        """
        if not self.nodes or len({(node.block, node.cells_digest) for node in self.nodes}) > len(self.blocks):
            return None
        variances: dict[str, float] = {}
        for node in self.nodes:
            for measure in node.measures:
                title = self.title(node, measure)
                variances[title] = variances.get(title, 0.0) + measure.standard_error**2
        return {title: math.sqrt(variance) for title, variance in variances.items()}

    @property
    def blocks(self) -> tuple[str, ...]:
        """The aggregations of the query, by the tables of `rest_sql`."""
        return tuple(dict.fromkeys(node.block for node in self.nodes))

    def title(self, node: NodePlan, measure: MeasurePlan) -> str:
        """What a measure is called: its label, and where there are several blocks the block."""
        return measure.label if len(self.blocks) == 1 else f"{node.block}: {measure.label}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **asdict(self),
            "merged_standard_errors": self.merged_standard_errors,
        }

    def __rich__(self) -> RenderableType:
        from weir.explanation_view import explanation_text

        return explanation_text(self)

    def __repr__(self) -> str:
        from weir.display import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from weir.explanation_view import explanation_html

        return explanation_html(self)
