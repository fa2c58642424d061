"""Nested queries at random over small tables with ties, NULLs and heavy units: for the tests of privacy/rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import duckdb
from hypothesis import strategies as st

from privacy.binding import Names, bind
from privacy.catalog import Catalog, parse_catalog
from privacy.fragment import Fragment
from privacy.parsing import parse
from privacy.planner import Planner
from privacy.request import Request
from privacy.rows.relation import Context
from privacy.rows.source import Source
from privacy.rows.subquery import read_rows

CATALOG = """
[region]
name = "Nest"
version = "1"
description = { en = "Two provinces", zh = "两省" }
provinces = ["east", "west"]

[tables.visits]
access = "private"
description = { en = "Visits", zh = "就诊" }
unit = "person"
unit_column = "person_id"
span = 2
max_rows = 1000
max_groups = 1000

[tables.visits.columns]
person_id = { type = "BIGINT", description = { en = "Person", zh = "人员" } }
visit = { type = "INTEGER", bounds = [0, 200], description = { en = "Number of the visit", zh = "序号" } }
kind = { type = "VARCHAR", values = ["a", "b", "c"], nullable = true, description = { en = "Kind", zh = "类别" } }
cost = { type = "DOUBLE", bounds = [0, 10], grid = 0.5, nullable = true, description = { en = "Cost", zh = "费用" } }
age = { type = "INTEGER", bounds = [0, 6], description = { en = "Age", zh = "年龄" } }
urgent = { type = "BOOLEAN", nullable = true, description = { en = "Urgent", zh = "急诊" } }
sex = { type = "VARCHAR", values = ["F", "M"], fixed_per_unit = true, description = { en = "Sex", zh = "性别" } }
ward = { type = "VARCHAR", references = "wards.ward", description = { en = "Ward", zh = "病区" } }

[tables.residents]
access = "private"
description = { en = "Residents", zh = "居民" }
unit = "person"
unit_column = "person_id"
span = 1
rows_per_unit = 1

[tables.residents.columns]
person_id = { type = "BIGINT", description = { en = "Person", zh = "人员" } }
born = { type = "INTEGER", bounds = [0, 6], description = { en = "Year of birth", zh = "出生年份" } }
city = { type = "VARCHAR", values = ["X", "Y"], nullable = true, description = { en = "City", zh = "城市" } }

[tables.firms]
access = "private"
description = { en = "Firms", zh = "企业" }
unit = "firm"
unit_column = "firm_id"
span = 1
rows_per_unit = 1

[tables.firms.columns]
firm_id = { type = "BIGINT", description = { en = "Firm", zh = "企业" } }

[tables.wards]
access = "public"
description = { en = "Wards", zh = "病区" }
rows = [["P", "X", 1], ["Q", "X", 1], ["R", "Y", 2]]

