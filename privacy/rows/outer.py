"""`public LEFT JOIN private`, `private RIGHT JOIN public`: rows of the public table that meet no private row.

They belong to no unit. Aggregates over a column of the private table leave them out, because it is NULL there; then the
join is the inner one, and which keys are answered comes from the catalog anyway.
"""

from __future__ import annotations

from sqlglot import exp

from privacy.catalog import Catalog
from privacy.rows.placing import own_parts


def inner_where_equal(select: exp.Select, catalog: Catalog) -> exp.Select:
    """`select` with an inner join, if it is of that form and gives the same for every key that has rows.

    Before: `SELECT h.city, COUNT(v.cost) FROM hospitals AS h LEFT JOIN visits AS v ON … GROUP BY h.city`
    After:  `SELECT h.city, COUNT(v.cost) FROM hospitals AS h JOIN visits AS v ON … GROUP BY h.city`
    """
    joins, from_ = select.args.get("joins", []), select.args.get("from_")
    if len(joins) != 1 or joins[0].side not in ("LEFT", "RIGHT") or from_ is None:
        return select
    kept, other = (from_.this, joins[0].this) if joins[0].side == "LEFT" else (joins[0].this, from_.this)
    if kept.name not in catalog.public_tables or other.name in catalog.public_tables:
        return select
    if not _leaves_out_empty(select, other.alias_or_name):
        return select
    changed = select.copy()
    changed.args["joins"][0].set("side", None)
    return changed


def _leaves_out_empty(select: exp.Select, alias: str) -> bool:
    """Whether all that looks at `alias` is aggregates of its plain columns."""
    parts = [part for name in ("expressions", "having", "order") for part in _listed(select.args.get(name))]
    aggregates = [node for part in parts for node in own_parts(part) if isinstance(node, exp.AggFunc)]
    values = [_value(node) for node in aggregates]
    if not all(isinstance(value, exp.Column) and value.table == alias for value in values):
        return False
    others = [*_listed(select.args.get("where")), *_listed(select.args.get("group"))]
    return not any(column.table == alias for part in others for column in part.find_all(exp.Column))


def _value(aggregate: exp.Expr) -> object:
    """What it looks at: `x` of `COUNT(x)` and of `COUNT(DISTINCT x)`."""
    if isinstance(aggregate, exp.AnonymousAggFunc):  # HISTOGRAM
        return aggregate.expressions[0]
    inner = aggregate.this
    return inner.expressions[0] if isinstance(inner, exp.Distinct) and len(inner.expressions) == 1 else inner


def _listed(value: object) -> list[exp.Expr]:
    return [part for part in (value if isinstance(value, list) else [value]) if isinstance(part, exp.Expr)]
