"""Bounding: one unit, however many rows it has, changes the exact sums by no more than the stated sensitivity."""

from collections.abc import Iterator
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.bounding import bounded_sql
from privacy.catalog import parse_catalog
from privacy.fragment import Fragment, Measure
from privacy.pairs import apart
from privacy.planner import Planner
from tests.privacy.corpus_planner import CATALOG, plan, request
from tests.privacy.exact_sums import PERSON, exact_sums, visit

QUERIES = {
    "one group": "SELECT COUNT(*), SUM(cost), AVG(cost), AVG(age) FROM visits",
    "few groups": "SELECT kind, COUNT(*), SUM(cost) FILTER (WHERE sex = 'F'), AVG(cost) FROM visits GROUP BY kind",
    "fixed key": "SELECT sex, COUNT(*), SUM(age - 50), AVG(CASE WHEN age > 20 THEN cost END) FROM visits GROUP BY sex",
    "limited groups": "SELECT hospital, COUNT(*) FILTER (WHERE age > 50), SUM(-cost), AVG(cost) FROM visits GROUP BY hospital",
    "histograms": "SELECT kind, MEDIAN(cost), MAX(age), COUNT(*) FROM visits GROUP BY kind",
    "histograms, limited groups": "SELECT hospital, QUANTILE_CONT(age, 0.1) FILTER (WHERE age > 9) FROM visits GROUP BY hospital",
    "histogram, one row a unit": "SELECT MEDIAN(birth_year) FROM residents",
    "two keys": "SELECT kind, h.level, COUNT(*), SUM(age * cost) FROM visits v JOIN hospitals h ON v.hospital = h.hospital GROUP BY kind, h.level",
    "one row a unit": "SELECT home_province, COUNT(*), AVG(birth_year) FROM residents GROUP BY home_province",
    "nested, by person": "SELECT n, COUNT(*), SUM(s), AVG(m) FROM (SELECT person_id, COUNT(*) AS n, SUM(cost) AS s, AVG(age) AS m FROM visits GROUP BY person_id) p GROUP BY n",
    "nested, by person and kind": "SELECT kind, COUNT(*), SUM(s), COUNT(DISTINCT person_id) FROM (SELECT person_id, kind, SUM(cost) AS s FROM visits GROUP BY person_id, kind) p GROUP BY kind",
    "nested, twice": "SELECT a, b, COUNT(*), SUM(n) FROM (SELECT person_id, MIN(kind) AS a, MAX(kind) AS b, SUM(n) AS n FROM (SELECT person_id, kind, COUNT(*) AS n FROM visits GROUP BY person_id, kind) p GROUP BY person_id) q GROUP BY a, b",
    "windows": "SELECT kind, COUNT(*), SUM(c) FROM (SELECT person_id, kind, LAG(cost) OVER (PARTITION BY person_id ORDER BY age) AS c FROM visits QUALIFY ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY visit_date) < 9) p GROUP BY kind",
    "joined on the unit": "SELECT birth_year // 50 AS b, kind, COUNT(*), AVG(cost) FROM visits v JOIN residents r ON v.person_id = r.person_id GROUP BY b, kind",
    "left join on the unit, windows": "SELECT b, COUNT(*) FROM (SELECT r.sex AS b, RANK() OVER (PARTITION BY v.person_id ORDER BY v.age) AS n FROM visits v LEFT JOIN residents r ON v.person_id = r.person_id AND v.age > 50) p GROUP BY b",
    "all of two tables": "SELECT x, COUNT(*) FROM (SELECT person_id, kind AS x FROM visits UNION ALL SELECT person_id, home_province FROM residents) p GROUP BY x",
    "tested": "SELECT kind, COUNT(*) FROM visits v WHERE EXISTS (SELECT 1 FROM visits w WHERE w.person_id = v.person_id AND w.cost > v.cost) AND person_id IN (SELECT person_id FROM residents) GROUP BY kind",
    "distinct": "SELECT kind, COUNT(*) FROM (SELECT DISTINCT person_id, kind, age FROM visits) p GROUP BY kind",
    "multiplied rows": "SELECT h.level, COUNT(*), SUM(birth_year) FROM residents r JOIN hospitals h ON r.home_province = h.city GROUP BY h.level",
}


@pytest.mark.parametrize("name", QUERIES)
@given(theirs=st.lists(visit, max_size=40), others=st.lists(st.tuples(st.integers(100, 103), visit), max_size=10))
@settings(max_examples=40, deadline=None)
def test_one_unit_changes_no_more_than_the_sensitivity(
    name: str, theirs: list[tuple[object, ...]], others: list[tuple[int, tuple[object, ...]]]
) -> None:
    fragment = plan(QUERIES[name], max_rows=3, max_groups=4).blocks[0].fragments["jiangsu"]
    _assert_moved_within(name, fragment, theirs, others)


