"""Nested rows belong to one unit each: what a sub-query gives for one unit follows from that unit's rows alone.

For queries at random (tests/privacy/nested.py): the rows of others do not hang on whether a unit is there or where rows
lie; facts hold for every value; without limits the rows are DuckDB's own; a unit moves the exact sums by no more than
declared; and no row is in a group that is not answered.
"""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import Decimal

import duckdb
import pytest
from hypothesis import Phase, assume, example, given, settings
from hypothesis import strategies as st

from privacy.bounding import bounded_sql
from privacy.dense import numbers
from privacy.errors import QueryRefused
from privacy.fragment import Fragment
from privacy.rows.source import UNIT, Owner, Source
from tests.privacy.nested import LARGE, Nested, People, loaded, nested, people, planned, source_of

PERSON = 2
Row = tuple[object, ...]
quickly = settings(
    max_examples=150, deadline=None, phases=[Phase.explicit, Phase.generate, Phase.shrink], derandomize=True
)


def _by_unit(source: Source, everyone: People) -> dict[object, Counter[Row]]:
    names = [item.alias for item in _first(source).expressions]
    found: dict[object, Counter[Row]] = defaultdict(Counter)
    for row in loaded(everyone).execute(source.sql.sql(dialect="duckdb")).fetchall():
        found[row[names.index(UNIT)]][row] += 1
    return found


def _first(source: Source):  # type: ignore[no-untyped-def]
    select = source.sql
    while not hasattr(select, "selects") or type(select).__name__ == "Union":
        select = select.this
    return select


def _answered(query: Nested, *, limit: int = LARGE) -> Source:
    try:
        return source_of(query.sql, limit=limit)
    except QueryRefused:
        assume(False)
        raise


@given(nested(), people())
@quickly
def test_rows_of_a_unit_follow_from_its_own_rows(query: Nested, everyone: People) -> None:
    source = _answered(query)
    found = _by_unit(source, everyone)
    assert found == _by_unit(source, dict(reversed(everyone.items())))
    found.pop(PERSON, None)
    assert found == _by_unit(source, {unit: rows for unit, rows in everyone.items() if unit != PERSON})


@given(nested(), people())
@quickly
def test_facts_hold_for_every_row(query: Nested, everyone: People) -> None:
    source = _answered(query, limit=2)
    assert source.owner is not None
    names = [item.alias for item in _first(source).expressions]
    for rows in _by_unit(source, everyone).values():
        assert source.owner.rows is None or rows.total() <= source.owner.rows
        for place, name in enumerate(names):
            _assert_known(source, name, {row[place] for row in rows})


def _assert_known(source: Source, name: str, values: set[object]) -> None:
    column = source.columns[name]
    facts = column.facts
    assert not column.fixed or len(values) == 1
    assert facts.nullable or None not in values
    for value in values - {None}:
        if facts.is_number:
            assert isinstance(value, int | float)
            assert facts.low <= value <= facts.high
            assert isinstance(value, int) == (facts.type == "BIGINT")
            assert not facts.bounded or math.isfinite(value)
            assert value != 0 or math.copysign(1, value) > 0


@given(nested(), people())
@quickly
def test_without_limits_the_rows_are_those_of_plain_sql(query: Nested, everyone: People) -> None:
    assume(query.total)
    source = _answered(query)
    try:
        plain = loaded(everyone).execute(query.sql).fetchall()
    except duckdb.Error:  # of integers that plain SQL keeps in 32 bits
        assume(False)
    ours = [row for rows in _by_unit(source, everyone).values() for row in rows.elements()]
    assert Counter(_shown(row[1:]) for row in ours) == Counter(map(_shown, plain))


def _shown(row: Sequence[object]) -> Row:
    return tuple(_rounded(value) for value in row)


def _rounded(value: object) -> object:
    return f"{float(value):.9g}" if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else value


# Above: aggregates over nested rows


