"""Small nodes for tests: a catalog, data written by DuckDB, a node.toml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from node.exact import ATTO, NANO, rounded_down
from node.guard import Asked
from node.ledger import Ledger, Purpose
from node.policy import BudgetPolicy
from privacy.accounting import Charge
from privacy.catalog import Catalog, parse_catalog
from privacy.fragment import MERGED
from privacy.planner import Planner
from privacy.request import Request

CATALOG = """
[region]
name = "Test"
version = "1"
description = { en = "Two provinces", zh = "两省" }
provinces = ["east", "west"]

[tables.visits]
access = "private"
description = { en = "Visits", zh = "就诊" }
unit = "person"
unit_column = "person_id"
span = 2
max_rows = 3
max_groups = 2

[tables.visits.columns]
person_id = { type = "BIGINT", description = { en = "Person", zh = "人员" } }
age = { type = "INTEGER", bounds = [0, 100], description = { en = "Age", zh = "年龄" } }
sex = { type = "VARCHAR", values = ["F", "M"], fixed_per_unit = true, description = { en = "Sex", zh = "性别" } }
cost = { type = "DOUBLE", bounds = [0, 1000], grid = 0.01, description = { en = "Cost", zh = "费用" } }
day = { type = "DATE", range = [2023-01-01, 2024-12-31], description = { en = "Day", zh = "日期" } }
kind = { type = "VARCHAR", values = ["inpatient", "outpatient"], description = { en = "Kind", zh = "类别" } }

[tables.residents]
access = "private"
description = { en = "Residents", zh = "居民" }
unit = "person"
unit_column = "person_id"
span = 1
rows_per_unit = 1

[tables.residents.columns]
person_id = { type = "BIGINT", description = { en = "Person", zh = "人员" } }
insured = { type = "BOOLEAN", description = { en = "Insured", zh = "参保" } }

[tables.hospitals]
access = "public"
description = { en = "Hospitals", zh = "医院" }
rows = [["A", 1], ["B", 2]]

[tables.hospitals.columns]
hospital = { type = "VARCHAR", description = { en = "Code", zh = "代码" } }
level = { type = "INTEGER", description = { en = "Level", zh = "等级" } }
"""

VISITS = """
SELECT i // 2 AS person_id, (i % 90)::INTEGER AS age, ['F', 'M'][1 + (i // 2) % 2] AS sex,
    (i % 1000)::DOUBLE AS cost, DATE '2023-01-01' + (i % 700)::INTEGER AS day,
    ['inpatient', 'outpatient'][1 + i % 2] AS kind FROM range(400) t(i)
"""
RESIDENTS = "SELECT i AS person_id, i % 3 = 0 AS insured FROM range(200) t(i)"

NODE = """
province = "east"
catalog = "../catalog.toml"
listen = "127.0.0.1:0"
ledger = "../state/east.ledger"

[engine]
memory_limit = "500MB"

[budget]
epsilon_total = 5.0
epsilon_per_query = 2.0

[tables.visits]
files = ["../data/visits*.parquet"]

[tables.residents]
files = ["../data/residents.parquet"]
"""


PURPOSE = Purpose("default", "visits", 1, 2)
NOW_S = 1_900_000_000.0  # 2030-03-17


def policy(total: float = 1.0, *, delta: float = 1e-6, **more: Any) -> BudgetPolicy:
    return BudgetPolicy(rounded_down(total, NANO), rounded_down(delta, ATTO), **more)


def open_ledger(path: Path, *, total: float = 1.0, province: str = "east", **more: Any) -> Ledger:
    """A ledger whose clock stands still; `more` may bring another clock, policy or key."""
    more = {"policy": policy(total), "clock": lambda: NOW_S} | more
    return Ledger(path, province=province, **more)


def pure(epsilon: float) -> Charge:
    return Charge(epsilon=epsilon)


@dataclass(frozen=True)
class Folder:
    """A federation folder with one node."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "nodes" / "east.toml"

    @property
    def data(self) -> Path:
        return self.path / "data"

    def edit(self, old: str, new: str) -> None:
        """Change node.toml; `old` must be there."""
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))


def catalog() -> Catalog:
    return parse_catalog(CATALOG, source="catalog.toml")


def make_folder(path: Path, *, visits: str = VISITS, residents: str = RESIDENTS) -> Folder:
    """Catalog, data and node.toml below `path`; the arguments are SQL for the rows."""
    folder = Folder(path)
    folder.config.parent.mkdir(parents=True)
    folder.data.mkdir()
    (path / "catalog.toml").write_text(CATALOG, encoding="utf-8")
    folder.config.write_text(NODE)
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({visits}) TO '{folder.data / 'visits.parquet'}'")
        connection.execute(f"COPY ({residents}) TO '{folder.data / 'residents.parquet'}'")
    return folder


def asked(
    sql: str,
    *,
    epsilon: float = 1.0,
    province: str = "east",
    block: str = MERGED,
    expires_unix_s: int = 2_000_000_000,
    **more: Any,
) -> Asked:
    """What an honest coordinator sends for a block of `sql`; with δ = 0 unless told otherwise, so that the noise is Laplace."""
    more = {"delta": 0.0} | more
    request = Request.new(sql, epsilon=epsilon, nonce="0" * 32, expires_unix_s=expires_unix_s, **more)
    fragment = Planner(catalog()).plan(request).asked[province][block]
    return Asked(request.encode(), block, fragment, catalog().digest)
