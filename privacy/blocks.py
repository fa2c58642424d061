"""A query over answers: its blocks, each of which aggregates private rows, and what is computed from them.

A block is a SELECT that aggregates rows of the private tables over more than one unit. What stands around blocks sees
their answers only, which are noisy already, so it may be anything that DuckDB computes: post-processing costs nothing
and needs no bound.

Before: `SELECT kind, n / SUM(n) OVER () AS share FROM (SELECT kind, COUNT(*) AS n FROM visits GROUP BY kind) AS t`
Blocks: `SELECT kind, COUNT(*) AS n FROM visits GROUP BY kind`
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from privacy.catalog import Catalog, PrivateTable, PublicTable
from privacy.errors import ConstructRefused, RowsRefused
from privacy.positions import position_of, shown
from privacy.rows.placing import own_parts, placed
from privacy.rows.source import sources_of
from privacy.split import refuse_rows

MAX_BLOCKS = 16


@dataclass(frozen=True)
class Around:
    """A query over blocks.

    Attributes:
        query: in which a table called as `blocks` says stands for each block.
        blocks: by the table's name.
    """

    query: exp.Query
    blocks: dict[str, exp.Select]


def is_one_block(query: exp.Expr, catalog: Catalog) -> bool:
    """Whether the whole query is a block, with nothing around it but HAVING, ORDER BY and LIMIT."""
    return isinstance(query, exp.Select) and _Kinds(catalog).is_block(query) and not _needs_lifting(query)


def read_blocks(query: exp.Query, catalog: Catalog) -> Around:
    """The blocks of a bound query.

    Raises:
        RowsRefused: rows of a private table would leave it without being aggregated.
        ConstructRefused: a construct that is not answered around blocks.
    """
    finder = _Finder(catalog)
    around = finder.above(query)
    if not finder.blocks:
        raise _nothing_private(query, catalog)
    assert isinstance(around, exp.Query)
    return Around(around, {name: block for block, name in finder.blocks.items()})


class _Kinds:
    """Tells rows of units from answers."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def is_block(self, select: exp.Select) -> bool:
        return self._reads_rows(select) and _aggregates(select) and not self._keeps_the_unit(select)

    def is_rows(self, query: exp.Expr) -> bool:
        """Whether the rows of a query in FROM each belong to one unit."""
        query = query.unnest()
        if isinstance(query, exp.SetOperation):
            return self.is_rows(query.left)
        if not isinstance(query, exp.Select):
            return False
        return self._reads_rows(query) and (not _aggregates(query) or self._keeps_the_unit(query))

    def _reads_rows(self, select: exp.Select) -> bool:
        return any(self._is_source_of_rows(source) for source in sources_of(select))

    def _is_source_of_rows(self, source: exp.Expr) -> bool:
        if isinstance(source, exp.Subquery):
            return self.is_rows(source.this)
        return isinstance(self._catalog.tables.get(source.name), PrivateTable)

    def _keeps_the_unit(self, select: exp.Select) -> bool:
        group = select.args.get("group")
        return group is not None and any(self._is_unit(key, select) for key in group.expressions)

    def one_group_each(self, select: exp.Select) -> RowsRefused | None:
        """The refusal of groups that are one unit each."""
        group = select.args.get("group")
        key = (
            next((key for key in group.expressions if self._is_unit(key, select)), None) if group is not None else None
        )
        if key is None:
            return None
        return RowsRefused(
            f"`{shown(key)}` identifies the privacy unit, so that each group would be one of them",
            remedy="Leave it out of GROUP BY, or aggregate once more: SELECT AVG(n) FROM (SELECT …, COUNT(*) AS n …).",
            position=position_of(key),
        )

    def _is_unit(self, node: exp.Expr, select: exp.Select) -> bool:
        """Whether a column is the identifier of a private table, through sub-queries."""
        node = node.unnest()
        if isinstance(node, exp.Coalesce):  # what sqlglot makes of USING
            return self._is_unit(node.this, select)
        if not isinstance(node, exp.Column):
            return False
        source = next((one for one in sources_of(select) if one.alias_or_name == node.table), None)
        if isinstance(source, exp.Subquery):
            inner = source.this.unnest()
            while isinstance(inner, exp.SetOperation):
                inner = inner.left.unnest()
            item = next((one for one in inner.expressions if one.alias_or_name == node.name), None)
            return item is not None and self._is_unit(item.unalias(), inner)
        table = self._catalog.tables.get(source.name) if source is not None else None
        return isinstance(table, PrivateTable) and node.name == table.unit_column