[tables.wards.columns]
ward = { type = "VARCHAR", description = { en = "Code", zh = "代码" } }
city = { type = "VARCHAR", description = { en = "City", zh = "城市" } }
level = { type = "INTEGER", description = { en = "Level", zh = "等级" } }
"""
STANDARD: Catalog = parse_catalog(CATALOG, source="nest.toml")
PLANNER = Planner(STANDARD)
LARGE = 1000  # more rows than any unit has

Visit = tuple[int, object, object, int, object, str]
People = dict[int, tuple[list[Visit], tuple[int, object] | None]]


def planned(sql: str, **limits: int) -> Fragment:
    """What the node of one province is asked."""
    request = Request.new(sql, epsilon=1.0, delta=0.0, nonce="0" * 32, expires_unix_s=2**40, options=dict(limits))
    return PLANNER.plan(request).blocks[0].fragments["east"]


def source_of(sql: str, *, limit: int = LARGE) -> Source:
    """The rows of a nested query, as the planner reads them."""
    bound = bind(parse(f"SELECT COUNT(*) FROM ({sql}) AS s").query, Names(STANDARD))
    context = Context(STANDARD, limit, limit, read_rows)
    return read_rows(bound.args["from_"].this, context)


# Data

_visit = st.tuples(
    st.integers(0, 2),
    st.sampled_from(["a", "b", "c", None]),
    st.sampled_from([0, 0.5, 3, 10, None]),
    st.integers(0, 6),
    st.sampled_from([True, False, None]),
    st.sampled_from("PQR"),
)
_resident = st.none() | st.tuples(st.integers(0, 6), st.sampled_from(["X", "Y", None]))


def people(units: Sequence[int] = (1, 2, 3), most: int = 5) -> st.SearchStrategy[People]:
    """By person, visits and the row among the residents. Some visits tie in all but their number, if `same` they tie."""
    return st.fixed_dictionaries({unit: st.tuples(st.lists(_visit, max_size=most), _resident) for unit in units})


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    engine = duckdb.connect(":memory:", config={"threads": 1})
    engine.execute(
        "CREATE TABLE visits (person_id BIGINT, visit BIGINT, kind VARCHAR, cost DOUBLE, age BIGINT, urgent BOOLEAN,"
        " sex VARCHAR, ward VARCHAR); CREATE TABLE residents (person_id BIGINT, born BIGINT, city VARCHAR);"
        "CREATE TABLE firms (firm_id BIGINT); CREATE TABLE wards (ward VARCHAR, city VARCHAR, level BIGINT);"
        "INSERT INTO wards VALUES ('P', 'X', 1), ('Q', 'X', 1), ('R', 'Y', 2)"
    )
    return engine


def loaded(people: People) -> duckdb.DuckDBPyConnection:
    """The engine of all tests, with these people's rows as a node's views would show them."""
    engine = _engine()
    visits = [
        (unit, 10 * place + row[0] // 2, *row[1:5], "FM"[unit % 2], row[5])
        for unit, (rows, _) in people.items()
        for place, row in enumerate(rows)
    ]
    residents = [(unit, *row) for unit, (_, row) in people.items() if row is not None]
    for table, rows in (("visits", visits), ("residents", residents)):
        listed = ", ".join(f"({', '.join(map(_literal, row))})" for row in rows)
        engine.execute(f"DELETE FROM {table}{f'; INSERT INTO {table} VALUES {listed}' if rows else ''}")
    return engine


def _literal(value: object) -> str:
    return "NULL" if value is None else repr(value)


# Queries


@dataclass(frozen=True)
class Nested:
    """A SELECT, or a table, whose first column is `person_id`.

    Attributes:
        columns: the others, with a kind each: `whole`, `number`, `text`, `truth`.
        total: whether plain SQL says which rows there are; not so where rows tie and one is chosen.
    """

    sql: str
    columns: dict[str, str]
    total: bool = True

    @property
    def source(self) -> str:
        return self.sql if " " not in self.sql else f"({self.sql})"

    def of(self, *kinds: str) -> list[str]:
        return [name for name, kind in self.columns.items() if kind in kinds or not kinds]


VISITS = Nested(
    "visits",
    {
        "visit": "whole",
        "kind": "text",
        "cost": "number",
        "age": "whole",
        "urgent": "truth",
        "sex": "text",
        "ward": "text",
    },
)
RESIDENTS = Nested("residents", {"born": "whole", "city": "text"})
Draw = Callable[[st.SearchStrategy[str]], str]


class _Maker:
    """Draws a nested query step by step."""

    def __init__(self, draw: Callable[..., object]) -> None:
        self._draw = draw
        self._made = 0

    def one_of(self, options: Iterable[str]) -> str:
        return str(self._draw(st.sampled_from(list(options))))

    def some_of(self, options: Iterable[str], *, most: int = 3) -> list[str]:
        listed = list(options)
        places = st.lists(st.integers(0, len(listed) - 1), unique=True, max_size=most) if listed else st.just([])
        return [listed[place] for place in self._draw(places)]  # type: ignore[attr-defined]

    def coin(self) -> bool:
        return bool(self._draw(st.booleans()))

    def name(self) -> str:
        self._made += 1
        return f"{self.one_of(['c', 'k', 'u', 'Order_', '_unit_', 'x y ', 'a0'])}{self._made}"

    def query(self, depth: int) -> Nested:
        if depth == 0:
            return VISITS if self._draw(st.integers(0, 3)) else RESIDENTS
        step = self.one_of(
            ["projected", "grouped", "grouped", "windowed", "distinct", "united", "joined", "tested", "placed"]
        )
        made: Nested = getattr(self, f"_{step}")(depth)
        return made

    # expressions over one row of source `s`

    def value(self, rows: Nested, kind: str) -> str:
        names = [f's."{name}"' for name in rows.of(kind)]
        whole = [f's."{name}"' for name in rows.of("whole")]
        constants = {
            "whole": ["1", "7", "2147483647"],
            "number": ["0.5", "2.0"],
            "text": ["'a'", "'z'"],
            "truth": ["TRUE"],
        }
        forms = [*names, *names, *constants[kind]]
        if kind == "whole" and whole:
            forms += [
                f"{self.one_of(whole)} + {self.one_of(whole)}",
                f"{self.one_of(whole)} // 2",
                f"-{self.one_of(whole)}",
            ]
            forms += [f"CASE WHEN {self.test(rows)} THEN {self.one_of(whole)} END"]
            forms += [f"COALESCE({self.one_of(whole)}, 3)", f"GREATEST({self.one_of(whole)}, 2)"]
        if kind == "number" and names:
            forms += [
                f"{self.one_of(names)} * 2.0",
                f"CASE WHEN {self.test(rows)} THEN {self.one_of(names)} ELSE 1.5 END",
            ]
            forms += [f"LEAST({self.one_of(names)}, 4.0)"]
        if kind == "truth":
            forms += [self.test(rows), self.test(rows)]
        if kind == "text" and names:
            forms += [
                f"COALESCE({self.one_of(names)}, 'none')",
                f"CASE WHEN {self.test(rows)} THEN {self.one_of(names)} END",
            ]
        return self.one_of(forms)

    def test(self, rows: Nested) -> str:
        forms = ["s.person_id > 1"]
        forms += [f's."{name}" IS NULL' for name in rows.of()]
        forms += [f's."{name}" > 2' for name in rows.of("whole", "number")]
        forms += [f"s.\"{name}\" = 'a'" for name in rows.of("text")]
        forms += [f's."{name}"' for name in rows.of("truth")]
        return self.one_of(forms)

    def values(self, rows: Nested, *, least: int = 0) -> dict[str, tuple[str, str]]:
        kinds = self._draw(st.lists(st.sampled_from(["whole", "number", "text", "truth"]), min_size=least, max_size=3))
        return {self.name(): (self.value(rows, kind), kind) for kind in kinds}  # type: ignore[attr-defined]

    def where(self, rows: Nested) -> str:
        return f" WHERE {self.test(rows)}" if self._draw(st.integers(0, 3)) == 0 else ""

    # steps

    def _projected(self, depth: int) -> Nested:
        rows = self.query(depth - 1)
        values = self.values(rows, least=1)
        return Nested(
            f"SELECT {_listed(values)} FROM {rows.source} AS s{self.where(rows)}", _kinds(values), total=rows.total
        )

    def _grouped(self, depth: int) -> Nested:
        rows = self.query(depth - 1)
        keys = self.some_of([f's."{name}"' for name in rows.of()], most=2)
        kinds = {f's."{name}"': kind for name, kind in rows.columns.items()}
        values = {self.name(): (key, kinds[key]) for key in keys} | self.aggregates(rows)
        having = f" HAVING {self.aggregate(rows)[0]} > 1" if self._draw(st.integers(0, 4)) == 0 else ""
        having = having if "BOOL" not in having and "TRUTH" not in having else ""
        grouped = ", ".join(["s.person_id", *keys])
        sql = f"SELECT {_listed(values)} FROM {rows.source} AS s{self.where(rows)} GROUP BY {grouped}{having}"
        return Nested(sql, _kinds(values), total=rows.total)

    def aggregates(self, rows: Nested) -> dict[str, tuple[str, str]]:
        return {self.name(): self.aggregate(rows) for _ in range(int(self._draw(st.integers(1, 3))))}  # type: ignore[call-overload]

    def aggregate(self, rows: Nested, *, kinds: Sequence[str] = ()) -> tuple[str, str]:
        numbers = [(self.value(rows, kind), kind) for kind in ("whole", "number")]
        value, kind = numbers[int(self._draw(st.integers(0, 1)))]  # type: ignore[call-overload]
        text = self.value(rows, "text")
        forms = {
            "COUNT(*)": "whole",
            f"COUNT({value})": "whole",
            f"COUNT(DISTINCT {text})": "whole",
            f"COUNT_IF({self.test(rows)})": "whole",
            f"SUM({value})": kind,
            f"AVG({value})": "number",
            f"MIN({value})": kind,
            f"MAX({text})": "text",
            f"MEDIAN({value})": "number",
            f"BOOL_OR({self.test(rows)})": "truth",
            f"BOOL_AND({self.test(rows)})": "truth",
        }
        call = self.one_of([form for form, kind in forms.items() if not kinds or kind in kinds])
        filtered = self._draw(st.integers(0, 3)) == 0 and not call.startswith(
            "COUNT_IF"
        )  # of no rows that is NULL in DuckDB
        return call + (f" FILTER (WHERE {self.test(rows)})" if filtered else ""), forms[call]

    def _windowed(self, depth: int) -> Nested:
        rows = self.query(depth - 1)
        total, values = rows.total, {name: (f's."{name}"', kind) for name, kind in rows.columns.items()}
        for _ in range(int(self._draw(st.integers(1, 2)))):  # type: ignore[call-overload]
            order = self.some_of([f's."{name}"' for name in rows.of()], most=2)
            all_columns = self.coin()
            if all_columns:
                order = [f's."{name}"' for name in rows.of()]
            choosing = {"ROW_NUMBER()": "whole"}
            for name, kind in rows.columns.items():
                choosing |= {
                    f'LAG(s."{name}")': kind,
                    f'FIRST_VALUE(s."{name}")': kind,
                    f'LAST_VALUE(s."{name}")': kind,
                }
            call, kind = self.aggregate(rows)
            others = {"RANK()": "whole", "DENSE_RANK()": "whole", call: kind}
            function = self.one_of([*choosing, *others, *others])
            by = f" ORDER BY {', '.join(order)}" if order else ""
            over = f"{function} OVER (PARTITION BY s.person_id{by})"
            values[self.name()] = (over, (choosing | others)[function])
            total = total and (function in others or all_columns)
        qualify = ""
        if self._draw(st.integers(0, 3)) == 0:
            qualify = " QUALIFY RANK() OVER (PARTITION BY s.person_id ORDER BY s.person_id) = 1"
        # Windows with all columns in their order still tie on equal rows: alike for one window, not for two.
        total = (
            total
            and sum("OVER" in value and not value.startswith(("RANK", "DENSE")) for value, _ in values.values()) < 2
        )
        return Nested(f"SELECT {_listed(values)} FROM {rows.source} AS s{qualify}", _kinds(values), total=total)

    def _distinct(self, depth: int) -> Nested:
        rows = self.query(depth - 1)
        values = self.values(rows, least=1)
        return Nested(f"SELECT DISTINCT {_listed(values)} FROM {rows.source} AS s", _kinds(values), total=rows.total)

    def _united(self, depth: int) -> Nested:
        one, other = self.query(depth - 1), self.query(int(self._draw(st.integers(0, depth - 1))))  # type: ignore[call-overload]
        values = self.values(one, least=1)
        others = {name: (self.value(other, kind), kind) for name, (_, kind) in values.items()}
        sql = f"SELECT {_listed(values)} FROM {one.source} AS s UNION ALL SELECT {_listed(others)} FROM {other.source} AS s"
        return Nested(sql, _kinds(values), total=one.total and other.total)

    def _joined(self, depth: int) -> Nested:
        one, other = self.query(depth - 1), self.query(int(self._draw(st.integers(0, depth - 1))))  # type: ignore[call-overload]
        left = self.some_of(one.of(), most=4) or one.of()[:1]
        right = self.some_of(other.of(), most=4) or other.of()[:1]
        values = {self.name(): (f's."{name}"', one.columns[name]) for name in left}
        values |= {self.name(): (f't."{name}"', other.columns[name]) for name in right}
        kinds = [(a, b) for a in one.of("whole") for b in other.of("whole")]
        more = f' AND s."{kinds[0][0]}" <= t."{kinds[0][1]}"' if kinds and self.coin() else ""
        how = self.one_of(["JOIN", "LEFT JOIN"])
        on = f"ON s.person_id = t.person_id{more}" if more or self.coin() else "USING (person_id)"
        listed = _listed(values) if on.startswith("ON") or self.coin() else _listed(values).removeprefix("s.")
        sql = f"SELECT {listed} FROM {one.source} AS s {how} {other.source} AS t {on}"
        return Nested(sql, _kinds(values), total=one.total and other.total)

    def _tested(self, depth: int) -> Nested:
        rows, other = self.query(depth - 1), self.query(int(self._draw(st.integers(0, depth - 1))))  # type: ignore[call-overload]
        values = self.values(rows, least=1)
        kinds = [(a, b) for a in rows.of("whole") for b in other.of("whole")]
        more = f' AND s."{kinds[0][0]}" < t."{kinds[0][1]}"' if kinds and self.coin() else ""
        negated = self.one_of(["", "NOT "])
        test = self.one_of(
            [
                f"{negated}EXISTS (SELECT 1 FROM {other.source} AS t WHERE t.person_id = s.person_id{more})",
                f"s.person_id {negated}IN (SELECT t.person_id FROM {other.source} AS t)",
            ]
        )
        form = self.one_of(["where", "value", "join"])
        if form == "where":
            sql = f"SELECT {_listed(values)} FROM {rows.source} AS s WHERE {test}"
        elif form == "value":
            values[self.name()] = (test, "truth")
            sql = f"SELECT {_listed(values)} FROM {rows.source} AS s"
        else:
            kind = self.one_of(["SEMI", "ANTI"])
            sql = f"SELECT {_listed(values)} FROM {rows.source} AS s {kind} JOIN {other.source} AS t ON s.person_id = t.person_id{more}"
        return Nested(sql, _kinds(values), total=rows.total and other.total)

    def _placed(self, depth: int) -> Nested:
        """With the public table."""
        values = {self.name(): ("s.age", "whole"), self.name(): ("h.city", "text"), self.name(): ("h.level", "whole")}
        values |= {self.name(): ("s.cost", "number")}
        how = self.one_of(
            ["JOIN wards AS h ON s.ward = h.ward", "LEFT JOIN wards AS h ON s.ward = h.ward AND h.level > 1"]
        )
        return Nested(f"SELECT {_listed(values)} FROM visits AS s {how}", _kinds(values))


def _listed(values: dict[str, tuple[str, str]]) -> str:
    return ", ".join(["s.person_id", *(f'{value} AS "{name}"' for name, (value, _) in values.items())])


def _kinds(values: dict[str, tuple[str, str]]) -> dict[str, str]:
    return {name: kind for name, (_, kind) in values.items()}


@st.composite
def nested(draw: Callable[..., object], most_depth: int = 3) -> Nested:
    """A query of some steps."""
    depth = draw(st.integers(1, most_depth))
    made = _Maker(draw).query(depth)  # type: ignore[arg-type]
    return replace(made, columns=dict(made.columns))
