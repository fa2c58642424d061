"""Sums that a snapshot holds ready: the same integers as from the rows, or as well bounded."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.bounding import bounded_sql
from privacy.errors import ConfigError
from privacy.layout import Stored, layout
from privacy.unit_sums import unit_sums_sql
from tests.privacy.corpus_planner import catalog, plan
from tests.privacy.exact_sums import PERSON, SECRET, exact_sums, visit

MONTH = "DATE_TRUNC('month', visit_date)"
STORED = layout(
    catalog(),
    province="jiangsu",
    table="visits",
    keys=[["kind"], ["hospital"], [MONTH, "kind"], ["age"], ["kind", "hospital"]],
    aggregates=["STDDEV_SAMP(cost)", "SUM(cost * 0.8)"],
)
SAME = {  # the same hash decides as from the rows, so the same groups are kept
    "one group": "SELECT COUNT(*), SUM(cost), AVG(age) FROM visits",
    "one group, where": "SELECT COUNT(*), SUM(cost), COUNT(DISTINCT person_id) FROM visits WHERE sex = 'F'",
    "few groups": "SELECT kind, COUNT(*), AVG(cost) FROM visits GROUP BY kind",
    "sums of another kind": "SELECT kind, STDDEV_SAMP(cost), SUM(cost * 0.8) FROM visits GROUP BY kind",
    "where on the key": "SELECT kind, AVG(cost), COUNT(DISTINCT person_id) FROM visits WHERE kind <> 'test' GROUP BY kind",
    "limited groups": "SELECT hospital, COUNT(*), AVG(cost) FROM visits GROUP BY hospital",
    "limited, where on the key": "SELECT hospital, SUM(age) FROM visits WHERE hospital LIKE 'S%' OR hospital > 'X' GROUP BY hospital",
    "limited, where on both": "SELECT hospital, SUM(cost) FROM visits WHERE sex = 'F' AND hospital <> 'SH01' GROUP BY hospital",
    "limited, where on both at once": "SELECT hospital, SUM(cost) FROM visits WHERE sex = 'F' OR hospital <> 'SH01' GROUP BY hospital",
    "many groups": f"SELECT {MONTH} AS m, kind, COUNT(*), SUM(cost) FROM visits GROUP BY m, kind",
    "many groups, where": f"SELECT {MONTH} AS m, kind, COUNT(*) FROM visits WHERE {MONTH} > DATE '2023-05-01' AND kind <> 'test' GROUP BY m, kind",
    "keys without places": "SELECT age, COUNT(*) FROM visits WHERE age // 10 = 3 GROUP BY age",
    "two keys": "SELECT kind, hospital, COUNT(*) FROM visits WHERE kind IN ('test', 'checkup') GROUP BY kind, hospital",
}
BOUNDED = {  # another hash, so perhaps other groups
    "fixed key": "SELECT sex, hospital, COUNT(*), SUM(cost) FROM visits GROUP BY sex, hospital",
    "keys in another order": "SELECT hospital, kind, COUNT(*) FROM visits WHERE hospital < 'SH03' GROUP BY hospital, kind",
    "by level": "SELECT kind, hospital, AVG(cost) FROM visits GROUP BY ROLLUP (kind, hospital)",
}
ROWS = {  # these need the rows
    "where on a row": "SELECT kind, COUNT(*) FROM visits WHERE age > 30 GROUP BY kind",
    "another key": "SELECT kind = 'test' AS t, COUNT(*) FROM visits GROUP BY t",
    "a key that is not there": "SELECT kind, age, COUNT(*) FROM visits GROUP BY kind, age",
    "filtered": "SELECT kind, COUNT(*) FILTER (WHERE age > 9) FROM visits GROUP BY kind",
    "another sum": "SELECT kind, SUM(cost * 2) FROM visits GROUP BY kind",
    "a histogram": "SELECT kind, MEDIAN(cost) FROM visits GROUP BY kind",
    "nested": "SELECT n, COUNT(*) FROM (SELECT person_id, COUNT(*) AS n FROM visits GROUP BY person_id) GROUP BY n",
    "joined": "SELECT level, COUNT(*) FROM visits v JOIN hospitals h ON v.hospital = h.hospital GROUP BY level",
    "tested": "SELECT kind, COUNT(*) FROM visits WHERE person_id IN (SELECT person_id FROM residents) GROUP BY kind",
    "another table": "SELECT sex, COUNT(*) FROM residents GROUP BY sex",
    "the unit": "SELECT kind, COUNT(*) FROM visits WHERE person_id > 9 GROUP BY kind",
}
_people = st.lists(st.tuples(st.integers(100, 103), visit), max_size=60)


def _visits(rows: list[tuple[int, tuple[object, ...]]]) -> list[tuple[object, ...]]:
    """With the sex that the catalog promises to be the same in all rows of a person."""
    return [(person, *row[:2], "FM"[person % 2], *row[3:]) for person, row in rows]


def _used(sql: str) -> list[Stored]:
    """The table that the query is computed from."""
    fragment = plan(sql, max_rows=3, max_groups=4).blocks[0].fragments["jiangsu"]
    made = bounded_sql(fragment, secret=SECRET, stored=[one.sums for one in STORED])
    return [one for one in STORED if f"FROM {one.sums.name} /*" in made]


@pytest.mark.parametrize("name", SAME)
@given(rows=_people)
@settings(max_examples=15, deadline=None)
def test_the_same_integers_as_from_the_rows(name: str, rows: list[tuple[int, tuple[object, ...]]]) -> None:
    fragment = plan(SAME[name], max_rows=3, max_groups=4).blocks[0].fragments["jiangsu"]
    (stored,) = _used(SAME[name])
    plain = exact_sums(fragment, _visits(rows), [])
    ready = exact_sums(fragment, _visits(rows), [], stored=[stored])
    nothing = (0,) * sum(measure.width for measure in fragment.measures)
    assert all(plain.get(cell, nothing) == ready.get(cell, nothing) for cell in plain.keys() | ready.keys())


@pytest.mark.parametrize("name", [*SAME, *BOUNDED])
@given(theirs=st.lists(visit, max_size=40), others=_people)
@settings(max_examples=15, deadline=None)
def test_one_unit_changes_no_more_than_the_sensitivity(
    name: str, theirs: list[tuple[object, ...]], others: list[tuple[int, tuple[object, ...]]]
) -> None:
    sql = (SAME | BOUNDED)[name]
    fragment = plan(sql, max_rows=3, max_groups=4).blocks[0].fragments["jiangsu"]
    (stored,) = _used(sql)
    without = _visits(others)
    both = [*without, *_visits([(PERSON, row) for row in theirs])]
    with_unit, others_alone = (exact_sums(fragment, rows, [], stored=[stored]) for rows in (both, without))
    nothing = (0,) * len(fragment.measures)
    for place, measure in enumerate(fragment.measures):
        changes = [
            abs(with_unit.get(cell, nothing)[place] - others_alone.get(cell, nothing)[place])
            for cell in with_unit.keys() | others_alone.keys()
        ]
        assert sum(changes) <= measure.sensitivity
        assert sum(change**2 for change in changes) <= measure.sensitivity_l2**2


@pytest.mark.parametrize("name", ROWS)
@given(rows=_people)
@settings(max_examples=10, deadline=None)
def test_what_needs_the_rows_reads_them(name: str, rows: list[tuple[int, tuple[object, ...]]]) -> None:
    """Large tables look up in the sums who may have too many rows."""
    fragment = plan(ROWS[name], max_rows=3, max_groups=4).blocks[0].fragments["jiangsu"]
    assert not _used(ROWS[name])
    residents = [(person, 1950, "F", "shanghai", True) for person in dict(rows)]
    plain = exact_sums(fragment, _visits(rows), residents)
    large = exact_sums(fragment, _visits(rows), residents, large=True, stored=STORED[:1])
    nothing = (0,) * sum(measure.width for measure in fragment.measures)
    assert all(plain.get(cell, nothing) == large.get(cell, nothing) for cell in plain.keys() | large.keys())


def test_who_has_many_rows_is_looked_up() -> None:
    fragment = plan(ROWS["where on a row"], max_rows=3).blocks[0].fragments["jiangsu"]
    (totals, *_) = STORED
    sql = bounded_sql(fragment, secret=SECRET, large=True, stored=[totals.sums.within("s")])
    assert 'FROM "s"."#visits_0" WHERE "#rows" > 3' in sql


def test_a_code_that_nobody_listed_takes_no_place_from_the_listed() -> None:
    """At most as many listed groups as the limit, whatever stands before them in the order."""
    fragment = plan("SELECT kind, COUNT(*) FROM visits WHERE kind <> 'test' GROUP BY kind", max_groups=2)
    fragment = fragment.blocks[0].fragments["jiangsu"]
    kinds = ["outpatient", "inpatient", "emergency", "checkup", "unknown", "unheard of"]
    rows: list[tuple[object, ...]] = [(PERSON, 1, 30, "F", 0, 5, kind) for kind in kinds]
    kept = [row for row in exact_sums(fragment, rows, [], stored=[STORED[1]]).values() if any(row)]
    assert 1 <= len(kept) <= 2


def test_which_groups_are_kept_hangs_on_the_secret() -> None:
    stored = STORED[2]
    assert len({unit_sums_sql(stored.sums, rows="visits", secret=secret) for secret in ("ab", "cd")}) == 2


def test_places_are_for_few_public_groups() -> None:
    assert [one.places.num_rows if one.places is not None else None for one in STORED] == [
        *(None, 5, 20),
        *(None, None, None),
    ]


@pytest.mark.parametrize(
    ("keys", "aggregates", "says"),
    [
        (["colour"], [], "colour"),
        (["person_id"], [], "person"),
        (["kind"], ["MEDIAN(cost)"], "MEDIAN"),
        (["kind"], ["SUM(hospital)"], "SUM"),
    ],
)
def test_what_cannot_be_ready_is_said(keys: list[str], aggregates: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        _ = _laid_out(keys, aggregates)


def _laid_out(keys: list[str], aggregates: list[str]) -> tuple[Stored, ...]:
    return layout(catalog(), province="anhui", table="visits", keys=[keys], aggregates=aggregates)
