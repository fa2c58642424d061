"""IN (SELECT …), EXISTS (SELECT …), SEMI JOIN and ANTI JOIN: whether the unit of a row has rows elsewhere.

Which rows of a unit are kept follows from that unit's rows alone, because what is looked for belongs to the same unit.
All forms become one: `EXISTS (SELECT 1 FROM … WHERE inner.unit = outer.unit AND …)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.expressions import Facts, Reader, Reading
from privacy.positions import position_of, shown
from privacy.rows.source import UNIT, sources_of

if TYPE_CHECKING:
    from privacy.expressions.reader import Resolve
    from privacy.rows.relation import Context

_CLAUSES = {"expressions", "from_", "joins", "where", "distinct"}


class Memberships:
    """Reads the tests of one SELECT.

    Args:
        resolve: columns of that SELECT.
    """

    def __init__(self, context: Context, resolve: Resolve) -> None:
        self._context = context
        self._resolve = resolve

    def reading(self, node: exp.Expr) -> Reading:
        """EXISTS (SELECT …) or x IN (SELECT …).

        Raises:
            ConstructRefused: what is looked for is not of the row's own unit.
        """
        if isinstance(node, exp.In):
            return self._in(node)
        query = node.this.unnest()
        if not isinstance(query, exp.Select):
            raise _not_of_the_unit(node)
        return self._exists(query, node, [])

    def joined(self, node: exp.Join) -> exp.Expr:
        """SEMI JOIN or ANTI JOIN, as a condition."""
        on = node.args.get("on")
        if on is None or {name for name, value in node.args.items() if value} - {"this", "kind", "on"}:
            raise _not_of_the_unit(node)
        query = exp.Select(from_=exp.From(this=node.this.copy()))
        found = self._exists(query, node, [on]).sql
        return exp.Not(this=found) if node.kind == "ANTI" else found

    def _in(self, node: exp.In) -> Reading:
        value = Reader(self._resolve).read(node.this)
        query = node.args["query"].unnest()
        if isinstance(query, exp.Select) and self._is_public(query):
            return self._in_public(node, value, query)
        source = self._context.read_rows(node.args["query"], self._context)
        columns = [known for name, known in source.columns.items() if name != UNIT]
        if len(columns) != 1 or not _identify_alike(columns[0].facts, value.facts):
            raise _not_of_the_unit(node)
        same = exp.EQ(this=source.column(UNIT), expression=value.sql)
        select = exp.Select(expressions=[exp.Literal.number(1)], from_=exp.From(this=source.aliased))
        select.set("where", exp.Where(this=same))
        return Reading(exp.Exists(this=select), Facts("BOOLEAN"))

    def _is_public(self, query: exp.Select) -> bool:
        tables = sources_of(query)
        return bool(tables) and all(table.name in self._context.catalog.public_tables for table in tables)

    def _in_public(self, node: exp.In, value: Reading, query: exp.Select) -> Reading:
        """x IN (SELECT column FROM a public table): what every row is tested against is the same."""
        from privacy.rows.relation import read_relation

        if {name for name, given in query.args.items() if given} - _CLAUSES or len(query.expressions) != 1:
            raise _not_of_the_unit(node)
        relation = read_relation(query, self._context)
        item = relation.reader.read(query.expressions[0].unalias())
        if value.facts.identifier or value.facts.type != item.facts.type:
            raise _not_of_the_unit(node)
        test = exp.In(this=value.sql, query=exp.Subquery(this=relation.query({"v": item.sql})))
        return Reading(test, Facts("BOOLEAN", nullable=value.facts.nullable or item.facts.nullable))

    def _exists(self, query: exp.Select, node: exp.Expr, more: list[exp.Expr]) -> Reading:
        from privacy.rows.per_unit import has_aggregates
        from privacy.rows.relation import conjuncts_of, read_relation

        if {name for name, value in query.args.items() if value} - _CLAUSES or has_aggregates(query):
            raise _not_of_the_unit(node)
        relation = read_relation(query, self._context, outer=self._resolve, conjuncts=more)
        where = query.args.get("where")
        parts = [part for on in (*more, where.this if where else None) for part in conjuncts_of(on)]
        inner = {relation.first.alias, *(join.source.alias for join in relation.joins)}
        # What every row is tested against is the same where all of it is public.
        if relation.owner is None or any(_is_own(part.unnest(), relation.reader, inner) for part in parts):
            return Reading(exp.Exists(this=relation.query({"one": exp.Literal.number(1)})), Facts("BOOLEAN"))
        raise _not_of_the_unit(node)


def _is_own(part: exp.Expr, reader: Reader, inner: set[str]) -> bool:
    """Whether it says that a row within and the row around are of the same unit."""
    if not isinstance(part, exp.EQ):
        return False
    left, right = (reader.read(side) for side in (part.left, part.right))
    places = [side.sql.table in inner for side in (left, right) if isinstance(side.sql, exp.Column)]
    return sorted(places) == [False, True] and _identify_alike(left.facts, right.facts)


def _identify_alike(one: Facts, other: Facts) -> bool:
    """Whether both are identifiers of units of one kind, on every row, so that equal ones are of one unit."""
    here = one.identifier and not (one.nullable or other.nullable)
    return bool(here) and (one.identifier, one.type) == (other.identifier, other.type)


def _not_of_the_unit(node: exp.Expr) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(node)}`: a row may be tested against rows of its own unit only",
        remedy="Write person_id IN (SELECT person_id FROM …), or EXISTS (… WHERE a.person_id = b.person_id AND …), "
        "with the unit's identifier on both sides.",
        position=position_of(node),
    )
