"""FROM, JOIN and WHERE of one SELECT: its rows, whose they are, and how often one may appear."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlglot import exp

from privacy.catalog import PROVINCE, Catalog, PublicTable
from privacy.errors import ConstructRefused, NameRefused, RowsRefused
from privacy.expressions import Facts, Reader, Reading
from privacy.expressions.comparisons import condition
from privacy.expressions.reader import Resolve
from privacy.positions import position_of, shown
from privacy.rows.held import Held, Place, held, within
from privacy.rows.limits import Equality, Member, limits
from privacy.rows.placing import column_at
from privacy.rows.source import (
    LARGEST_LIMIT,
    Owner,
    Source,
    SourceColumn,
    is_province,
    private_source,
    province_column,
    public_source,
)

_PLAIN = ("", "INNER", "OUTER", "CROSS", "SEMI", "ANTI")


@dataclass(frozen=True)
class Context:
    """What holds for all SELECTs of one query.

    Attributes:
        max_rows, max_groups: of the request, which may lower the catalog's limits.
        read_rows: reads a sub-query of FROM (privacy/rows/subquery.py).
        taken: how many sources have each name.
        private: the private tables that are read, in order.
    """

    catalog: Catalog
    max_rows: int | None
    max_groups: int | None
    read_rows: Callable[[exp.Expr, Context], Source]
    taken: Counter[str] = field(default_factory=Counter)
    private: dict[str, None] = field(default_factory=dict)

    def alias(self, name: str) -> str:
        """A name that no other source of the query has."""
        self.taken[name] += 1
        return name if self.taken[name] == 1 else f"{name}#{self.taken[name]}"


@dataclass(frozen=True)
class Join:
    """A source beside those before it.

    Attributes:
        sql: with its condition, in total form.
        source: what is joined.
        optional: LEFT JOIN, so that its columns may be NULL.
        fixed: whether all rows of a unit at one node meet the same row of it, or none.
        matches: of a public table, how many of its rows one row may meet; 1 elsewhere.
    """

    sql: exp.Join
    source: Source
    optional: bool
    fixed: bool = False
    matches: int = 1


@dataclass(frozen=True)
class Relation:
    """The rows of one FROM and WHERE.

    Attributes:
        first: the source that the others are joined to; private, unless all are public.
        conditions: the conjuncts of WHERE, in total form.
        owner: whose rows they are; None where they are public.
        reader: reads expressions over the names that the researcher gave to the sources.
        context: of the query that they belong to.
    """

    first: Source
    joins: tuple[Join, ...]
    conditions: tuple[exp.Expr, ...]
    owner: Owner | None
    reader: Reader
    context: Context

    @property
    def tables(self) -> tuple[str, ...]:
        """The private tables that the query reads, those too that rows are only tested against."""
        return tuple(self.context.private)

    @property
    def owned(self) -> Owner:
        assert self.owner is not None, "the rows are public"
        return self.owner

    @property
    def unit(self) -> exp.Column:
        """The column that identifies the unit of a row."""
        return self.first.column(self.first.unit)

    @property
    def parts(self) -> tuple[exp.Expr, ...]:
        """What stands in FROM, JOIN and WHERE."""
        return (self.first.sql, *(join.sql for join in self.joins), *self.conditions)

    def source(self, alias: str) -> Source:
        return next(source for source in (self.first, *(join.source for join in self.joins)) if source.alias == alias)

    def column(self, node: exp.Column) -> SourceColumn:
        """What is known of a column that the reader gave."""
        if is_province(node):
            return SourceColumn(Facts("VARCHAR"), fixed=True)
        return self.source(node.table).columns[node.name]

    @property
    def total_reader(self) -> Reader:
        """Reads expressions in total form."""
        optional = {join.source.alias for join in self.joins if join.optional}

        def resolve(column: exp.Column) -> Reading:
            known = self.column(column).facts
            return Reading(column, known.or_null() if column.table in optional else known)

        return Reader(resolve, subquery=lambda test: Reading(test, Facts("BOOLEAN")))

    def facts(self, node: exp.Expr) -> Facts:
        """What is known of an expression in total form."""
        return self.total_reader.read(node).facts

    def is_fixed(self, node: exp.Expr) -> bool:
        """Whether an expression in total form has the same value in all rows of a unit at one node."""
        if node.find(exp.Query):
            return False
        whole = {
            self.first.alias,
            *(join.source.alias for join in self.joins if join.source.owner and not join.optional),
        }
        met = {join.source.alias for join in self.joins if join.fixed}
        columns = [column for column in node.find_all(exp.Column) if not is_province(column)]
        return all(column.table in met or (column.table in whole and self.column(column).fixed) for column in columns)

    def query(self, items: Mapping[str, exp.Expr], grouped_by: Sequence[exp.Expr] = ()) -> exp.Select:
        """SELECT these items, by name, of the rows."""
        # Put together by hand: sqlglot's builders copy the tree at every step.
        query = exp.Select(
            expressions=[exp.alias_(sql.copy(), name, copy=False) for name, sql in items.items()],
            from_=exp.From(this=self.first.aliased),
            joins=[join.sql.copy() for join in self.joins],
        )
        if self.conditions:
            query.set("where", exp.Where(this=exp.and_(*(part.copy() for part in self.conditions), copy=False)))
        if grouped_by:  # constants tell no rows apart, and `GROUP BY 7` would be the seventh column
            keys = [node.copy() for node in grouped_by if _varies(node)]
            query.set("group", exp.Group(expressions=keys))
        return query


def read_relation(
    select: exp.Select, context: Context, *, outer: Resolve | None = None, conjuncts: Iterable[exp.Expr] = ()
) -> Relation:
    """The rows of a bound SELECT.

    Args:
        outer: resolves columns of the SELECT around this one, where it may look at its row.
        conjuncts: more conditions.

    Raises:
        ConstructRefused: a join that could mix rows of different units, or that nothing bounds.
    """
    from_ = select.args.get("from_")
    if from_ is None:
        raise ConstructRefused("The query reads no table", remedy=f"Tables are {', '.join(context.catalog.tables)}.")
    return _Joiner(select, context, outer, conjuncts).relation()


def relation_over(source: Source, name: str, conjuncts: Iterable[exp.Expr], context: Context) -> Relation:
    """The rows of one source, which expressions call `name`, where `conjuncts` hold."""

    def resolve(column: exp.Column) -> Reading:
        if column.table == name:
            return _known(column, {name: source}, set(), None)
        raise RowsRefused(
            f"`{shown(column)}` is neither a key of the GROUP BY around it nor inside an aggregate",
            remedy=f"Add it to that GROUP BY, or aggregate it: MIN({shown(column)}).",
            position=position_of(column),
        )

    reader = Reader(resolve, subquery=_refuse_test)
    conditions = tuple(condition(reader, part).sql for part in conjuncts)
    return Relation(source, (), conditions, source.owner, reader, context)


def _varies(node: exp.Expr) -> bool:
    return any(not is_province(column) for column in node.find_all(exp.Column))


def _refuse_test(node: exp.Expr) -> Reading:
    raise ConstructRefused(
        f"`{shown(node)}` cannot stand beside aggregates or windows",
        remedy="Test the rows in a sub-query of FROM, and aggregate around it.",
        position=position_of(node),
    )


class _Joiner:
    """Puts the sources of one SELECT in an order in which each can be joined to those before it."""

    def __init__(
        self, select: exp.Select, context: Context, outer: Resolve | None, conjuncts: Iterable[exp.Expr]
    ) -> None:
        from privacy.rows.membership import Memberships  # which reads relations itself

        self._context = context
        self._sources: dict[str, Source] = {}
        self._members: list[Member] = []
        self._optional: set[str] = set()
        self._fixed: set[str] = set()
        self._held: dict[Place, Held] = {}
        self._memberships = Memberships(context, self._resolve)
        self._outer = outer
        self._reader = Reader(self._resolve, subquery=self._memberships.reading)
        self._first_node = select.args["from_"].this
        self._waiting = [node for node in select.args.get("joins", []) if not self._is_membership(node)]
        self._tests = [node for node in select.args.get("joins", []) if self._is_membership(node)]
        where = select.args.get("where")
        self._pool = [*(conjuncts_of(where.this) if where else []), *conjuncts]

    def relation(self) -> Relation:
        for node in self._waiting:
            _check_form(node)
        first, waiting = self._begin()
        inner = [node for node in waiting if node.side != "LEFT"]
        self._pool += [part for node in inner for part in conjuncts_of(node.args.get("on"))]
        everywhere = _equalities(self._pool)
        owner, joins = first.owner, list[Join]()
        while waiting:
            node = self._next(waiting)
            waiting.remove(node)
            joined, owner = self._joined(node, first, owner)
            if owner is not None and (owner.rows or 0) > LARGEST_LIMIT:
                raise _too_many(node, owner)
            joins.append(joined)
        conditions = [condition(self._reader, part).sql for part in self._pool]
        conditions += [self._memberships.joined(node) for node in self._tests]
        self._held = held(self._pool, self._reader.read)  # not before: WHERE itself looks at all rows
        if owner is not None and self._members:
            max_rows, max_groups = limits(self._members, everywhere)
            owner = replace(owner, max_rows=max_rows, max_groups=max_groups) if owner.rows is None else owner
        return Relation(first, tuple(joins), tuple(conditions), owner, self._reader, self._context)

    def _begin(self) -> tuple[Source, list[exp.Join]]:
        """The first source: the first private one, if only inner joins stand before it."""
        waiting = list(self._waiting)
        if self._is_private(self._first_node):
            return self._add(self._first_node), waiting
        for place, node in enumerate(waiting):
            if self._is_private(node.this):
                if node.side == "LEFT":
                    raise _private_not_first(node)
                waiting[place] = exp.Join(this=self._first_node, on=node.args.get("on"))
                return self._add(node.this), waiting
            if node.side == "LEFT":
                break
        return self._add(self._first_node), waiting

    def _is_private(self, node: exp.Expr) -> bool:
        return not isinstance(node, exp.Table) or node.name in self._context.catalog.private_tables

    def _is_membership(self, node: exp.Join) -> bool:
        return node.kind in ("SEMI", "ANTI")

    def _add(self, node: exp.Expr, on: tuple[Equality, ...] = ()) -> Source:
        source, name = self._read(node), node.alias_or_name
        if name in self._sources:
            raise NameRefused(
                f"Two tables are called `{name}`", remedy="Give one of them an alias.", position=position_of(node)
            )
        self._sources[name] = source
        if source.owner is not None:
            self._members.append(Member(name, source.owner, source.key, on))
        return source

    def _read(self, node: exp.Expr) -> Source:
        context = self._context
        if isinstance(node, exp.Subquery):
            return context.read_rows(node, context)
        if isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
            table = context.catalog.tables[node.name]
            alias = context.alias(node.name)
            if isinstance(table, PublicTable):
                return public_source(node.name, table, alias)
            context.private.setdefault(node.name)
            limits = {"max_rows": context.max_rows, "max_groups": context.max_groups}
            return private_source(node.name, table, context.catalog, alias, **limits)
        listed = (
            "Join VALUES to the answer of a sub-query, or write CASE kind WHEN 'test' THEN 1 … END beside the rows."
        )
        raise ConstructRefused(
            f"`{shown(node)}`: only tables of the catalog may be read",
            remedy=listed if isinstance(node, exp.Values) else f"Tables are {', '.join(context.catalog.tables)}.",
            position=position_of(node),
        )

    def _next(self, waiting: list[exp.Join]) -> exp.Join:
        """The first that has an equality with a source that is there; LEFT JOINs keep their place."""
        for node in waiting:
            if node.side == "LEFT":
                return waiting[0]
            if any(self._link(part, node.this.alias_or_name) for part in self._pool):
                return node
        raise _unknown_join(waiting[0])

    def _link(self, part: exp.Expr, name: str) -> tuple[exp.Column, exp.Column] | None:
        """The sides of `part`, if it is an equality of a column of `name` with one of a source that is there."""
        part = part.unnest()
        if not isinstance(part, exp.EQ):
            return None
        left, right = self._bare(part.left), self._bare(part.right)
        if not isinstance(left, exp.Column) or not isinstance(right, exp.Column):
            return None
        sides = {left.table, right.table}
        return (left, right) if len(sides) == 2 and name in sides and sides - {name} <= self._sources.keys() else None

    def _bare(self, node: exp.Expr) -> exp.Expr:
        """`COALESCE(a.person_id, b.person_id)`, which USING makes of three tables, is `a.person_id`."""
        columns = [node.this, *node.expressions] if isinstance(node, exp.Coalesce) else []
        if not columns or not all(isinstance(one, exp.Column) and one.table in self._sources for one in columns):
            return node
        return columns[0] if is_unit(self._reader.read(node)) else node

    def _joined(self, node: exp.Join, first: Source, owner: Owner | None) -> tuple[Join, Owner | None]:
        name, optional = node.this.alias_or_name, node.side == "LEFT"
        own = conjuncts_of(node.args.get("on")) if optional else []
        source = self._add(node.this, tuple(_equalities(own)))
        parts = own
        if not optional:
            parts = [part for part in self._pool if self._link(part, name)]
            self._pool = [part for part in self._pool if part not in parts]
        most = 1
        if source.owner is None:
            most = self._most_matches(node, source, parts)
            owner = owner.multiplied(most) if owner is not None else None
            if most == 1 and all(
                self._is_fixed(column, name) for part in parts for column in part.find_all(exp.Column)
            ):
                self._fixed.add(name)
        elif owner is None or not any(self._same_unit(part, name) for part in parts):
            raise _not_on_the_unit(node, self._sources)
        elif owner.unit != source.owner.unit:
            raise _other_unit(node, owner.unit, source.owner.unit)
        else:
            owner = owner.joined(source.owner, optional=optional)
        on = exp.and_(*(condition(self._reader, part).sql for part in parts), copy=False)
        if optional:
            self._optional.add(name)
        sql = exp.Join(this=source.aliased, on=on, side="LEFT" if optional else None)
        return Join(sql, source, optional, fixed=name in self._fixed, matches=most), owner

    def _most_matches(self, node: exp.Join, source: Source, parts: Sequence[exp.Expr]) -> int:
        """How many rows of a public table one row may meet: conditions on public columns alone only take some away."""
        table = source.origin
        assert isinstance(table, PublicTable)
        names = [own for part in parts if (own := self._own_column(part, node)) is not None]
        if not names:
            raise _unknown_join(node)
        listed = [[_compared(value) for value in table.values(name)] for name in names]
        counts = Counter(row for row in zip(*listed, strict=True) if None not in row)
        return max(counts.values(), default=1)

    def _is_fixed(self, column: exp.Column, joined: str) -> bool:
        """Whether all rows of a unit have the same there, of a condition that joins `joined`."""
        if column.table == joined or column.table in self._fixed:
            return True
        source = self._sources[column.table]
        if source.owner is None or column.table in self._optional:
            return False
        if column.name == PROVINCE and isinstance(source.origin, str):
            return True
        return source.columns[column.name].fixed

    def _own_column(self, part: exp.Expr, node: exp.Join) -> str | None:
        """The column of the joined table in an equality with a column of a source before it."""
        sides = self._link(part, node.this.alias_or_name)
        if sides is None:
            if not all(self._is_public(column) for column in part.find_all(exp.Column)):
                raise _unknown_join(node)
            return None
        if any(self._reader.read(side).facts.identifier for side in sides):
            raise _unknown_join(node)
        return next(side.name for side in sides if side.table == node.this.alias_or_name)

    def _is_public(self, column: exp.Column) -> bool:
        return column.table in self._sources and self._sources[column.table].owner is None

    def _same_unit(self, part: exp.Expr, name: str) -> bool:
        sides = self._link(part, name)
        return sides is not None and all(is_unit(self._reader.read(side)) for side in sides)

    def _resolve(self, node: exp.Column) -> Reading:
        reading = _known(node, self._sources, self._optional, self._outer)
        left = self._held.get((node.table, node.name))
        return within(reading, left) if left is not None else reading


def _equalities(parts: Iterable[exp.Expr]) -> list[Equality]:
    """Those of two columns."""
    pairs = [(part.left, part.right) for part in (part.unnest() for part in parts) if isinstance(part, exp.EQ)]
    return [
        ((left.table, left.name), (right.table, right.name))
        for left, right in pairs
        if isinstance(left, exp.Column) and isinstance(right, exp.Column)
    ]


def _compared(value: object) -> object:
    """Alike for all that an engine may take as equal: an integer beside a DOUBLE is rounded, NaN is itself."""
    return repr(float(value)) if isinstance(value, int | float) and value != 0 else value


def is_unit(reading: Reading) -> bool:
    """Whether it is the identifier of the row's unit, on every row."""
    return is_identifier(reading.facts)


