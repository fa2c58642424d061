"""Sums of each unit and group that a snapshot holds ready, and the fragments that can be computed from them.

A stored table is the inner aggregate of privacy/bounding.py, done once for all rows of one private table: for each unit
and group of its keys the number of rows, and sums and counts of some expressions. A fragment is computed from it where

- its relation reads that table alone, with no join, sub-query or window,
- its keys are the stored ones, beside expressions of columns that are fixed per unit,
- its WHERE speaks of nothing else, and
- the inputs of its measures are stored.

Then the rows of one unit and group pass the WHERE together or not at all, so a stored sum is the sum of the rows that
pass: the integers are those that bounding comes to from the rows, and so is what they leak.

Which groups a unit keeps is decided by a keyed hash among its groups that pass the WHERE. `#rank` is the place in that
order among all of its groups, so it decides where the WHERE holds for all groups of a unit or for none. Where the WHERE
speaks of keys, and these have at most `MOST_PLACES` groups, bit p of `#before` says that the unit has the group of
place p and that it comes earlier: `BIT_COUNT(#before & passing)` is how many earlier groups pass. Groups that nobody
listed share one bit that always passes, so that at most `max_groups` listed ones are kept. Else a window ranks what
passes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import sqlglot
from sqlglot import exp

from privacy.dialect import DUCKDB
from privacy.fragment import Fragment, Measure
from privacy.rows.relation import conjuncts_of

MOST_PLACES = 62  # bits 0 to 61 of a BIGINT; bit 62 stands for the groups that are not listed
_CLAUSES = frozenset({"kind", "expressions", "from_", "where"})


@dataclass(frozen=True)
class UnitSums:
    """A stored table, of columns `#unit`, `#k0` …, `fixed`, `#rows`, `#s0` …, `#n0` …, `#rank` and perhaps `#before`.

    Attributes:
        name: in its file, until `within` makes it what engine finds it by.
        table: the private table whose rows it sums.
        unit: the table's column that identifies the unit.
        keys: SQL of `#k0` …, for example `visits.kind`; none where there is one group.
        fixed: columns of the table that are fixed per unit.
        sums: SQL of the expressions whose sums are `#s0` ….
        counts: SQL of the expressions whose values that are not NULL are counted in `#n0` ….
        places: the table of the groups' places, `#k0` … and `#place`; None where there is none.
    """

    name: str
    table: str
    unit: str
    keys: tuple[str, ...]
    fixed: tuple[str, ...]
    sums: tuple[str, ...]
    counts: tuple[str, ...]
    places: str | None = None

    def within(self, database: str) -> UnitSums:
        """The same table where the engine knows the file by the name `database`."""
        places = self.places and f"{_quoted(database)}.{_quoted(self.places)}"
        return replace(self, name=f"{_quoted(database)}.{_quoted(self.name)}", places=places)

    @property
    def reason(self) -> str:
        """What is ready, in words."""
        by = f" by {', '.join(self.keys)}" if self.keys else ""
        return f"sums of each {self.unit}{by}, made with the snapshot".replace("*/", "* /")


def unit_sums_sql(sums: UnitSums, *, rows: str, secret: str) -> str:
    """The SELECT (DuckDB dialect) that makes the table.

    Args:
        rows: what stands behind FROM to read the rows of `sums.table`.
        secret: as in `bounding.bounded_sql`.
    """
    keys = [_key(number) for number, _ in enumerate(sums.keys)]
    columns = [f"{sums.table}.{_quoted(sums.unit)} AS {_UNIT}"]
    columns += [f"{sql} AS {key}" for sql, key in zip(sums.keys, keys, strict=True)]
    columns += [f"MIN({sums.table}.{_quoted(name)}) AS {_quoted(name)}" for name in sums.fixed]
    columns += [f"COUNT(*) AS {_ROWS}"]
    columns += [f"CAST(SUM({sql}) AS BIGINT) AS {_sum(number)}" for number, sql in enumerate(sums.sums)]
    columns += [f"COUNT({sql}) AS {_count(number)}" for number, sql in enumerate(sums.counts)]
    group = ", ".join(str(place) for place in range(1, len(keys) + 2))
    summed = f"SELECT {', '.join(columns)} FROM {rows} AS {sums.table} GROUP BY {group}"
    if not keys:
        return f"SELECT *, 1 AS {_RANK} FROM ({summed})"
    order = f"HASH({_UNIT}, {', '.join(keys)}, '{secret}'), {', '.join(keys)}"  # as bounding orders them
    ranked = f"SELECT *, ROW_NUMBER() OVER (PARTITION BY {_UNIT} ORDER BY {order}) AS {_RANK} FROM ({summed})"
    if sums.places is None:
        return ranked
    same = " AND ".join(f"r.{key} IS NOT DISTINCT FROM p.{key}" for key in keys)
    earlier = f"PARTITION BY {_UNIT} ORDER BY {_RANK} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
    bit = f"CAST(1 AS BIGINT) << COALESCE({_PLACE}, {MOST_PLACES})"
    before = f"COALESCE(BIT_OR({bit}) OVER ({earlier}), 0)"
    return f"SELECT r.*, {before} AS {_BEFORE} FROM ({ranked}) AS r LEFT JOIN {sums.places} AS p ON {same}"


class Ready:
    """What the tables `stored` hold ready of one fragment: chosen by what they hold, never by the data."""

    def __init__(self, fragment: Fragment, stored: Iterable[UnitSums]) -> None:
        self._fragment = fragment
        self._tables = [sums for sums in stored if (sums.table,) == fragment.tables]

    @cached_property
    def _relation(self) -> exp.Expr:
        return sqlglot.parse_one(self._fragment.relation, dialect=DUCKDB)

    def per_unit(self) -> str | None:
        """`bounding._per_unit` from one of the tables; None where none of them has what it takes."""
        if not self._tables or any(measure.kind == "tree" for measure in self._fragment.measures):
            return None
        read = self._relation
        if not isinstance(read, exp.Select) or not _is_plain(read):
            return None
        found = (_Reading(read, sums).per_unit(self._fragment) for sums in self._tables)
        return next((sql for sql in found if sql is not None), None)

    def units_with_more_rows(self, least: int) -> str | None:
        """SELECT of the units, as `unit`, that have more than `least` rows in the whole table that the fragment reads.

        These are all that have more in its relation: with no join a row gives one at most. None where that is not so.
        """
        sums = next((sums for sums in self._tables if not sums.keys), None)
        if sums is None or len(list(self._relation.find_all(exp.Table))) != 1:
            return None
        if self._relation.find(exp.Join, exp.SetOperation, exp.Lateral, exp.Unnest):
            return None
        return f"SELECT HASH({_UNIT}) AS unit FROM {sums.name} WHERE {_ROWS} > {least}"


_UNIT, _ROWS, _RANK, _BEFORE, _PLACE = '"#unit"', '"#rows"', '"#rank"', '"#before"', '"#place"'


@dataclass(frozen=True)
class _Reading:
    """A plain relation, read as one of a stored table."""

    relation: exp.Select
    sums: UnitSums

    def per_unit(self, fragment: Fragment) -> str | None:
        inputs = {item.alias: item.unalias() for item in self.relation.selects}
        where = self.relation.args.get("where")
        keys = [self._over_stored(inputs[key.name]) for key in fragment.keys]
        tests = [self._over_stored(test) for test in conjuncts_of(where and where.this)]
        own = [self._own(measure, inputs) for measure in fragment.finest if _has_sum(measure)]
        if not self._is_group(keys) or None in tests or None in own:
            return None
        columns = [f"{_UNIT} AS u"]
        columns += [f"{_sql(node)} AS {key.name}" for node, key in zip(keys, fragment.keys, strict=True) if node]
        columns += [column for column in own if column is not None]
        passing = [test for test in tests if test is not None]
        if fragment.bounding.form == "clip_and_limit":
            columns.append(f"{self._kept(fragment.bounding.max_groups, passing)} AS kept")
        return f"SELECT {', '.join(columns)} FROM {self.sums.name} /* {self.sums.reason} */{_where(passing)}"

    def _own(self, measure: Measure, inputs: dict[str, exp.Expr]) -> str | None:
        """One unit's own sum, as `bounding` names it."""
        if measure.input is None:
            return f"{_ROWS} AS u_{measure.name}"
        sql = _sql(inputs[measure.input])
        known, column = (self.sums.sums, _sum) if measure.kind == "sum" else (self.sums.counts, _count)
        return f"{column(known.index(sql))} AS u_{measure.name}" if sql in known else None

    def _over_stored(self, node: exp.Expr) -> exp.Expr | None:
        """The expression over the stored columns; None where it needs others."""

        def replaced(part: exp.Expr) -> exp.Expr:
            sql = _sql(part)
            if sql in self.sums.keys:
                return _column(f"#k{self.sums.keys.index(sql)}")
            return _column(part.name) if isinstance(part, exp.Column) and part.name in self.sums.fixed else part

        over = node.copy().transform(replaced)
        return None if any(column.table for column in over.find_all(exp.Column)) else over

    def _is_group(self, keys: list[exp.Expr | None]) -> bool:
        """Whether a group of the fragment is one of the stored table: all its keys are there, others are fixed."""
        whole = {f"#k{number}" for number, _ in enumerate(self.sums.keys)}
        shown = {node.name for node in keys if isinstance(node, exp.Column)}
        others = [node for node in keys if node is not None and not isinstance(node, exp.Column)]
        return None not in keys and whole <= shown and not any(map(_names_a_key, others))

    def _kept(self, max_groups: int, tests: list[exp.Expr]) -> str:
        """Whether a group is among the `max_groups` first of its unit's that pass the tests."""
        by_key = [test for test in tests if _names_a_key(test)]
        if not by_key:
            return f"{_RANK} <= {max_groups}"
        if self.sums.places is None or any(_names_more_than_keys(test) for test in by_key):
            return f"ROW_NUMBER() OVER (PARTITION BY {_UNIT} ORDER BY {_RANK}) <= {max_groups}"
        bits = f"SELECT BIT_OR(CAST(1 AS BIGINT) << {_PLACE}) FROM {self.sums.places}{_where(by_key)}"
        unlisted = f"CAST(1 AS BIGINT) << {MOST_PLACES}"
        return f"BIT_COUNT({_BEFORE} & (COALESCE(({bits}), 0) | ({unlisted}))) < {max_groups}"


