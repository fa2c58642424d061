"""Two provinces with one small table of each kind, and neighbouring data: with and without one heavy person.

The person has more rows than count, in every group, at the ends of every range, so that whatever bounding promises is
just reached and whatever it forgets shows.
"""

from __future__ import annotations

import pyarrow as pa

from privacy.catalog import Catalog, parse_catalog

TARGET = 7
CATALOG = """
[region]
name = "Clinic"
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
ward = { type = "VARCHAR", values = ["A", "B", "C", "D", "E", "F"], description = { en = "Ward", zh = "病区" } }
shift = { type = "VARCHAR", values = ["day", "night"], description = { en = "Shift", zh = "班次" } }
sex = { type = "VARCHAR", values = ["F", "M"], fixed_per_unit = true, description = { en = "Sex", zh = "性别" } }
urgent = { type = "BOOLEAN", description = { en = "Urgent", zh = "急诊" } }
cost = { type = "DOUBLE", bounds = [0, 10], grid = 0.5, description = { en = "Cost", zh = "费用" } }
score = { type = "DOUBLE", bounds = [-4, 6], grid = 1, description = { en = "Score", zh = "评分" } }

[tables.residents]
access = "private"
description = { en = "Residents", zh = "居民" }
unit = "person"
unit_column = "person_id"
span = 1
rows_per_unit = 1

[tables.residents.columns]
person_id = { type = "BIGINT", description = { en = "Person", zh = "人员" } }
age = { type = "INTEGER", bounds = [0, 100], description = { en = "Age", zh = "年龄" } }
city = { type = "VARCHAR", values = ["X", "Y"], description = { en = "City", zh = "城市" } }
insured = { type = "BOOLEAN", description = { en = "Insured", zh = "参保" } }

[tables.hospitals]
access = "public"
description = { en = "Hospitals", zh = "医院" }
rows = [["P", "X", 1], ["Q", "X", 1], ["R", "Y", 2]]

[tables.hospitals.columns]
hospital = { type = "VARCHAR", description = { en = "Code", zh = "代码" } }
city = { type = "VARCHAR", description = { en = "City", zh = "城市" } }
level = { type = "INTEGER", description = { en = "Level", zh = "等级" } }
"""

STANDARD: Catalog = parse_catalog(CATALOG, source="clinic.toml")

_VISITS = pa.schema(
    [
        ("person_id", pa.int64()),
        ("ward", pa.string()),
        ("shift", pa.string()),
        ("sex", pa.string()),
        ("urgent", pa.bool_()),
        ("cost", pa.float64()),
        ("score", pa.float64()),
    ]
)
_RESIDENTS = pa.schema([("person_id", pa.int64()), ("age", pa.int32()), ("city", pa.string()), ("insured", pa.bool_())])


def tables(*, target: bool) -> dict[str, pa.Table]:
    """The rows of one node. Three others are there always; wards C to F are the target's alone."""
    visits = [
        (person, ward, shift, "F", person == 1, 2.0 * person, float(person))
        for person in (1, 2, 3)
        for ward in ("A", "B")
        for shift in ("day", "night")
    ]
    residents = [(person, 20 * person, "XY"[person % 2], True) for person in (1, 2, 3)]
    if target:
        # Values beyond the bounds are clamped by the node's views.
        heavy = [(ward, shift, urgent) for ward in "ABCDEF" for shift in ("day", "night") for urgent in (True, False)]
        visits += [(TARGET, *place[:2], "M", place[2], 1e6, 6.0) for place in heavy for _ in range(5)]
        residents += [(TARGET, 10**6, "X", True)]
    return {"visits": _table(_VISITS, visits), "residents": _table(_RESIDENTS, residents)}


def _table(schema: pa.Schema, rows: list[tuple[object, ...]]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)