MOST = 5  # rows of a unit, promised
PROMISED = Planner(
    parse_catalog(
        CATALOG.read_text().replace("max_rows = 11\nmax_groups = 11\n", f"rows_per_unit = {MOST}\n"), source="promised"
    )
)


@pytest.mark.parametrize("name", QUERIES)
@given(theirs=st.lists(visit, max_size=MOST), others=st.lists(st.tuples(st.integers(100, 103), visit), max_size=MOST))
@settings(max_examples=30, deadline=None)
def test_one_unit_of_promised_rows_changes_no_more_than_the_sensitivity(
    name: str, theirs: list[tuple[object, ...]], others: list[tuple[int, tuple[object, ...]]]
) -> None:
    fragment = PROMISED.plan(request(QUERIES[name])).blocks[0].fragments["jiangsu"]
    assert fragment.bounding.form == "none"
    _assert_moved_within(name, fragment, theirs, others)


@pytest.mark.parametrize(
    ("options", "form", "sensitivity"),
    [
        ({}, "none", MOST),
        ({"max_rows": 9}, "none", MOST),
        ({"max_rows": 1}, "clip_and_limit", MOST),  # in L2 it is less
        ({"max_rows": 2, "max_groups": 2}, "clip_and_limit", 4),
        ({"max_rows": 2}, "none", MOST),
        ({"max_groups": 1}, "clip_and_limit", MOST),
    ],
)
def test_limits_of_a_request_replace_promised_rows_where_they_let_no_more_count(
    options: dict[str, int], form: str, sensitivity: int
) -> None:
    sql = "SELECT hospital, COUNT(*) FROM visits GROUP BY hospital"
    fragment = PROMISED.plan(request(sql, **options)).blocks[0].fragments["jiangsu"]
    assert fragment.bounding.form == form
    assert fragment.measures[0].sensitivity == sensitivity


def _assert_moved_within(
    name: str,
    fragment: Fragment,
    theirs: list[tuple[object, ...]],
    others: list[tuple[int, tuple[object, ...]]],
) -> None:
    """The unit with the rows `theirs`, beside `others`, moves the exact sums by no more than is declared."""
    if name == "fixed key":  # the catalog promises it, and the node checks the promise before it serves
        theirs = [(*row[:2], "F", *row[3:]) for row in theirs]
    visits = [(person, *row) for person, row in others]
    residents = [(person, 1950, "F", "shanghai", True) for person in {person for person, _ in others}]
    with_unit = exact_sums(
        fragment, [*visits, *((PERSON, *row) for row in theirs)], [*residents, (PERSON, 2019, "M", "hefei", False)]
    )
    without = exact_sums(fragment, visits, residents)
    start = 0
    for measure in fragment.measures:
        place, start = slice(start, start + measure.width), start + measure.width
        nothing = (0,) * sum(part.width for part in fragment.measures)
        changes = [
            abs(mine - theirs)
            for cell in with_unit.keys() | without.keys()
            for mine, theirs in zip(with_unit.get(cell, nothing)[place], without.get(cell, nothing)[place], strict=True)
        ]
        assert sum(changes) <= measure.sensitivity
        assert sum(change**2 for change in changes) <= measure.sensitivity_l2**2
    for count, total, places in _counted(fragment):
        moved = [
            abs(mine - theirs)
            for cell in with_unit.keys() | without.keys()
            for mine, theirs in zip(
                *(_apart(total, sums.get(cell), places) for sums in (with_unit, without)), strict=True
            )
        ]
        assert sum(moved) <= count.sensitivity * (total.high - total.low)


def _counted(fragment: Fragment) -> Iterator[tuple[Measure, Measure, tuple[int, int]]]:
    """Counts with the centred sums of their rows, which may be noised as pairs; and their places in a row."""
    starts = dict(
        zip((part.name for part in fragment.measures), accumulate(_widths(fragment), initial=0), strict=False)
    )
    named = {part.name: part for part in fragment.measures}
    for total in fragment.measures:
        if total.weight is not None:
            yield named[total.weight], total, (starts[total.weight], starts[total.name])


def _widths(fragment: Fragment) -> list[int]:
    return [measure.width for measure in fragment.measures]


def _apart(total: Measure, row: tuple[int, ...] | None, places: tuple[int, int]) -> list[int]:
    n, s = (row[place] for place in places) if row is not None else (0, 0)
    return list(apart([n], [s], total.low, total.high))