def _asked(query: Nested, keys: Sequence[str]) -> str:
    """Counts and sums of a nested query, by some of its columns."""
    totals = [f'SUM(s."{name}")' for name in query.of("whole", "number")]
    grouped = [f's."{name}"' for name in keys]
    items = ", ".join([*grouped, "COUNT(*)", *totals])
    by = f" GROUP BY {', '.join(grouped)}" if grouped else ""
    return f"SELECT {items} FROM ({query.sql}) AS s{by}"


def _sums(fragment: Fragment, everyone: People) -> dict[Row, tuple[int, ...]]:
    found = loaded(everyone).sql(bounded_sql(fragment, secret="ab")).to_arrow_table()
    keys = [found.column(key.name).to_pylist() for key in fragment.keys]
    sums = [numbers(measure, found.column(measure.name)).tolist() for measure in fragment.measures]
    cells = zip(*keys, strict=True) if keys else [()]
    return dict(zip(cells, zip(*sums, strict=True), strict=True))


def _planned(query: Nested, keys: Sequence[str], **limits: int) -> Fragment:
    try:
        return planned(_asked(query, keys), **limits)
    except (QueryRefused, KeyError):  # KeyError: no row can be in the province
        assume(False)
        raise


_keys = st.lists(st.integers(0, 9), max_size=2, unique=True)


def _chosen(query: Nested, places: Sequence[int]) -> list[str]:
    names = query.of("whole", "text", "truth")
    return [names[place] for place in places if place < len(names)]


@given(nested(), people(most=8), _keys)
@quickly
def test_a_unit_moves_the_sums_by_no_more_than_declared(query: Nested, everyone: People, places: list[int]) -> None:
    fragment = _planned(query, _chosen(query, places), max_rows=2, max_groups=2)
    others = {unit: rows for unit, rows in everyone.items() if unit != PERSON}
    cells = {tuple(cell.values()) for cell in fragment.cells.to_pylist()} if fragment.keys else {()}
    one, other = (_sums(fragment, some) for some in (everyone, others))
    for place, measure in enumerate(fragment.measures):
        nothing = (0,) * len(fragment.measures)
        moved = [abs(one.get(cell, nothing)[place] - other.get(cell, nothing)[place]) for cell in cells]
        assert sum(moved) <= measure.sensitivity
        assert math.hypot(*moved) <= measure.sensitivity_l2


@given(nested(), people(), _keys)
@example(Nested('SELECT person_id, 2147483647 AS "c" FROM residents', {"c": "whole"}), {1: ([], (0, "X"))}, [0])
@quickly
def test_no_row_is_in_a_group_that_is_not_answered(query: Nested, everyone: People, places: list[int]) -> None:
    keys = _chosen(query, places)
    fragment = _planned(query, keys)
    cells = {tuple(cell.values()) for cell in fragment.cells.to_pylist()} if keys else {()}
    sums = _sums(fragment, everyone)
    assert sums.keys() <= cells
    assume(query.total)
    try:
        plain = loaded(everyone).execute(_asked(query, keys)).fetchall()
    except duckdb.Error:
        assume(False)
    counts = {row[: len(keys)]: row[len(keys)] for row in plain}
    assert {cell: numbers[0] for cell, numbers in sums.items() if numbers[0]} == {k: n for k, n in counts.items() if n}


# What is known of the rows


