"""The privacy line: a bound SELECT cut into keys and measures below it, and the rest above it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, reduce

from sqlglot import exp

from privacy.aggregates import is_aggregate, lower
from privacy.catalog import Catalog
from privacy.dialect import DUCKDB
from privacy.domains import Domains
from privacy.errors import ConstructRefused, RequestRefused, RowsRefused
from privacy.expressions import Facts, Reader, Reading
from privacy.expressions.by_name import NAMES
from privacy.expressions.comparisons import condition
from privacy.fragment import MERGED, OutputColumn, ReadOff, Rest
from privacy.grouping import Grouping, Keys, grouping_places, read_grouping, rolled_up
from privacy.linear import linear_form
from privacy.measures import MOST_LEAVES, Input, Lowered, MeasureBook, RawMeasure
from privacy.positions import position_of, shown
from privacy.request import Options
from privacy.rows.outer import inner_where_equal
from privacy.rows.placing import column_at
from privacy.rows.relation import Context, Relation, read_relation
from privacy.rows.source import is_province
from privacy.rows.subquery import read_rows


@dataclass(frozen=True)
class KeyColumn:
    """A group key: column `name` of the relation."""

    name: str
    label: str
    reading: Reading


@dataclass(frozen=True)
class Split:
    """A query on both sides of the line.

    Attributes:
        importance: by measure, how its noise shows in the columns of the answer (see `measures.Lowered`).
        above: the rest as a tree, without `cell`, over the table `merged`.
        noisy: by column of the answer, whether it is computed from noisy values, numbers or not.
        read_off, grouping_sets: as in `privacy.fragment.Block`.
        decides: the measure whose noisy value decides which groups are released; empty where all groups are listed.
        derivable: sums that could be computed from a mean and a count (see `measures.MeasureBook`).
    """

    relation: Relation
    keys: tuple[KeyColumn, ...]
    inputs: tuple[Input, ...]
    measures: tuple[RawMeasure, ...]
    importance: dict[str, float]
    rest: Rest
    above: exp.Select
    noisy: tuple[bool, ...]
    read_off: tuple[ReadOff, ...] = ()
    grouping_sets: tuple[Keys, ...] = ()
    decides: str = ""
    derivable: frozenset[str] = frozenset()

    @cached_property
    def located(self) -> bool:
        """Whether the query names the pseudo-column `province`; if not, all nodes run the same."""
        parts = (*self.relation.parts, *(key.reading.sql for key in self.keys), *(column.sql for column in self.inputs))
        return any(is_province(column) for part in parts for column in part.find_all(exp.Column))


def split(
    select: exp.Select,
    names: tuple[str, ...],
    catalog: Catalog,
    options: Options,
    domains: Domains,
    *,
    most_leaves: int = MOST_LEAVES,
    from_means: frozenset[str] = frozenset(),
) -> Split:
    """Cut a bound SELECT at the privacy line.

    Before: `SELECT kind, SUM(cost) / COUNT(*) AS mean FROM visits GROUP BY kind HAVING COUNT(*) > 9`
    Below:  keys `kind` as k0; measures SUM(cost) as m0, COUNT(*) as m1
    Above:  `SELECT k0 AS kind, a0 / a1 AS mean FROM (SELECT k0, m0 / 100 AS a0, m1 AS a1 FROM merged) WHERE a1 > 9`

    Args:
        names: of the answer's columns, as the researcher wrote them.
        options: limits, and by column of the answer how much its error matters.
        domains: of the catalog.
        most_leaves: of a histogram that quantiles come from.
        from_means: sums that are to be computed from a mean and a count, of those that are `derivable`.

    Raises:
        RequestRefused: a weight for a column that the answer does not have.
        QueryRefused: anything below or above the line that is not answered.
    """
    refuse_rows(select)
    select = inner_where_equal(select, catalog)
    relation = read_relation(select, Context(catalog, options.max_rows, options.max_groups, read_rows))
    if relation.owner is None:
        raise _only_public(select)
    grouping = read_grouping(select)
    keys = _keys(grouping, relation)
    levels = bool(grouping.sets)
    book = MeasureBook(relation, domains, most_leaves=most_leaves, from_means=from_means, levels=levels)
    above = _Above(select, grouping, keys, book)
    rest = above.rest(names)
    if not book.measures:
        raise RowsRefused(
            "The query names no aggregate", remedy="Ask for COUNT(*), COUNT(x), SUM(x) or AVG(x) of each group."
        )
    importance = above.importance(names, options.weights or {})
    return Split(
        relation,
        keys,
        book.inputs,
        book.measures,
        importance,
        rest,
        above.query,
        tuple(map(bool, above.shown)),
        book.columns_read_off,
        grouping.sets,
        derivable=book.derivable,
    )


def refuse_rows(select: exp.Select) -> None:
    """Raises: RowsRefused: nothing is aggregated; ConstructRefused: because a function is not known."""
    if select.args.get("group") or any(select.find_all(exp.AggFunc)):
        return
    unknown = next((found for found in select.find_all(exp.Anonymous) if found.name.upper() not in NAMES), None)
    if unknown is not None:
        raise ConstructRefused(
            f"`{shown(unknown)}`: {unknown.name} is not on the allow-list",
            remedy="Use COUNT(*), COUNT(x), SUM(x) or AVG(x); docs/sql.md lists the functions.",
            position=position_of(unknown),
        )
    raise RowsRefused(
        "The query returns rows; only aggregates leave a province",
        remedy="Ask for COUNT(*), SUM(x) or AVG(x), with GROUP BY on columns that have a public domain.",
        position=position_of(select.expressions[0]),
    )


def _only_public(select: exp.Select) -> ConstructRefused:
    return ConstructRefused(
        "The query reads public tables only",
        remedy="Public tables are in the catalog, free of noise: see `weir catalog`.",
        position=position_of(select.args["from_"].this),
    )


def _keys(grouping: Grouping, relation: Relation) -> tuple[KeyColumn, ...]:
    return tuple(
        KeyColumn(f"k{place}", shown(node), relation.reader.value(node)) for place, node in enumerate(grouping.keys)
    )


class _Above:
    """Builds the rest: the same SELECT over one row a group, in which each aggregate is a column `a0` …."""

    def __init__(self, select: exp.Select, grouping: Grouping, keys: tuple[KeyColumn, ...], book: MeasureBook) -> None:
        self._select = select
        self._grouping = grouping
        self._keys = dict(zip(grouping.keys, keys, strict=True))
        self._book = book
        self._columns: dict[str, Reading] = {}
        self._aggregates: dict[exp.Expr, str] = {}
        self._lowered: dict[str, Lowered] = {}
        self.shown: list[set[str]] = []  # after `rest`: by column of the answer, the aggregates in it
        self._aliases: dict[str, exp.Expr] = {item.alias: item.unalias() for item in select.expressions if item.alias}
        self._reader = Reader(self._resolve, of_rows=False)
        self.query = exp.Select()  # see `Split.above`; to be read after `rest`

    def rest(self, names: tuple[str, ...]) -> Rest:
        items = [self._read(item.unalias()) for item in self._select.expressions]
        self.shown = [self._aggregates_in(item) for item in items]
        columns = tuple(self._column(name, item) for name, item in zip(names, items, strict=True))
        named = [_alias(item.sql.copy(), name, quoted=True) for name, item in zip(names, items, strict=True)]
        query = exp.Select(expressions=[*named, exp.column("cell")])
        having = self._select.args.get("having")
        if having is not None:
            query.set("where", exp.Where(this=condition(self._reader, self._placed(having.this)).sql))
        query.set("order", self._order(self._select.args.get("order")))
        for name in ("limit", "offset"):
            clause = self._select.args.get(name)
            if clause is not None:
                query.set(name, _literal_only(clause))
        query.set("from_", self._groups(MERGED))  # last: only now is every aggregate known
        self.query = query.copy()
        self.query.expressions.pop()
        sql, error_sql = _sql(query), self._error_sql(columns, items)
        return Rest(sql, error_sql, columns)

    def _groups(self, source: str, among: Iterable[Reading] | None = None) -> exp.From:
        """One row a group of table `source`: the keys, and each aggregate from the measures, or those in `among`."""
        keys = [exp.column(key.name) for key in self._keys.values()]
        if self._grouping.sets:
            keys += [exp.column(rolled_up(place)) for place in range(len(keys))]
        used = list(self._aggregates.values())
        if among is not None:
            named = set[str]().union(*map(self._aggregates_in, among))
            used = [name for name in used if name in named]
        values = [_alias(self._columns[name].sql.copy(), name) for name in used]
        table = exp.From(this=exp.Table(this=exp.to_identifier(source)))
        groups = exp.Select(expressions=[exp.column("cell"), *keys, *values], from_=table)
        alias = exp.TableAlias(this=exp.to_identifier(_ANSWERED))
        return exp.From(this=exp.Subquery(this=groups, alias=alias))

    def _error_sql(self, columns: tuple[OutputColumn, ...], items: list[Reading]) -> str:
        simulated = {
            f"v{number}": item
            for number, (column, item) in enumerate(zip(columns, items, strict=True))
            if column.noisy and column.linear is None
        }
        if not simulated:
            return ""
        values = [_alias(item.sql.copy(), name) for name, item in simulated.items()]
        return _sql(exp.Select(expressions=values, from_=self._groups("simulated", simulated.values())))

    def importance(self, names: tuple[str, ...], weights: Mapping[str, float]) -> dict[str, float]:
        """By measure, how much its noise matters in the columns that are shown; to be called after `rest`."""
        unknown = next((name for name in weights if name not in names), None)
        if unknown is not None:
            raise RequestRefused(
                f"`weights`: the answer has no column `{unknown}`", remedy=f"Its columns are {', '.join(names)}."
            )
        found: dict[str, float] = {}
        for name, aggregates in zip(names, self.shown, strict=True):
            for aggregate in aggregates:
                for measure, share in self._lowered[aggregate].importance.items():
                    found[measure] = found.get(measure, 0.0) + share * weights.get(name, 1.0)
        return found

    def _aggregates_in(self, item: Reading) -> set[str]:
        return {column.name for column in item.sql.find_all(exp.Column)} & set(self._aggregates.values())

    def _column(self, name: str, item: Reading) -> OutputColumn:
        if not (item.facts.is_number and self._aggregates_in(item)):
            return OutputColumn(name, noisy=False)
        aggregates = {aggregate: self._columns[aggregate].sql for aggregate in self._aggregates.values()}
        sums = frozenset(measure.name for measure in self._book.measures if measure.tree is None)
        return OutputColumn(name, noisy=True, linear=linear_form(item.sql, aggregates, sums))

    def _read(self, node: exp.Expr) -> Reading:
        return self._reader.value(self._placed(node))

    def _placed(self, node: exp.Expr) -> exp.Expr:
        """`node` with every key and aggregate replaced by a column that `_resolve` knows."""
        key = self._keys.get(node)
        if key is not None:
            return self._key(node, key)
        if isinstance(node, exp.Grouping | exp.GroupingId):
            return self._placed_grouping(node)
        if is_aggregate(node):
            return column_at(self._aggregate(node), _GROUPS, node)
        if isinstance(node, exp.Column):
            return node
        placed = node.copy()
        for child in list(placed.iter_expressions()):
            new = self._placed(child)
            if new is not child:
                child.replace(new)
        return placed

    def _key(self, node: exp.Expr, key: KeyColumn) -> exp.Column:
        # NULL where it is rolled up, and there is no row below the line to be narrow for.
        nullable = key.reading.facts.nullable or not self._grouping.always(self._grouping.keys.index(node))
        facts = replace(key.reading.facts, narrow=False, nullable=nullable)
        self._columns[key.name] = Reading(exp.column(key.name), facts)
        return column_at(key.name, _GROUPS, node)

    def _placed_grouping(self, node: exp.Grouping | exp.GroupingId) -> exp.Expr:
        """`GROUPING(a, b)` → `(r0) * 2 + r1`: a bit for each key, 1 where it is rolled up, the last key's lowest."""
        named = [self._unaliased(argument) for argument in node.expressions]
        bits = [self._bit(place, node) for place in grouping_places(node, named, self._grouping)]
        return exp.Paren(this=reduce(_shifted, bits))

    def _bit(self, place: int, node: exp.Expr) -> exp.Expr:
        if not self._grouping.sets:
            return exp.Literal.number(0)
        name = rolled_up(place)
        self._columns[name] = Reading(exp.column(name), Facts("BIGINT", 0, 1))
        return column_at(name, _GROUPS, node)

    def _unaliased(self, node: exp.Expr) -> exp.Expr:
        """The key that a bare name stands for: an alias of the answer, or the column that an alias hides."""
        if not isinstance(node, exp.Column) or node.table:
            return node
        hidden = [key for key in self._keys if isinstance(key, exp.Column) and key.name == node.name]
        candidates: list[exp.Expr] = [self._aliases.get(node.name, node), *hidden]
        return next((candidate for candidate in candidates if candidate.unnest() in self._keys), candidates[0])

    def _aggregate(self, node: exp.Expr) -> str:
        if node not in self._aggregates:
            lowered = lower(node, self._book)
            name = f"a{len(self._aggregates)}"
            self._aggregates[node] = name
            self._lowered[name] = lowered
            self._columns[name] = lowered.reading
        return self._aggregates[node]

    def _resolve(self, column: exp.Column) -> Reading:
        known = self._columns.get(column.name) if column.table == _GROUPS else None
        if known is not None:
            return Reading(exp.column(column.name), known.facts)
        if not column.table and column.name in self._aliases:
            return self._read(self._aliases[column.name])
        raise RowsRefused(
            f"`{shown(column)}` is neither a group key nor inside an aggregate",
            remedy=f"Add it to GROUP BY, or aggregate it: COUNT({shown(column)}).",
            position=position_of(column),
        )

    def _order(self, clause: exp.Order | None) -> exp.Order:
        """The order that was asked for; ties, and answers without ORDER BY, in the order of the cells."""
        terms = []
        for term in clause.expressions if clause is not None else ():
            if not isinstance(term, exp.Ordered) or term.args.get("with_fill"):
                raise ConstructRefused(
                    f"`{shown(term)}` is no ORDER BY term", remedy="Order by a column of the answer."
                )
            ordered = term.copy()
            ordered.set("this", _of_groups(self._read(term.this).sql))
            terms.append(ordered)
        return exp.Order(expressions=[*terms, exp.Ordered(this=_of_groups(exp.column("cell")))])


