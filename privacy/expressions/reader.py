"""The allow-list of scalar SQL: what has a rule may be used, everything else is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlglot import exp

from privacy.errors import ConstructRefused, RowsRefused
from privacy.expressions.facts import Reading
from privacy.expressions.rules import Rule, one_zero
from privacy.positions import position_of, shown

Resolve = Callable[[exp.Column], Reading]
Subquery = Callable[[exp.Expr], Reading]


class Reader:
    """Reads expressions over columns that `resolve` knows.

    Args:
        resolve: facts of a column; raises NameRefused for one that it does not know.
        subquery: reads EXISTS (SELECT …) and x IN (SELECT …), where they may stand.
        of_rows: the columns are of rows, where no value may be −0.0, and not of answers.
    """

    def __init__(self, resolve: Resolve, subquery: Subquery | None = None, *, of_rows: bool = True) -> None:
        self._resolve = resolve
        self._subquery = subquery
        self._of_rows = of_rows

    def read(self, node: exp.Expr) -> Reading:
        """Facts and total form of `node`.

        Raises:
            QueryRefused: a construct outside the allow-list, or types that do not go together.
        """
        if isinstance(node, exp.Column):
            return self._resolve(node)
        if self._subquery is not None and is_membership(node):
            return self._subquery(node)
        if isinstance(node, exp.Subquery):
            raise _computed(node)
        rule = rules().get(type(node))
        if rule is None:
            raise _unknown(node)
        for name, value in node.args.items():
            if name not in rule.arguments and value not in (None, [], False):
                raise ConstructRefused(
                    f"`{shown(node)}`: weir does not know this form of {node.key.upper()}",
                    remedy="Use its plain form; docs/sql.md lists what may be written.",
                    position=position_of(node),
                )
        reading = rule.apply(self, node)
        if self._of_rows and reading.minus_zero and reading.facts.type == "DOUBLE":
            return Reading(one_zero(reading.sql), reading.facts)
        return reading

    def value(self, node: exp.Expr) -> Reading:
        """As `read`, for places where the unit's identifier may not stand."""
        reading = self.read(node)
        if reading.facts.identifier:
            raise RowsRefused(
                f"`{shown(node)}` identifies the privacy unit; it may be compared and counted, nothing else",
                remedy="Leave it out of keys, arithmetic and functions.",
                position=position_of(node),
            )
        return reading


def is_membership(node: exp.Expr) -> bool:
    """EXISTS (SELECT …) or x IN (SELECT …)."""
    return isinstance(node, exp.Exists) or (isinstance(node, exp.In) and node.args.get("query") is not None)


def _computed(node: exp.Subquery) -> ConstructRefused:
    inner = node.this.unnest()
    where = inner.args.get("where") if isinstance(inner, exp.Select) else None
    if where is not None and any(isinstance(part.parent, exp.EQ) for part in _outer_columns(inner)):
        return ConstructRefused(
            f"`{shown(node)}`: a sub-query that looks at the row around it is answered inside EXISTS only",
            remedy="Ask for that by itself first, and write its numbers here; or, where it is about the same person, "
            "join it: … JOIN (SELECT person_id, AVG(cost) AS mean FROM … GROUP BY person_id) AS p USING (person_id).",
            position=position_of(node),
        )
    return ConstructRefused(
        f"`{shown(node)}`: a row cannot be compared with what is computed from other rows",
        remedy="Ask for that by itself first, and write the number of its answer here; the two costs add up.",
        position=position_of(node),
    )


def _outer_columns(select: exp.Select) -> list[exp.Column]:
    own = {source.alias_or_name for source in select.find_all(exp.Table, exp.Subquery)}
    return [column for column in select.find_all(exp.Column) if column.table and column.table not in own]


def _unknown(node: exp.Expr) -> ConstructRefused:
    name = node.sql_name() if isinstance(node, exp.Func) else node.key.upper()
    what = "function" if isinstance(node, exp.Func) else "construct"
    return ConstructRefused(
        f"`{shown(node)}`: the {what} {name} is not on the allow-list",
        remedy=_REMEDIES.get(type(node), "docs/sql.md lists the functions and constructs that may be written."),
        position=position_of(node),
    )


_A_DAY = "Write the day out, for example DATE '2024-06-30': a query means the same whenever it is asked."
_REMEDIES: dict[type[exp.Expr], str] = {
    exp.CurrentDate: _A_DAY,
    exp.CurrentTimestamp: _A_DAY,
    exp.Glob: "Write LIKE, in which % stands for any text and _ for one letter.",
    exp.Interval: "An INTERVAL is added to a date: DATE '1998-12-01' - INTERVAL 90 DAY.",
    exp.ToChar: "Write STRFTIME(x, '%Y-%m').",
    exp.Nvl2: "Write CASE WHEN x IS NOT NULL THEN a ELSE b END.",
    exp.WidthBucket: "Write FLOOR(x / width), or CASE WHEN x < 10 THEN … END.",
}


def rules() -> Mapping[type[exp.Expr], Rule]:
    return _RULES


def _collect() -> dict[type[exp.Expr], Rule]:
    # Imported here because the rules' modules name Reader in their signatures.
    from privacy.expressions import (
        arithmetic,
        by_name,
        casts,
        comparisons,
        conditionals,
        containers,
        dates,
        joined_texts,
        literals,
        moved_dates,
        patterns,
        powers,
        strings,
    )

    found: dict[type[exp.Expr], Rule] = {}
    numbers, days, texts = (arithmetic, powers), (dates, moved_dates), (strings, joined_texts, patterns)
    for module in (literals, casts, *numbers, comparisons, conditionals, containers, *days, *texts, by_name):
        found |= module.RULES
    return found


_RULES = _collect()