def _owner(sql: str) -> Owner:
    owner = source_of(sql).owner
    assert owner is not None
    return owner


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT person_id, COUNT(*) AS n FROM visits GROUP BY person_id", 1),
        ("SELECT person_id, sex, COUNT(*) AS n FROM visits GROUP BY person_id, sex", 1),
        ("SELECT person_id, 7 AS x, province FROM visits GROUP BY ALL", 1),
        ("SELECT person_id, kind, COUNT(*) AS n FROM visits GROUP BY person_id, kind", None),
        ("SELECT DISTINCT person_id, sex FROM visits", 1),
        ("SELECT DISTINCT person_id, kind FROM visits", None),
        ("SELECT person_id FROM residents UNION ALL SELECT person_id FROM residents", 2),
        ("SELECT r.person_id FROM residents r JOIN wards w ON r.city = w.city", 2),
        ("SELECT a.person_id FROM residents a JOIN residents b USING (person_id)", 1),
        # Joined where one of the person's visits has something only: NULL on the others.
        (("SELECT v.person_id, r.born FROM visits v LEFT JOIN residents r ON v.person_id = r.person_id AND v.age > r.born "
         "GROUP BY v.person_id, r.born"), None),
        (("SELECT DISTINCT person_id, b FROM (SELECT v.person_id, r.born AS b, RANK() OVER (PARTITION BY v.person_id "
         "ORDER BY v.age) AS n FROM visits v LEFT JOIN residents r ON v.person_id = r.person_id AND v.age > 3) s"), None),
        (("SELECT v.person_id, r.person_id AS p FROM visits v LEFT JOIN residents r ON v.person_id = r.person_id AND v.age > 3 "
         "GROUP BY v.person_id, r.person_id"), None),
    ],
)  # fmt: skip
def test_how_many_rows_a_unit_has(sql: str, rows: int | None) -> None:
    assert _owner(sql).rows == rows


@pytest.mark.parametrize(
    ("sql", "span"),
    [
        ("SELECT person_id FROM visits UNION ALL SELECT person_id FROM visits", 2),
        ("SELECT person_id FROM visits UNION ALL SELECT person_id FROM residents", 3),
        ("SELECT v.person_id FROM visits v JOIN residents r ON v.person_id = r.person_id", 1),
        ("SELECT v.person_id FROM visits v LEFT JOIN residents r ON v.person_id = r.person_id", 2),
        ("SELECT person_id FROM visits WHERE person_id IN (SELECT person_id FROM residents)", 2),
    ],
)
def test_how_many_nodes_hold_a_unit(sql: str, span: int) -> None:
    assert _owner(sql).span == span


def test_tables_that_rows_are_only_tested_against_are_read_too() -> None:
    sql = "SELECT COUNT(*) FROM visits v WHERE EXISTS (SELECT 1 FROM residents r WHERE r.person_id = v.person_id)"
    assert planned(sql).tables == ("visits", "residents")


def test_groups_of_two_aggregates_may_meet_in_any_way() -> None:
    sql = "SELECT a, b, COUNT(*) FROM (SELECT person_id, MIN(kind) FILTER (WHERE urgent) AS a, MAX(sex) AS b FROM visits GROUP BY person_id) s GROUP BY a, b"
    cells = {tuple(cell.values()) for cell in planned(sql).cells.to_pylist()}
    assert cells == {(a, b) for a in ("a", "b", "c", None) for b in ("F", "M")}


def test_windows_that_choose_number_equal_rows_alike() -> None:
    sql = (
        "SELECT person_id, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY age) AS a,"
        " ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY age DESC) AS b, age FROM visits"
    )
    same = {1: ([(0, "a", 1, 3, True, "P")] * 4, None)}
    (rows,) = _by_unit(source_of(sql), same).values()
    assert sorted(row[2:4] for row in rows) == [(n, n) for n in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    "name", ["order", "a.b", 'say ""so""', "u", "k0", "x0", "sub", "visits", "病区", "1", "answered"]
)
def test_any_name_may_be_given(name: str) -> None:
    everyone: People = {1: ([(0, "a", 3, 3, True, "P")], None)}
    inner = f'SELECT person_id, cost AS "{name}" FROM visits'
    sql = f'SELECT COUNT(*), SUM(t."{name}") FROM ({inner} UNION ALL {inner}) AS "{name}" JOIN ({inner}) AS t USING (person_id)'
    assert next(iter(_sums(planned(sql), everyone).values()))[0] == 2