def is_identifier(facts: Facts) -> bool:
    return bool(facts.identifier) and not facts.nullable


def _known(node: exp.Column, sources: Mapping[str, Source], optional: set[str], outer: Resolve | None) -> Reading:
    source = sources.get(node.table)
    if source is None:
        if outer is None:
            raise ConstructRefused(
                f"`{shown(node)}` is a column of the query around this one; only EXISTS may look there",
                remedy="Join the tables on the unit instead.",
                position=position_of(node),
            )
        return outer(node)
    may_be_missing = node.table in optional
    if node.name == PROVINCE and source.owner is not None and isinstance(source.origin, str):
        return _province(source, may_be_missing=may_be_missing)
    known = source.columns[node.name].facts
    return Reading(column_at(node.name, source.alias, node), known.or_null() if may_be_missing else known)


def _province(source: Source, *, may_be_missing: bool) -> Reading:
    if not may_be_missing:
        return Reading(province_column(), Facts("VARCHAR"))
    there = exp.Not(this=exp.Is(this=source.column(source.unit), expression=exp.Null()))
    return Reading(exp.Case(ifs=[exp.If(this=there, true=province_column())]), Facts("VARCHAR", nullable=True))


def conjuncts_of(node: exp.Expr | None) -> list[exp.Expr]:
    """The conditions that must all hold: `a.x = b.x AND y OR a.x = b.x AND z` has two, `a.x = b.x` and `y OR z`."""
    if node is None:
        return []
    bare = node.unnest()
    if isinstance(bare, exp.And):
        return [part for side in bare.flatten() for part in conjuncts_of(side)]
    return (_common(bare) if isinstance(bare, exp.Or) else []) or [node]