def _is_plain(read: exp.Select) -> bool:
    """One table, its rows and a condition on them."""
    if any(value and clause not in _CLAUSES for clause, value in read.args.items()):
        return False
    one = all(node is read for node in read.find_all(exp.Window, exp.Query))
    return one and isinstance(read.args["from_"].this, exp.Table)


def _has_sum(measure: Measure) -> bool:
    return measure.kind != "units" or measure.input is not None


def _where(tests: list[exp.Expr]) -> str:
    return f" WHERE {' AND '.join(f'({_sql(test)})' for test in tests)}" if tests else ""


def _names_a_key(node: exp.Expr) -> bool:
    return any(column.name.startswith("#k") for column in node.find_all(exp.Column))


def _names_more_than_keys(node: exp.Expr) -> bool:
    return any(not column.name.startswith("#k") for column in node.find_all(exp.Column))


def _column(name: str) -> exp.Column:
    return exp.column(exp.to_identifier(name, quoted=True))


def _key(number: int) -> str:
    return f'"#k{number}"'


def _sum(number: int) -> str:
    return f'"#s{number}"'


def _count(number: int) -> str:
    return f'"#n{number}"'


def _sql(node: exp.Expr) -> str:
    return node.sql(dialect=DUCKDB)


def _quoted(name: str) -> str:
    return exp.to_identifier(name, quoted=True).sql(dialect=DUCKDB)
