"""The rest of a query over several blocks: its SQL, and the SQL that computes it for every draw of the noise.

A draw is one outcome of the noise in all cells of all blocks. What the query would answer for each draw is computed by
a lateral join over the draws, and is matched with the answer's rows by the columns that no noise reaches. Clauses of
the outermost SELECT that only choose and order rows are left out there, so that a row keeps its error bar however near
it is to being left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from privacy.blocks import Around
from privacy.dialect import DUCKDB
from privacy.errors import ConstructRefused
from privacy.expressions.by_name import OF_CONTAINERS
from privacy.fragment import OutputColumn, Rest
from privacy.positions import position_of, shown
from privacy.rows.source import sources_of

_DRAWS = "draws"
_CHOOSING = ("having", "qualify", "order", "limit", "offset")


@dataclass(frozen=True)
class AboveBlock:
    """One block as the rest reads it.

    Attributes:
        query: over the table `merged`.
        name, simulated_name: of its tables.
        noisy: by column of the block, whether it is computed from noisy values.
    """

    query: exp.Select
    name: str
    simulated_name: str
    noisy: Mapping[str, bool]


def compound_rest(around: Around, blocks: Mapping[str, AboveBlock], names: tuple[str, ...]) -> Rest:
    """The rest of a query, where each of `blocks` stands for the table of that name.

    Args:
        names: of the answer's columns.

    Raises:
        ConstructRefused: a function or construct that is not answered around blocks.
    """
    _check(around.query, around.blocks)
    noisy = _Noise(blocks).columns(around.query)
    columns = tuple(OutputColumn(name, is_noisy) for name, is_noisy in zip(names, noisy, strict=True))
    answer = _filled(around.query, {name: _table(block.query, block.name) for name, block in blocks.items()})
    numbered = exp.Select(
        expressions=[exp.Star(), exp.alias_(_number(), "cell")],
        from_=exp.From(this=exp.Subquery(this=answer, alias=exp.to_identifier("answered"))),
    )
    sql = numbered.sql(dialect=DUCKDB)
    error_sql = _error_sql(sql, around.query, blocks, noisy) if any(noisy) else ""
    return Rest(sql, error_sql, columns, joint=True)


def _number() -> exp.Expr:
    """The number of a row, from 0."""
    return exp.Sub(this=exp.Window(this=exp.RowNumber(), over="OVER"), expression=exp.Literal.number(1))


def _error_sql(sql: str, query: exp.Query, blocks: Mapping[str, AboveBlock], noisy: list[bool]) -> str:
    simulated = {name: _table(block.query, block.simulated_name, drawn=True) for name, block in blocks.items()}
    drawn = _filled(_without_choice(query), simulated).sql(dialect=DUCKDB)
    first = next(iter(blocks.values())).simulated_name
    columns = ", ".join(f"c{place}" for place in range(len(noisy)))
    same = [f"a.c{place} IS NOT DISTINCT FROM s.c{place}" for place, is_noisy in enumerate(noisy) if not is_noisy]
    # Through text, because what is no number has no error bar; twice the same row cannot be told apart.
    values = [
        f"CASE WHEN COUNT(*) = 1 THEN ANY_VALUE(TRY_CAST(CAST(s.c{place} AS TEXT) AS DOUBLE)) END AS v{place}"
        for place, is_noisy in enumerate(noisy)
        if is_noisy
    ]
    return (
        f"WITH draws AS (SELECT DISTINCT draw FROM {first}), "
        f"a AS (SELECT * FROM ({sql}) AS a({columns}, cell)), "
        f"s AS (SELECT draws.draw, q.* FROM draws, LATERAL ({drawn}) AS q({columns})) "
        f"SELECT {', '.join(values)} FROM a CROSS JOIN draws LEFT JOIN s "
        f"ON {' AND '.join(['s.draw = draws.draw', *same])} GROUP BY a.cell, draws.draw ORDER BY a.cell, draws.draw"
    )


def _table(query: exp.Select, name: str, *, drawn: bool = False) -> exp.Select:
    """The block's query over the table of that name, or over one draw of it."""
    changed = query.copy()
    for table in list(changed.find_all(exp.Table)):
        table.set("this", exp.to_identifier(name))
        if drawn:
            same = exp.EQ(this=exp.column("draw", table=name), expression=exp.column("draw", table=_DRAWS))
            select = table.find_ancestor(exp.Select)
            assert select is not None
            select.set("where", exp.Where(this=same))
    return changed


def _filled(query: exp.Query, blocks: Mapping[str, exp.Select]) -> exp.Query:
    """`query` with a sub-query in the place of each block's table."""
    changed = query.copy()
    for table in list(changed.find_all(exp.Table)):
        block = blocks.get(table.name)
        if block is not None:
            table.replace(exp.Subquery(this=block.copy(), alias=exp.to_identifier(table.name)))
    return changed


def _without_choice(query: exp.Query) -> exp.Query:
    changed = query.copy()
    for name in _CHOOSING:
        changed.set(name, None)
    return changed


def _check(query: exp.Query, blocks: Mapping[str, exp.Select]) -> None:
    for node in query.walk():
        if isinstance(node, exp.Anonymous) and node.name.upper() in OF_CONTAINERS:
            continue
        if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc | exp.Lateral | exp.Unnest | exp.Command):
            raise _not_answered(node)
        if isinstance(node, exp.Table) and node.name not in blocks:
            raise _not_answered(node)


class _Noise:
    """Which columns of a query depend on noisy values."""

    def __init__(self, blocks: Mapping[str, AboveBlock]) -> None:
        self._blocks = blocks

    def columns(self, query: exp.Expr) -> list[bool]:
        query = query.unnest()
        if isinstance(query, exp.SetOperation):
            sides = zip(self.columns(query.left), self.columns(query.right), strict=True)
            return [left or right for left, right in sides]
        assert isinstance(query, exp.Select)
        known = {source.alias_or_name: self._source(source) for source in sources_of(query)}
        return [self._is_noisy(item, known) for item in query.expressions]

    def _source(self, source: exp.Expr) -> Mapping[str, bool]:
        if isinstance(source, exp.Table):
            return self._blocks[source.name].noisy
        if isinstance(source, exp.Subquery):
            inner = source.this.unnest()
            return dict(zip(inner.named_selects, self.columns(inner), strict=True))
        return {}

    def _is_noisy(self, item: exp.Expr, known: Mapping[str, Mapping[str, bool]]) -> bool:
        """Aggregates, windows and sub-queries look at which rows there are, and noise may decide on that."""
        if item.find(exp.AggFunc, exp.Window, exp.Query):
            return True
        return any(known.get(column.table, {}).get(column.name, False) for column in item.find_all(exp.Column))


def _not_answered(node: exp.Expr) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(node)}` is not answered around aggregated sub-queries",
        remedy="Use functions of SQL that docs/sql.md lists, over the sub-queries' columns.",
        position=position_of(node),
    )