def _alias(sql: exp.Expr, name: str, *, quoted: bool = False) -> exp.Alias:
    return exp.Alias(this=sql, alias=exp.to_identifier(name, quoted=quoted))


def _sql(query: exp.Select) -> str:
    """`query` in DuckDB's dialect; it is used up, because to copy it first takes twice as long as to write it."""
    return query.sql(dialect=DUCKDB, copy=False)


_GROUPS = "<groups>"  # no identifier of a query can be this
_ANSWERED = "answered"


def _of_groups(node: exp.Expr) -> exp.Expr:
    """`node` with its columns qualified: in ORDER BY an alias of the answer would go before a bare name like `k0`."""

    def qualified(part: exp.Expr) -> exp.Expr:
        return exp.column(part.name, table=_ANSWERED) if isinstance(part, exp.Column) else part

    return node.transform(qualified)


def _shifted(high: exp.Expr, low: exp.Expr) -> exp.Expr:
    doubled = exp.Mul(this=exp.Paren(this=high), expression=exp.Literal.number(2))
    return exp.Add(this=doubled, expression=low)


def _literal_only(clause: exp.Expr) -> exp.Expr:
    value = clause.args.get("expression")
    extra = [name for name, found in clause.args.items() if found and name not in ("expression", "limit_options")]
    options = clause.args.get("limit_options")
    percent = options is not None and not options.args.get("with_ties")
    if extra or (options is not None and not percent) or not (isinstance(value, exp.Literal) and value.name.isdigit()):
        raise ConstructRefused(
            f"`{shown(clause)}` must be a whole number",
            remedy="Write LIMIT 10, or LIMIT 10%.",
            position=position_of(clause),
        )
    return clause.copy()
