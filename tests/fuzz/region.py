"""The corpus federation in one process: nodes' engines, noise and coordinator without daemons, ledgers or wires."""

from __future__ import annotations

from dataclasses import dataclass, field

import duckdb
import pandas as pd

from coordinator.above import computed
from coordinator.rest import RestEngine
from privacy.bounding import bounded_sql
from privacy.fragment import Plan
from privacy.noise import noisy
from tests.federation.corpus_federation import BY_NODE, PROVINCES, fill

_OWN = "SELECT * EXCLUDE (province) REPLACE ({wide}::BIGINT AS {wide}) FROM rows WHERE province = '{province}'"


@dataclass(frozen=True)
class Answered:
    """As much of `weir.Answer` as tests/federation/compare.py looks at."""

    rows: pd.DataFrame
    errors: pd.DataFrame
    notes: tuple[str, ...]

    def df(self) -> pd.DataFrame:
        return self.rows

    def standard_errors(self) -> pd.DataFrame:
        return self.errors


@dataclass
class Region:
    """Four nodes, and plain DuckDB over what each holds: a person is another one in each (tests/corpus/README.md)."""

    people: int
    plain: duckdb.DuckDBPyConnection = field(default_factory=duckdb.connect)
    nodes: dict[str, duckdb.DuckDBPyConnection] = field(default_factory=dict)
    rest: RestEngine = field(default_factory=RestEngine)

    def __post_init__(self) -> None:
        with duckdb.connect() as union:
            fill(union, self.people)
            self.nodes = {province: duckdb.connect() for province in PROVINCES}
            for table, wide in (("visits", "age"), ("residents", "birth_year"), ("hospitals", "level")):
                rows = union.table(table).to_arrow_table()
                assert rows.num_rows
                self.plain.execute(f"CREATE TABLE {table} AS {'FROM rows' if table == 'hospitals' else BY_NODE}")
                for province, node in self.nodes.items():
                    public = f"SELECT * REPLACE ({wide}::BIGINT AS {wide}) FROM rows"
                    own = public if table == "hospitals" else _OWN.format(wide=wide, province=province)
                    node.execute(f"CREATE TABLE {table} AS {own}")

    def answer(self, plan: Plan) -> Answered:
        """What the daemons would answer."""
        releases = {
            province: {
                block: noisy(fragment, self.nodes[province].sql(bounded_sql(fragment, secret="00")).to_arrow_table())
                for block, fragment in blocks.items()
            }
            for province, blocks in plan.asked.items()
        }
        done = computed(self.rest, plan, releases, seed=1, timeout_s=60)
        return Answered(
            done.rows.to_pandas(date_as_object=False), done.bars.standard_errors.to_pandas(), (*plan.notes, *done.notes)
        )
