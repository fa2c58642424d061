"""Which sums a snapshot holds ready: from the keys and aggregates that an operator names, as the planner reads them.

What is stored is what fragments ask for, because both come from the planner: `AVG(cost)` becomes the centred integers
of its grid here as it does in a query.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import sqlglot
from sqlglot import exp

from privacy.catalog import Catalog, PrivateTable
from privacy.dialect import DUCKDB
from privacy.errors import ConfigError, QueryRefused
from privacy.fragment import Block, Fragment
from privacy.planner import Planner
from privacy.request import Request
from privacy.unit_sums import MOST_PLACES, UnitSums

_SUMMED = frozenset({"INTEGER", "BIGINT", "DOUBLE"})


@dataclass(frozen=True)
class Stored:
    """A table of sums to be made, and the groups of its keys where they have places: columns `#k0` …, `#place`."""

    sums: UnitSums
    places: pa.Table | None


def layout(
    catalog: Catalog, *, province: str, table: str, keys: Sequence[Sequence[str]], aggregates: Sequence[str]
) -> tuple[Stored, ...]:
    """The tables of sums of one private table: one without keys, and one for each of `keys`.

    Each holds what COUNT(*), and AVG, SUM and COUNT of every bounded number ask for, and what `aggregates` do.

    Args:
        keys: SQL of the keys of each table, for example `[["kind"], ["hospital", "kind"]]`.
        aggregates: SQL, for example `STDDEV_SAMP(cost)`.

    Raises:
        ConfigError: a key or an aggregate is not answered over this table; says why.
    """
    private = catalog.private_tables[table]
    planner = _Planned(Planner(catalog), province, table)
    sums, counts = planner.inputs([*_usual(private), *aggregates])
    fixed = tuple(
        name for name, column in private.columns.items() if column.fixed_per_unit and name != private.unit_column
    )
    found = []
    for number, names in enumerate([(), *dict.fromkeys(map(tuple, keys))]):
        expressions, cells = planner.keys(names) if names else ((), None)
        name = f"#{table}_{number}"
        places = f"{name}_places" if cells is not None else None
        stored = UnitSums(name, table, private.unit_column, expressions, fixed, sums, counts, places)
        found.append(Stored(stored, _places(cells) if cells is not None else None))
    return tuple(found)


def _usual(table: PrivateTable) -> Iterator[str]:
    yield "COUNT(*)"
    for name, column in table.columns.items():
        if name != table.unit_column and column.type in _SUMMED and column.bounds is not None:
            yield from (f"{aggregate}({name})" for aggregate in ("AVG", "SUM", "COUNT"))


def _places(cells: pa.Table) -> pa.Table:
    columns = {f"#k{number}": column for number, column in enumerate(cells.columns)}
    return pa.table(columns | {"#place": pa.array(range(cells.num_rows), pa.int32())})


@dataclass(frozen=True)
class _Planned:
    planner: Planner
    province: str
    table: str

    def inputs(self, aggregates: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What is summed and what is counted for the aggregates, once each.

        Each is planned by itself and beside a count, which may make a centred sum of it.
        """
        sums: dict[str, None] = {}
        counts: dict[str, None] = {}
        for aggregate in [text for one in aggregates for text in (one, f"COUNT(*), {one}")]:
            fragment = self._fragment([aggregate])
            inputs = _expressions(fragment)
            for measure in fragment.finest:
                if measure.kind == "tree":
                    raise ConfigError(f"{aggregate} has no sum of each {fragment.unit}.", remedy="Leave it out.")
                if measure.input is not None:
                    (sums if measure.kind == "sum" else counts)[inputs[measure.input]] = None
        return tuple(sums), tuple(counts)

    def keys(self, names: Sequence[str]) -> tuple[tuple[str, ...], pa.Table | None]:
        """The keys' SQL, and all their groups where these are public and few."""
        fragment = self._fragment(["COUNT(*)"], names)
        expressions = _expressions(fragment)
        listed = fragment.threshold is None and fragment.cell_count <= MOST_PLACES
        return tuple(expressions[key.name] for key in fragment.keys), fragment.cells if listed else None

    def _fragment(self, aggregates: Sequence[str], keys: Sequence[str] = ()) -> Fragment:
        return planned_block(self.planner, self.table, aggregates, keys=keys).fragments[self.province]


def planned_block(
    planner: Planner, table: str, aggregates: Sequence[str], *, keys: Sequence[str] = (), epsilon: float = 1.0
) -> Block:
    """The one block of a query that an operator's tool asks, by `keys`; nothing is released for it.

    Raises:
        ConfigError: it is not answered; says why.
    """
    grouped = f" GROUP BY {', '.join(keys)}" if keys else ""
    sql = f"SELECT {', '.join([*keys, *aggregates])} FROM {table}{grouped}"
    request = Request.new(sql, epsilon=epsilon, nonce="0" * 32, expires_unix_s=0)
    try:
        (block,) = planner.plan(request).blocks
    except QueryRefused as refusal:
        raise ConfigError(f"{sql}: {refusal.message}", remedy=refusal.remedy) from None
    return block


def _expressions(fragment: Fragment) -> dict[str, str]:
    """SQL by column of the relation."""
    read = sqlglot.parse_one(fragment.relation, dialect=DUCKDB)
    assert isinstance(read, exp.Select)
    return {item.alias: item.unalias().sql(dialect=DUCKDB) for item in read.selects}
