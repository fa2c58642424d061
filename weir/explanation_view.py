"""How an explanation looks: at a terminal and in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from weir.display import grid, missing_lines, note_lines
from weir.display_html import code, folded, missing_html, page, paragraph, table_html
from weir.number_format import epsilon_text, error_text, guarantee_text

if TYPE_CHECKING:
    from weir.explanation import Explanation, MeasurePlan, NodePlan, ThresholdPlan

_NODE_HEADER = ("province", "rows of", "groups", "bounding", "ε", "left now", "largest ε", "engine")
_NODE_RIGHT = {2, 4, 5, 6}
_FORMS = {"none": "none", "clip": "rows per group", "clip_and_limit": "rows per group, groups"}


def explanation_text(plan: Explanation) -> RenderableType:
    """Cost, each node's part, predicted errors, reasons, SQL."""
    parts: list[RenderableType] = [Text(_cost(plan), style="bold")]
    parts.append(_table(_NODE_HEADER, _NODE_RIGHT, _node_rows(plan), "What each province would do"))
    header, rows = _error_table(plan)
    parts.append(_table(header, set(range(1, len(header))), rows, _ERRORS_TITLE))
    parts += [Text(line) for line in (*_legend(plan), *_reasons(plan))]
    for title, sql in _sql(plan):
        parts += [Text(f"\n{title}", style="bold"), Padding(Text(sql), (0, 0, 0, 2), expand=False)]
    return Group(*parts, *missing_lines(plan.missing), *note_lines(plan.notes))


def explanation_html(plan: Explanation) -> str:
    """The same as small HTML, the SQL folded away."""
    header, rows = _error_table(plan)
    return page(
        paragraph(_cost(plan), grey=False),
        table_html(_NODE_HEADER, _node_rows(plan), right=_NODE_RIGHT),
        paragraph(_ERRORS_TITLE, grey=False),
        table_html(header, rows, right=range(1, len(header))),
        *map(paragraph, (*_legend(plan), *_reasons(plan))),
        *missing_html(plan.missing),
        *(paragraph(f"Note: {note}") for note in plan.notes),
        *(folded(title, code(sql)) for title, sql in _sql(plan)),
    )


_ERRORS_TITLE = "Predicted standard error of one cell"


def _table(header: tuple[str, ...], right: set[int], rows: list[list[str]], title: str) -> RenderableType:
    table = grid(*(f">{name}" if place in right else name for place, name in enumerate(header)), title=title)
    for row in rows:
        table.add_row(*row)
    return table


def _cost(plan: Explanation) -> str:
    free = bool(plan.nodes) and all(node.already_released for node in plan.nodes)
    cost = "Nothing: released before" if free else f"{guarantee_text(plan.epsilon, plan.delta)} for the region"
    each = epsilon_text(plan.epsilon_per_node)
    where = "one node" if plan.span == 1 else f"up to {plan.span} nodes"
    return f"Cost: {cost}; {each} at each node (a person's records may lie at {where}). This explanation is free."


def _node_rows(plan: Explanation) -> list[list[str]]:
    return [
        [
            node.province,
            ", ".join(node.tables) if len(plan.blocks) == 1 else f"{node.block}: {', '.join(node.tables)}",
            f"{node.cells:,}" if node.threshold is None else f"with > {node.threshold.above:,} {node.unit}s",
            _FORMS.get(node.bounding, node.bounding),
            "0 (released before)" if node.already_released else epsilon_text(node.epsilon),
            epsilon_text(node.budget.epsilon_left),
            epsilon_text(node.budget.epsilon_per_query),
            node.engine,
        ]
        for node in plan.nodes
    ]


def _error_table(plan: Explanation) -> tuple[tuple[str, ...], list[list[str]]]:
    """A row a measure: its noise scale and error at each node, and for the region."""
    found: dict[str, dict[str, MeasurePlan]] = {}
    for node in plan.nodes:
        for measure in node.measures:
            found.setdefault(plan.title(node, measure), {})[node.province] = measure
    provinces, merged = tuple(dict.fromkeys(node.province for node in plan.nodes)), plan.merged_standard_errors
    rows = []
    for title, by_province in found.items():
        first = next(iter(by_province.values()))
        divisor = " / n" if first.kind == "average" else ""
        errors = [by_province[name].standard_error if name in by_province else None for name in provinces]
        errors += [merged[title]] if merged is not None else []
        shown = ["" if error is None else f"± {error_text(error)}{divisor}" for error in errors]
        rows.append([title, f"{first.mechanism} {error_text(first.scale)}", *shown])
    region_header = ("region",) if merged is not None else ()
    return ("measure", "noise", *provinces, *region_header), rows


def _legend(plan: Explanation) -> list[str]:
    averages = any(measure.kind == "average" for node in plan.nodes for measure in node.measures)
    return ["n is the number of rows behind the average; its error is at most what is shown."] if averages else []


def _reasons(plan: Explanation) -> Iterator[str]:
    yield from dict.fromkeys(map(_reason, plan.nodes))
    yield from dict.fromkeys(_threshold(node.threshold, node.unit) for node in plan.nodes if node.threshold)


def _threshold(threshold: ThresholdPlan, unit: str) -> str:
    return (
        f"Nobody can list these groups beforehand. A node shows those with more than {threshold.above:,} {unit}s, "
        f"counted with noise; δ = {threshold.delta:.2g} at each node pays for that."
    )


def _reason(node: NodePlan) -> str:
    limits = {
        "none": "",
        "clip": f" At most {node.max_rows:,} rows of one {node.unit} count in a group.",
        "clip_and_limit": (
            f" At most {node.max_rows:,} rows of one {node.unit} count in a group, and {node.max_groups:,} groups."
        ),
    }
    reason = node.bounding_reason.strip().rstrip(".")
    return f"Bounding per {node.unit}: {reason}.{limits.get(node.bounding, '')}"


def _sql(plan: Explanation) -> Iterator[tuple[str, str]]:
    """Titles and texts; nodes whose SQL differs in nothing but their name share one."""
    shared: dict[str, list[NodePlan]] = {}
    for node in plan.nodes:
        shared.setdefault(node.engine_sql.replace(f"'{node.province}'", "'…'"), []).append(node)
    for nodes in shared.values():
        alike = ", ".join(node.province for node in nodes[1:])
        title = f"SQL at {nodes[0].province}" + (f" (alike at {alike})" if alike else "")
        yield title, _pretty(nodes[0].engine_sql)
    yield "SQL above the privacy line, at the coordinator, free", _pretty(plan.rest_sql)


def _pretty(sql: str) -> str:
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        return sqlglot.transpile(sql, read="duckdb", write="duckdb", pretty=True)[0]
    except (SqlglotError, IndexError):
        return sql  # another engine's dialect: as it is