def test_columns_of_a_tested_table_need_no_qualification() -> None:
    assert planned("SELECT COUNT(*) FROM visits WHERE person_id IN (SELECT person_id FROM residents WHERE born > 3)")
    assert planned(
        "SELECT COUNT(*) FROM visits v WHERE EXISTS (SELECT 1 FROM residents WHERE v.person_id = residents.person_id AND born > age)"
    )


# Refusals


@pytest.mark.parametrize(
    ("sql", "code", "at", "told"),
    [
        ("SELECT COUNT(*) FROM (SELECT person_id, cost, COUNT(*) AS n FROM visits GROUP BY person_id) s", "query.rows", "cost,", "neither a key of the GROUP BY around it nor inside an aggregate"),
        ("SELECT COUNT(*) FROM (SELECT person_id, RANK() OVER (ORDER BY cost) AS r FROM visits) s", "query.rows", "RANK()", "looks at rows of other persons"),
        ("SELECT COUNT(*) FROM (SELECT person_id, SUM(cost) OVER (PARTITION BY kind) AS r FROM visits) s", "query.rows", "SUM(cost)", "looks at rows of other persons"),
        ("SELECT COUNT(*) FROM (SELECT person_id, ROW_NUMBER() OVER (ORDER BY cost) AS r, LAG(cost) OVER (PARTITION BY person_id) AS l FROM visits) s", "query.rows", "ROW_NUMBER()", "looks at rows of other persons"),
        ("SELECT COUNT(*) FROM (SELECT DISTINCT kind FROM visits) s", "query.rows", "", "DISTINCT below the aggregates must name the unit"),
        ("SELECT COUNT(*) FROM (SELECT person_id FROM visits LIMIT 9) s", "query.construct", "9)", "LIMIT below the aggregates is not answered"),
        ("SELECT COUNT(*) FROM (SELECT person_id FROM visits UNION ALL SELECT person_id FROM visits LIMIT 9) s", "query.construct", "9)", "LIMIT below the aggregates"),
        ("SELECT COUNT(*) FROM ((SELECT person_id FROM visits) LIMIT 9) s", "query.construct", "9)", "LIMIT below the aggregates"),
        ("SELECT COUNT(*) FROM (SELECT kind FROM visits UNION SELECT kind FROM visits) s", "query.rows", "kind", "UNION below the aggregates must name the unit"),
        ("SELECT COUNT(*) FROM (SELECT person_id FROM visits UNION ALL BY NAME SELECT person_id FROM visits) s", "query.construct", "person_id", "UNION BY NAME below"),
        ("SELECT COUNT(*) FROM (SELECT person_id FROM visits EXCEPT ALL SELECT person_id FROM residents) s", "query.construct", "person_id", "EXCEPT ALL is not answered"),
        ("SELECT COUNT(*) FROM (SELECT person_id FROM visits) AS s TABLESAMPLE 10%", "query.construct", "10%", "A sample below the aggregates"),
        ("SELECT COUNT(*) FROM (SELECT person_id FROM visits QUALIFY cost > 3) s", "query.construct", "cost", "QUALIFY chooses by a window"),
        ("SELECT COUNT(*) FROM (SELECT person_id FROM visits HAVING person_id > 3) s", "query.rows", "person_id", "those of one person"),
        ("SELECT COUNT(*) FROM (SELECT DISTINCT ON (person_id) person_id, kind FROM visits) s", "query.rows", "person_id)", "DISTINCT below"),
        ("SELECT COUNT(*) FROM visits v JOIN residents r ON v.age = r.born", "query.construct", "residents", "can be joined on the unit only"),
        ("SELECT COUNT(*) FROM visits v JOIN residents r ON v.person_id < r.person_id", "query.construct", "residents", "is not answered"),
        ("SELECT COUNT(*) FROM visits v JOIN firms f ON v.person_id = f.firm_id", "query.construct", "firms", "joins rows of a person with rows of a firm"),
        ("SELECT COUNT(*) FROM (SELECT person_id FROM visits UNION ALL SELECT firm_id FROM firms) s", "query.construct", "person_id", "UNION ALL of rows of a person and of a firm"),
        ("SELECT COUNT(*) FROM visits v WHERE EXISTS (SELECT 1 FROM firms f WHERE f.firm_id = v.person_id)", "query.construct", "1", "rows of its own unit only"),
        ("SELECT COUNT(*) FROM visits WHERE person_id IN (SELECT firm_id FROM firms)", "query.construct", "person_id", "rows of its own unit only"),
        ("SELECT COUNT(*) FROM visits v WHERE EXISTS (SELECT 1 FROM residents r WHERE r.born = v.age)", "query.construct", "1", "rows of its own unit only"),
        ("SELECT COUNT(*) FROM visits v WHERE EXISTS (SELECT 1 FROM residents r WHERE r.person_id = v.person_id OR r.born > 3)", "query.construct", "1", "rows of its own unit only"),
        ("SELECT COUNT(*) FROM visits v WHERE EXISTS (SELECT COUNT(*) FROM residents r WHERE r.person_id = v.person_id)", "query.construct", "COUNT(*)", "rows of its own unit only"),
        ("SELECT COUNT(*) FROM visits WHERE kind IN (SELECT kind FROM visits)", "query.construct", "kind", "rows of its own unit only"),
        ("SELECT COUNT(*) FROM visits WHERE cost > (SELECT AVG(cost) FROM visits)", "query.construct", "AVG(cost)", "other rows"),
        ("SELECT SUM(x) FROM (SELECT person_id, FIRST_VALUE(EXISTS (SELECT 1 FROM residents r WHERE r.person_id = v.person_id AND r.born > v.age)) OVER (PARTITION BY person_id) AS x FROM visits v) s", "query.construct", "FIRST_VALUE(EXISTS", "is not answered below the aggregates"),
        ("SELECT SUM(x) FROM (SELECT person_id, LAG(cost, 99999999999999999999) OVER (PARTITION BY person_id) AS x FROM visits) s", "query.construct", "LAG(cost,", "is not answered below the aggregates"),
        ("SELECT SUM(x) FROM (SELECT person_id, LAG(cost, 1, 0.0) OVER (PARTITION BY person_id) AS x FROM visits) s", "query.construct", "LAG(cost,", "is not answered below the aggregates"),
        ("SELECT SUM(x) FROM (SELECT person_id, SUM(cost) OVER (PARTITION BY person_id ROWS 2 PRECEDING) AS x FROM visits) s", "query.construct", "SUM(cost)", "is not answered below the aggregates"),
        ("SELECT COUNT(*) FROM (SELECT person_id, MODE(kind) AS m FROM visits GROUP BY person_id) s", "query.construct", "MODE(kind)", "is not answered for one person"),
        ("SELECT COUNT(*) FROM (SELECT person_id, MIN(person_id) AS m FROM visits GROUP BY person_id) s", "query.rows", "person_id)", "identifies the privacy unit"),
        ("SELECT x, COUNT(*) FROM (SELECT person_id AS x, kind FROM visits) s GROUP BY x", "query.rows", "s", "identifies the privacy unit"),
        ("SELECT COUNT(*) FROM (SELECT person_id, cost AS a, age AS a FROM visits) s", "query.name", "person_id,", "gives two columns one name"),
        ("SELECT COUNT(*) FROM (SELECT person_id, cost AS _unit FROM visits) s", "query.name", "", "weir's own name"),
        ("SELECT COUNT(*) FROM (SELECT person_id, age FROM visits UNION ALL SELECT age, person_id FROM visits) s", "query.rows", "person_id,", "into one column with other values"),
        ("SELECT COUNT(*) FROM (SELECT ward FROM wards) s", "query.construct", "ward", "reads public tables only"),
        ("SELECT COUNT(*) FROM (VALUES (1)) AS s(person_id)", "query.construct", "", "reads no table"),
        ("SELECT COUNT(*) FROM visits v JOIN (VALUES (1)) AS s(person_id) ON v.person_id = s.person_id", "query.construct", "1))", "only tables of the catalog"),
        ("SELECT COUNT(*) FROM visits WHERE age IN (SELECT x FROM (VALUES (1)) AS wards(x))", "query.construct", "1))", "only tables of the catalog"),
        ("WITH RECURSIVE s AS (SELECT person_id FROM visits UNION ALL SELECT person_id FROM s) SELECT COUNT(*) FROM s", "query.construct", "s", "WITH RECURSIVE"),
        ("SELECT COUNT(*) FROM residents r JOIN wards a ON r.city = a.city " + " ".join(f"JOIN wards w{n} ON r.city = w{n}.city" for n in range(20)), "query.construct", "wards", "at most 1,000,000"),
    ],
)  # fmt: skip
def test_refusals_say_what_to_write_instead(sql: str, code: str, at: str, told: str) -> None:
    with pytest.raises(QueryRefused) as refusal:
        planned(sql)
    found = refusal.value
    assert found.code == code
    assert (sql[found.position.column - 1 :] if found.position else "").startswith(at)
    assert bool(found.position) == bool(at)
    assert told in found.message
    assert found.remedy
    assert "<" not in found.message.replace("<>", "").replace("person_id < r", "")  # nothing of weir's own names