def _common(either: exp.Or) -> list[exp.Expr]:
    """What all sides of an OR ask for, if there is such, and the rest of it; the laws hold for NULLs too."""
    sides = [[part.unnest() for part in conjuncts_of(side)] for side in either.flatten()]
    common = [part for part in sides[0] if all(part in side for side in sides[1:])]
    if not common:
        return []
    rests = [[part for part in side if part not in common] for side in sides]
    return [*common, exp.or_(*(exp.and_(*rest) for rest in rests))] if all(rests) else common


def _check_form(node: exp.Join) -> None:
    given = {name for name, value in node.args.items() if value} - {"this", "on", "side", "kind"}
    if given or node.kind not in _PLAIN or node.side not in ("", "LEFT"):
        raise _unknown_join(node)
    if node.side == "LEFT" and node.args.get("on") is None:
        raise _unknown_join(node)


def _too_many(node: exp.Join, owner: Owner) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(node)}`: the joins could make {owner.rows:,} rows of one {owner.unit}; at most {LARGEST_LIMIT:,} are "
        "answered",
        remedy="Join on columns that fewer rows share.",
        position=position_of(node),
    )


def _unknown_join(node: exp.Join) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(node)}`: this join is not answered",
        remedy="Write [LEFT] JOIN public_table ON private.column = public_table.column, or join private tables on the "
        "unit.",
        position=position_of(node),
    )


def _not_on_the_unit(node: exp.Join, sources: Mapping[str, Source]) -> ConstructRefused:
    owned = [f"{name}.{source.unit}" for name, source in sources.items() if isinstance(source.origin, str)]
    ends = f"{owned[0]} = {owned[-1]}" if len(owned) > 1 else "a.person_id = b.person_id"
    return ConstructRefused(
        f"`{shown(node)}`: private tables can be joined on the unit only",
        remedy=f"Add {ends}, with the identifiers of both; further conditions may stand beside it.",
        position=position_of(node),
    )


def _other_unit(node: exp.Join, unit: str, other: str) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(node)}` joins rows of a {unit} with rows of a {other}",
        remedy="Tables with different units cannot be joined: ask about each.",
        position=position_of(node),
    )


def _private_not_first(node: exp.Join) -> ConstructRefused:
    return ConstructRefused(
        f"`{shown(node)}`: the private table must come first",
        remedy="Write FROM visits JOIN …; keys that no row has are answered all the same.",
        position=position_of(node),
    )