@pytest.mark.parametrize("name", QUERIES)
@given(rows=st.lists(st.tuples(st.integers(100, 103), visit), max_size=40))
@settings(max_examples=40, deadline=None)
def test_large_tables_give_the_same_integers(name: str, rows: list[tuple[int, tuple[object, ...]]]) -> None:
    fragment = plan(QUERIES[name], max_rows=3, max_groups=4).blocks[0].fragments["jiangsu"]
    visits = [(person, *row[:2], "FM"[person % 2], *row[3:]) for person, row in rows]
    residents = [(person, 1950, "F", "shanghai", True) for person, _ in dict(rows).items()]
    plain, large = (exact_sums(fragment, visits, residents, large=large) for large in (False, True))
    nothing = (0,) * sum(measure.width for measure in fragment.measures)
    assert all(plain.get(cell, nothing) == large.get(cell, nothing) for cell in plain.keys() | large.keys())


def test_a_heavy_unit_reaches_the_sensitivity_and_no_more() -> None:
    fragment = plan(QUERIES["few groups"], max_rows=3).blocks[0].fragments["anhui"]
    kinds = ["outpatient", "inpatient", "emergency", "checkup", "test"]
    heavy: list[tuple[object, ...]] = [(PERSON, 1, 30, "F", 100_000, 5, kind) for kind in kinds for _ in range(50)]
    sums = exact_sums(fragment, heavy, [])
    assert [sum(abs(row[place]) for row in sums.values()) for place in range(3)] == [
        measure.sensitivity for measure in fragment.measures
    ]


def test_an_average_keeps_the_mean_of_a_unit_with_too_many_rows() -> None:
    fragment = plan("SELECT AVG(cost) FROM visits", max_rows=2).blocks[0].fragments["anhui"]
    rows: list[tuple[object, ...]] = [
        (PERSON, 1, 30, "F", cents, 5, "test") for cents in (10_000, 20_000, 60_000, 30_000)
    ]
    (count, total), *_ = exact_sums(fragment, rows, []).values()
    measure = fragment.measures[1]
    assert count == 2
    assert (measure.centre + total / count) * measure.grid == pytest.approx(300)


def test_scaling_a_unit_down_does_not_round_its_mean_away() -> None:
    fragment = (
        plan("SELECT AVG(CASE WHEN kind = 'test' THEN 1 ELSE 0 END) FROM visits", max_rows=2)
        .blocks[0]
        .fragments["anhui"]
    )
    kinds = ["test", "checkup", "inpatient", "emergency", "outpatient"]
    (count, total), *_ = exact_sums(fragment, [(PERSON, 1, 30, "F", 0, 5, kind) for kind in kinds], []).values()
    measure = fragment.measures[1]
    assert (measure.centre + total / count) * measure.grid == pytest.approx(0.2, abs=1e-3)


def test_the_groups_that_are_kept_depend_on_the_secret_and_on_nothing_else() -> None:
    fragment = (
        plan("SELECT hospital, COUNT(*) FROM visits GROUP BY hospital", max_groups=3).blocks[0].fragments["anhui"]
    )
    rows: list[tuple[object, ...]] = [(PERSON, n, 30, "F", 0, 5, "test") for n in range(1, 21)]
    kept = _kept(exact_sums(fragment, rows, []))
    assert len(kept) == 3
    assert _kept(exact_sums(fragment, [*reversed(rows), (8, 1, 30, "F", 0, 5, "test")], [])) >= kept
    assert bounded_sql(fragment, secret="ab") != bounded_sql(fragment, secret="cd")


def _kept(sums: dict[object, tuple[int, ...]]) -> set[object]:
    return {cell for cell, numbers in sums.items() if any(numbers)}


@pytest.mark.parametrize("filtered", range(1, 6))
def test_one_unit_does_not_decide_whether_another_counts(filtered: int) -> None:
    """A group that one unit alone would drop from the sums may be in its histogram, whoever else is in that group."""
    sql = "SELECT hospital, QUANTILE_CONT(age, 0.5) FILTER (WHERE age > 9), COUNT(*) FROM visits GROUP BY hospital"
    fragment = plan(sql, max_rows=3, max_groups=4).blocks[0].fragments["jiangsu"]
    tree = next(measure for measure in fragment.measures if measure.kind == "tree")
    place = fragment.measures.index(tree)
    before = sum(measure.width for measure in fragment.measures[:place])
    ages = {hospital: 5 if hospital == filtered else 30 for hospital in range(1, 6)}
    one = [(8, n, age, "F", 0, 5, "test") for n, age in ages.items() for _ in range(3)]
    full = [(PERSON, n, 30, "F", 0, 5, "test") for n in range(1, 6) for _ in range(3)]
    alone, both = exact_sums(fragment, one, []), exact_sums(fragment, [*one, *full], [])
    nothing = (0,) * sum(measure.width for measure in fragment.measures)
    change = sum(
        abs(mine - theirs)
        for cell in alone.keys() | both.keys()
        for mine, theirs in list(zip(both.get(cell, nothing), alone.get(cell, nothing), strict=True))[
            before : before + tree.width
        ]
    )
    assert change <= tree.sensitivity
