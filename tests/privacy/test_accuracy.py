"""Accuracy first: the ε that is found is enough, is the least that is, and is the same on every machine."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.accuracy import _first
from privacy.errors import ConstructRefused, RequestRefused
from privacy.fragment import Plan
from privacy.noise import variance
from privacy.planner import Planner
from tests.privacy.corpus_planner import catalog, plan, request

BY_KIND = "SELECT kind, COUNT(*) AS n FROM visits GROUP BY kind"
SUMS = "SELECT kind, SUM(cost) AS s, COUNT(*) AS n, AVG(age) AS a FROM visits GROUP BY kind"
SHOWN = "SELECT cost - cost % 100 AS band, COUNT(*) AS n FROM visits GROUP BY band"
QUERIES = [
    ("SELECT COUNT(*) AS n FROM visits", 1.0),
    (BY_KIND, 40.0),
    ("SELECT kind, 2 * COUNT(*) - 5 AS n FROM visits GROUP BY kind", 40.0),
    ("SELECT province, kind, COUNT(*) AS n FROM visits GROUP BY ALL", 40.0),
    ("SELECT CASE WHEN province = 'anhui' THEN 'a' ELSE 'b' END AS k, COUNT(*) AS n FROM visits GROUP BY k", 9.0),
    ("SELECT COUNT(*) AS n FROM visits WHERE province = 'shanghai'", 0.7),
    (SUMS, 9_000.0),
    ("SELECT hospital, age, COUNT(*) AS n FROM visits GROUP BY ALL", 12.0),  # many cells: Gaussian noise
    (SHOWN, 60.0),
]


def _greatest(planned: Plan) -> float:
    """The greatest standard error of a linear column, cell by cell."""
    (block,) = planned.blocks
    worst = 0.0
    for column in planned.rest.columns:
        cells: dict[tuple[object, ...], float] = {}
        for fragment in block.fragments.values():
            form = dict(column.linear or ())
            own = sum(form.get(one.name, 0.0) ** 2 * variance(one.mechanism, one.scale) for one in fragment.measures)
            for cell in fragment.cells.to_pylist() or [{}]:
                key = tuple(cell.values())
                cells[key] = cells.get(key, 0.0) + own
        worst = max(worst, *cells.values())
    return math.sqrt(worst)


@pytest.mark.parametrize(("sql", "most"), QUERIES)
@pytest.mark.parametrize("delta", [0.0, 1e-9])
def test_what_is_found_is_enough_and_one_step_less_is_not(sql: str, most: float, delta: float) -> None:
    if sql == SHOWN and not delta:
        pytest.skip("needs a threshold")
    found = plan(sql, epsilon=1e3, delta=delta, max_standard_error=most)
    assert found.epsilon < 1e3
    assert most * 0.97 < _greatest(found) <= most
    digits = float(f"{found.epsilon:.2e}")
    assert digits == found.epsilon
    step = 10.0 ** (math.floor(math.log10(digits)) - 2)
    assert _greatest(plan(sql, epsilon=digits - step, delta=delta)) > most


@pytest.mark.parametrize(("sql", "most"), QUERIES)
def test_it_is_the_release_of_that_epsilon(sql: str, most: float) -> None:
    """So it is free for whoever names the ε afterwards, and whatever was allowed."""
    found = plan(sql, epsilon=1e3, max_standard_error=most)
    plain = plan(sql, epsilon=found.epsilon)
    assert found.blocks == plain.blocks
    assert found.notes[1:] == plain.notes
    assert plan(sql, epsilon=900.0, max_standard_error=most).blocks == found.blocks


def test_coordinator_and_node_find_the_same() -> None:
    asked = request(SUMS, epsilon=70.0, max_standard_error=9_000.0)
    assert Planner(catalog()).plan(asked) == Planner(catalog()).plan(asked)


def test_the_note_says_what_it_holds_for() -> None:
    note = plan(SUMS, epsilon=1e3, max_standard_error=9_000.0).notes[0]
    assert "the standard error of `s`, `n` within 9000. It says nothing of `a`." in note


def test_a_relative_error_is_that_of_the_count_that_is_expected() -> None:
    relative = plan(BY_KIND, epsilon=100.0, max_relative_error=0.05, expected_rows=1000)
    assert relative == plan(BY_KIND, epsilon=100.0, max_standard_error=50)
    both = plan(BY_KIND, epsilon=100.0, max_relative_error=0.05, expected_rows=1000, max_standard_error=20)
    assert both == plan(BY_KIND, epsilon=100.0, max_standard_error=20)


def test_the_clause_has_the_same_options() -> None:
    sql = BY_KIND.replace(
        "SELECT",
        "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 90, max_relative_error = 0.05, expected_rows = 1000)",
    )
    assert plan(sql, epsilon=100.0) == plan(BY_KIND, epsilon=90.0, max_standard_error=50)
    stricter = plan(sql, epsilon=100.0, max_relative_error=0.01)
    assert stricter == plan(BY_KIND, epsilon=90.0, max_standard_error=10)


def test_no_more_is_spent_than_is_allowed() -> None:
    exact = plan(BY_KIND, epsilon=100.0, max_standard_error=50).epsilon
    between = exact + 0.004  # not a number of three digits, and the next one is more
    assert plan(BY_KIND, epsilon=between, max_standard_error=50).epsilon == exact
    just = _greatest(plan(BY_KIND, epsilon=exact - 0.004))
    assert plan(BY_KIND, epsilon=exact - 0.004, max_standard_error=just).epsilon == exact - 0.004


def test_what_cannot_be_reached_is_refused_with_what_can() -> None:
    with pytest.raises(RequestRefused) as refused:
        plan(BY_KIND, epsilon=1.0, max_standard_error=50)
    assert str(refused.value) == (
        "With all of ε = 1 the standard error of `n` is still 312; at most 50 is asked for.\n"
        "  → Ask for 312, or allow epsilon = 6.23. Fewer columns, and lower max_rows and max_groups, err less."
    )
    assert plan(BY_KIND, epsilon=1.0, max_standard_error=312).epsilon <= 1
    assert plan(BY_KIND, epsilon=6.23, max_standard_error=50).epsilon == 6.23


def test_of_several_columns_the_refusal_names_the_one_that_errs_most() -> None:
    with pytest.raises(RequestRefused, match="of `s` is still"):
        plan(SUMS, epsilon=1.0, max_standard_error=50)


@pytest.mark.parametrize(
    ("sql", "options", "words", "remedy"),
    [
        (BY_KIND, {"max_relative_error": 0.05}, "a size to be relative to", "expected_rows"),
        (BY_KIND, {"expected_rows": 1000}, "without `max_relative_error`", "both"),
        (SUMS, {"max_relative_error": 0.05, "expected_rows": 10}, "`s` is a sum", "max_standard_error"),
        ("SELECT AVG(cost) FROM visits", {"max_standard_error": 5}, "no count and no sum", "COUNT(*)"),
        ("SELECT MEDIAN(cost) FROM visits", {"max_standard_error": 5}, "no count and no sum", "COUNT(*)"),
        (f"SELECT * FROM ({BY_KIND}) AS t", {"expected_rows": 5}, "without `max_relative_error`", "both"),
        (BY_KIND, {"expected_rows": 1000, "max_standard_error": 50}, "without `max_relative_error`", "both"),
        (SUMS, {"max_standard_error": {"m": 5}}, "no column `m`", "`kind`, `s`, `n`, `a`"),
        (SUMS, {"max_standard_error": {"kind": 5}}, "`kind` has no noise", "with noise"),
        (SUMS, {"max_standard_error": {"a": 5}}, "how many rows are behind it", "expected_rows = 1000"),
        (SUMS, {"max_relative_error": {"s": 0.05}, "expected_rows": 10}, "`s` is a sum", "{'n': 0.05}"),
        (SUMS, {"max_relative_error": {"a": 0.05}, "expected_rows": 10}, "`a` is none", "{'n': 0.05}"),
        ("SELECT MEDIAN(cost) AS m, COUNT(*) FROM visits", {"max_standard_error": {"m": 5}}, "hangs on the data", "error bars"),
        ("SELECT STDDEV(cost) AS m FROM visits", {"max_standard_error": {"m": 5}, "expected_rows": 9}, "hangs on the data", "variances"),
        (f"SELECT n / SUM(n) OVER () AS m FROM ({BY_KIND}) AS t", {"max_standard_error": 5}, "`m` hangs on the data", "error bars"),
        (SHOWN.replace("GROUP BY band", "GROUP BY ROLLUP (band)"), {"max_standard_error": 5}, "how many groups are shown", "ROLLUP"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused(sql: str, options: dict[str, float], words: str, remedy: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        plan(sql, epsilon=100.0, **options)
    assert words in refused.value.message
    assert remedy in refused.value.remedy


CLAUSE = "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 900, {}) "


@pytest.mark.parametrize(
    ("clause", "asked", "meant"),
    [
        ("max_standard_error = {'s': 9000}", {}, {"s": 9000}),
        ('max_standard_error = {s: 9e3, "n": 20}', {}, {"s": 9000, "n": 20}),
        ("max_standard_error = {'s': 9000}", {"s": 8000}, {"s": 8000}),
        ("max_standard_error = {'s': 9000}", {"n": 15}, {"s": 9000, "n": 15}),
        ("max_standard_error = 600", {"s": 9000}, 600),
        ("max_standard_error = {'n': 20}", 9000.0, {"s": 9000, "n": 20}),
        ("max_standard_error = 9000", {"n": 20}, {"s": 9000, "n": 20}),
    ],
)
def test_columns_have_limits_of_their_own_in_the_clause_and_the_request(
    clause: str, asked: object, meant: object
) -> None:
    more: dict[str, Any] = {"max_standard_error": asked} if asked else {}
    written = plan(SUMS.replace("SELECT ", CLAUSE.format(clause), 1), epsilon=1e5, **more)
    assert written.blocks == plan(SUMS, epsilon=900.0, max_standard_error=meant).blocks


@pytest.mark.parametrize("limits", ["{}", "{'n': 0}", "{'n': -1}", "{'n': '5'}", "{'n': 5, 'n': 6}", "{'': 5}", "{'n': s}", "[5]"])  # fmt: skip
def test_what_is_no_limit_of_columns_is_refused_in_the_clause(limits: str) -> None:
    with pytest.raises(ConstructRefused, match="or one for each of some columns") as refused:
        plan(SUMS.replace("SELECT ", CLAUSE.format(f"max_standard_error = {limits}"), 1))
    assert refused.value.position is not None


@pytest.mark.parametrize("limits", [{}, {"n": 0}, {"n": -1.0}, {"n": "5"}, {"": 5}, {"n": math.inf}, {"n": {"m": 5}}, [5]])  # fmt: skip
def test_what_is_no_limit_of_columns_is_refused_in_the_request(limits: object) -> None:
    with pytest.raises(RequestRefused, match=r"`options\.max_standard_error[^`]*`: [A-Z]"):
        request(SUMS, max_standard_error=limits)


@pytest.mark.parametrize("name", ["max_standard_error", "max_relative_error", "expected_rows"])
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, "50", True])
def test_what_is_no_size_is_refused(name: str, value: object) -> None:
    with pytest.raises(RequestRefused, match=name):
        request(BY_KIND, **{name: value})


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=4))
def test_the_search_finds_the_least_though_choices_change(pieces: list[tuple[int, int]]) -> None:
    """Pieces of places with the same choices, each with the place in it from which on it is enough."""
    enough = [place >= start for length, start in pieces for place in range(length)] + [True]
    choices = [piece for piece, (length, _) in enumerate(pieces) for _ in range(length)] + [len(pieces)]
    places = [float(place) for place in range(len(enough))]
    found = _first(places, lambda place: enough[int(place)], lambda place: choices[int(place)])
    assert found == enough.index(True)