DOUBLED = ", ".join(
    f"a{n + 1} AS (SELECT person_id, age FROM a{n} UNION ALL SELECT person_id, age FROM a{n})" for n in range(30)
)
LONG = {
    "common tables that double": f"WITH a0 AS (SELECT person_id, age FROM visits), {DOUBLED} SELECT COUNT(*) FROM a30",
    "aliases that double": "SELECT SUM(x) FROM (SELECT person_id, cost AS a0, "
    + ", ".join(f"a{n} + a{n} AS a{n + 1}" for n in range(60))
    + ", a60 AS x FROM visits) s",
    "clamps that triple": f"SELECT SUM({'CLAMP(' * 30}cost{', 0, 9)' * 30}) FROM visits",
    "cases that triple": f"SELECT SUM({'CASE ' * 30}age{' WHEN 1 THEN 2 WHEN 3 THEN 4 WHEN 5 THEN 6 END' * 30}) FROM visits",
    "conditions that triple": f"SELECT COUNT(*) FROM visits WHERE {'CLAMP(' * 30}cost{', 0, 9)' * 30} > 3",
    "many sub-queries": f"SELECT COUNT(*) FROM {'(SELECT * FROM ' * 70}visits{') s' * 70}",
}


@pytest.mark.parametrize("name", LONG)
def test_what_would_take_too_long_to_plan_is_refused_at_once(name: str) -> None:
    begun = time.monotonic()
    with pytest.raises(QueryRefused) as refusal:
        planned(LONG[name])
    assert refusal.value.remedy
    assert time.monotonic() - begun < 5


def test_deep_queries_are_planned_in_time() -> None:
    begun, sql = time.monotonic(), "SELECT person_id, kind, age FROM visits"
    for _ in range(20):
        sql = f"SELECT s.person_id, MIN(s.kind) AS kind, MAX(r.born) AS age FROM ({sql}) s LEFT JOIN residents r ON r.person_id = s.person_id GROUP BY s.person_id"
    assert planned(f"SELECT kind, age, COUNT(*) FROM ({sql}) s GROUP BY kind, age").cell_count == 32
    assert time.monotonic() - begun < 20


def test_keys_whose_values_are_too_many_to_combine_are_refused_at_once() -> None:
    counts = ", ".join(f"COUNT_IF(age > {n}) AS c{n}" for n in range(4))
    sql = f"SELECT c0 + c1 + c2 + c3 > 7 AS k, COUNT(*) FROM (SELECT person_id, {counts} FROM visits GROUP BY person_id) s GROUP BY k"
    begun = time.monotonic()
    with pytest.raises(QueryRefused, match="too many to list"):
        planned(sql)
    assert time.monotonic() - begun < 5