class _Finder:
    """Walks from the outside in, and puts a table's name where a block stood."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._kinds = _Kinds(catalog)
        self.blocks: dict[exp.Select, str] = {}

    def above(self, query: exp.Expr) -> exp.Expr:
        """`query` with its blocks replaced."""
        if isinstance(query, exp.Subquery):
            return _with(query, this=self.above(query.this))
        if isinstance(query, exp.SetOperation):
            return _with(query, this=self.above(query.this), expression=self.above(query.expression))
        if not isinstance(query, exp.Select):
            raise _not_answered(query)
        if self._kinds.is_block(query):
            return self._lifted(query) if _needs_lifting(query) else self._named(query)
        if self._kinds.is_rows(query):
            refuse_rows(query)
            raise self._kinds.one_group_each(query) or _rows(query)
        return self._around(query)

    def _named(self, block: exp.Select) -> exp.Select:
        """`SELECT the block's columns FROM its table`."""
        if block not in self.blocks:
            if len(self.blocks) == MAX_BLOCKS:
                raise ConstructRefused(
                    f"The query aggregates private rows more than {MAX_BLOCKS} times",
                    remedy="Ask several queries; each answer is kept.",
                    position=position_of(block),
                )
            self.blocks[block] = f"<block {len(self.blocks)}>"
        name = self.blocks[block]
        columns = [exp.alias_(exp.column(column, table=name), column, quoted=True) for column in block.named_selects]
        return exp.Select(expressions=columns, from_=exp.From(this=exp.Table(this=exp.to_identifier(name))))

    def _lifted(self, select: exp.Select) -> exp.Expr:
        """A block with windows or sub-queries in it: a plain block, and a SELECT around it.

        Before: `SELECT kind, COUNT(*) / SUM(COUNT(*)) OVER () AS share FROM visits GROUP BY kind`
        After:  `SELECT v0 AS kind, v1 / SUM(v1) OVER () AS share FROM (SELECT kind AS v0, COUNT(*) AS v1 …)`
        """
        group = select.args.get("group")
        if group is not None and {name for name, value in group.args.items() if value} - {"expressions"}:
            raise _not_answered(group)
        keys, values = list(group.expressions) if group is not None else [], dict[exp.Expr, str]()

        def place(node: exp.Expr) -> exp.Column | None:
            if node not in keys and not _is_aggregate(node):
                return None
            values.setdefault(node, f"v{len(values)}")
            return exp.column(values[node], table=_LIFTED)

        having = select.args.get("having")
        if having is not None and _looks_around(having.this, keys, exp.Window):
            raise ConstructRefused(
                "A window cannot stand in HAVING", remedy="Write QUALIFY.", position=position_of(having)
            )
        outer = exp.Select(expressions=[_aliased(item, placed(item.unalias(), place)) for item in select.expressions])
        for name, kind in (("having", exp.Where), ("qualify", exp.Qualify)):
            clause = select.args.get(name)
            if clause is not None:
                outer.set("where" if name == "having" else name, kind(this=placed(clause.this, place)))
        order = select.args.get("order")
        if order is not None:
            outer.set("order", placed(order, place))
        for name in ("limit", "offset", "distinct"):
            outer.set(name, select.args.get(name))
        inner = select.copy()
        for name in ("having", "qualify", "order", "limit", "offset", "distinct"):
            inner.set(name, None)
        inner.set("expressions", [exp.alias_(node.copy(), name, quoted=True) for node, name in values.items()])
        outer.set("from_", exp.From(this=exp.Subquery(this=inner, alias=exp.to_identifier(_LIFTED))))
        return self._around(outer)

    def _around(self, select: exp.Select) -> exp.Select:
        changed = select.copy()
        for node in [changed.args["from_"], *changed.args.get("joins", [])] if changed.args.get("from_") else []:
            node.set("this", self._source(node.this))
        for node in list(_queries_in(changed)):
            node.replace(self.above(node))
        return changed

    def _source(self, source: exp.Expr) -> exp.Expr:
        if isinstance(source, exp.Values):
            return source
        if isinstance(source, exp.Subquery):
            return self.above(source)
        table = self._catalog.tables.get(source.name) if isinstance(source, exp.Table) else None
        if isinstance(table, PublicTable):
            return _rows_of(table, source.alias_or_name)
        if table is not None:
            raise _rows(source)
        raise _not_answered(source)


_LIFTED = "lifted"


def _aggregates(select: exp.Select) -> bool:
    if select.args.get("group") is not None:
        return True
    clauses = [select.args.get(name) for name in ("having", "order", "qualify")]
    parts = [*select.expressions, *(clause for clause in clauses if clause is not None)]
    return any(_is_aggregate(node) for part in parts for node in own_parts(part))


def _is_aggregate(node: exp.Expr) -> bool:
    """Whether it aggregates rows; SUM(x) OVER (…) does not, SUM(COUNT(*)) OVER (…) has one that does in it."""
    if not isinstance(node, exp.AggFunc | exp.Filter | exp.WithinGroup):
        return False
    parent = node.parent
    return not (isinstance(parent, exp.Window) and parent.this is node)


def _needs_lifting(block: exp.Select) -> bool:
    clauses = [block.args.get(name) for name in ("having", "order")]
    parts = [*block.expressions, *(clause for clause in clauses if clause is not None)]
    group = block.args.get("group")
    keys = group.expressions if group is not None else []
    inside = any(_looks_around(part, keys) for part in parts)
    return inside or block.args.get("qualify") is not None or block.args.get("distinct") is not None


def _looks_around(node: exp.Expr, keys: list[exp.Expr], *kinds: type[exp.Expr]) -> bool:
    """Whether there are windows, sub-queries or UNNEST outside of keys and aggregates, which are below the line.

    Args:
        kinds: only of these kinds.
    """
    if node in keys or _is_aggregate(node):
        return False
    if isinstance(node, kinds or (exp.Window, exp.Query, exp.Explode)):
        return True
    return any(_looks_around(child, keys, *kinds) for child in node.iter_expressions())


def _queries_in(select: exp.Select) -> Iterator[exp.Expr]:
    """Sub-queries of expressions, without those of FROM and without those inside of others."""
    for name, value in select.args.items():
        if name not in ("from_", "joins"):
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, exp.Expr):
                    yield from _outermost_queries(part)


def _outermost_queries(node: exp.Expr) -> Iterator[exp.Expr]:
    if isinstance(node, exp.Subquery | exp.Query):
        yield node
        return
    for child in node.iter_expressions():
        yield from _outermost_queries(child)


def _rows_of(table: PublicTable, alias: str) -> exp.Expr:
    """A public table as VALUES."""
    return exp.values([tuple(exp.convert(value) for value in row) for row in table.rows], alias, list(table.columns))


def _aliased(item: exp.Expr, value: exp.Expr) -> exp.Expr:
    return exp.alias_(value, item.alias_or_name, quoted=True)


def _with(node: exp.Expr, **changes: exp.Expr) -> exp.Expr:
    changed = node.copy()
    for name, value in changes.items():
        changed.set(name, value)
    return changed


def _nothing_private(query: exp.Query, catalog: Catalog) -> ConstructRefused:
    table = query.find(exp.Table)
    if table is None:
        return ConstructRefused("The query reads no table", remedy=f"Tables are {', '.join(catalog.tables)}.")
    return ConstructRefused(
        "The query reads public tables only",
        remedy="Public tables are in the catalog, free of noise: see `weir catalog`.",
        position=position_of(table),
    )


def _rows(node: exp.Expr) -> RowsRefused:
    return RowsRefused(
        f"`{shown(node)}` gives rows; only aggregates leave a province",
        remedy="Aggregate: ask for COUNT(*), SUM(x) or AVG(x) of groups.",
        position=position_of(node),
    )


def _not_answered(node: exp.Expr) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(node)}` is not answered there",
        remedy="Around aggregated sub-queries write SELECT, JOIN, UNION and scalar sub-queries.",
        position=position_of(node),
    )
