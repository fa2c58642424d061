"""WITH DIFFERENTIAL_PRIVACY OPTIONS(…): tightens what the request allows, and stands at one place."""

import pytest

from privacy.errors import ConstructRefused, Position, QueryRefused
from privacy.fragment import Fragment, Plan
from tests.privacy.corpus_planner import plan

REST = "kind, COUNT(*), SUM(cost) FROM visits GROUP BY kind"


def _with(options: str, rest: str = REST) -> str:
    return f"SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS({options}) {rest}"


def _released(planned: Plan) -> list[dict[str, Fragment]]:
    return [block.fragments for block in planned.blocks]


@pytest.mark.parametrize(
    ("clause", "asked", "meant"),
    [
        ("", {"epsilon": 0.5}, {"epsilon": 0.5}),
        ("epsilon = 0.5", {"epsilon": 1.0}, {"epsilon": 0.5}),
        ("epsilon = 2", {"epsilon": 1.0}, {"epsilon": 1.0}),
        ("delta = 0", {}, {"delta": 0.0}),
        ("delta = 1e-3", {}, {}),
        ("max_groups_contributed = 2", {}, {"max_groups": 2}),
        ("max_groups_contributed = 2, max_rows_contributed = 3", {"max_rows": 4}, {"max_groups": 2, "max_rows": 3}),
        ("MAX_ROWS_CONTRIBUTED = 9", {"max_rows": 4}, {"max_rows": 4}),
        ("max_groups_contributed = 1000000", {}, {}),
        ("max_standard_error = 9e6", {}, {"max_standard_error": 9_000_000}),
        ("max_standard_error = 9e6", {"max_standard_error": 8e6}, {"max_standard_error": 8e6}),
    ],
)
def test_the_smaller_of_clause_and_request_holds(clause: str, asked: dict[str, float], meant: dict[str, float]) -> None:
    """The releases are those of the plain query, so what was paid for in one spelling is free in the other."""
    written, plain = plan(_with(clause), **asked), plan(f"SELECT {REST}", **meant)
    assert _released(written) == _released(plain)
    assert (written.epsilon, written.delta, written.rest) == (plain.epsilon, plain.delta, plain.rest)


def test_the_options_may_be_missing() -> None:
    assert plan(f"SELECT WITH DIFFERENTIAL_PRIVACY {REST}") == plan(f"SELECT {REST}")


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        (
            _with("epsilon = 0.5", "n * 1.0 / SUM(n) OVER () FROM (SELECT kind, COUNT(*) AS n FROM visits GROUP BY kind) AS t"),
            "SELECT n * 1.0 / SUM(n) OVER () FROM (SELECT kind, COUNT(*) AS n FROM visits GROUP BY kind) AS t",
        ),
        (
            f"WITH t AS (SELECT {REST}) {_with('epsilon = 0.5', '* FROM t UNION ALL SELECT * FROM t')}",
            "",
        ),
        (
            _with("epsilon = 0.5", "* FROM (SELECT COUNT(*) AS n FROM visits UNION ALL SELECT COUNT(*) FROM residents) AS t"),
            "SELECT * FROM (SELECT COUNT(*) AS n FROM visits UNION ALL SELECT COUNT(*) FROM residents) AS t",
        ),
        (
            f"WITH t AS (SELECT {REST}) {_with('epsilon = 0.5', '* FROM t')}",
            f"WITH t AS (SELECT {REST}) SELECT * FROM t",
        ),
        (f"({_with('epsilon = 0.5')})", f"(SELECT {REST})"),
        (f"FROM visits {_with('epsilon = 0.5', 'COUNT(*)')}", "SELECT COUNT(*) FROM visits"),
        (
            _with("epsilon = 0.5", "* FROM (PIVOT (SELECT kind, sex, COUNT(*) AS n FROM visits GROUP BY ALL) ON sex IN ('F', 'M') USING SUM(n))"),
            "SELECT * FROM (PIVOT (SELECT kind, sex, COUNT(*) AS n FROM visits GROUP BY ALL) ON sex IN ('F', 'M') USING SUM(n))",
        ),
    ],
)  # fmt: skip
def test_it_is_about_all_blocks_together(written: str, plain: str) -> None:
    if not plain:
        with pytest.raises(QueryRefused):
            plan(written)
        return
    found = plan(written)
    assert found.epsilon == pytest.approx(0.5)
    assert _released(found) == _released(plan(plain, epsilon=0.5))


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT * FROM ({_with('epsilon = 0.5')}) AS t",
        f"WITH t AS ({_with('epsilon = 0.5')}) SELECT * FROM t",
        f"{_with('epsilon = 0.5')} UNION ALL SELECT {REST}",
        f"SELECT {REST} UNION ALL {_with('epsilon = 0.5')}",
        _with("epsilon = 0.5", f"* FROM ({_with('epsilon = 0.5')}) AS t"),
        f"SELECT COUNT(*) FROM visits WHERE person_id IN ({_with('epsilon = 1', 'person_id FROM residents')})",
    ],
)
def test_it_stands_at_the_outermost_select_alone(sql: str) -> None:
    with pytest.raises(ConstructRefused, match="outermost") as refused:
        plan(sql)
    assert refused.value.position is not None
    assert sql[refused.value.position.column - 1 :].startswith("WITH DIFFERENTIAL_PRIVACY")
    assert "FROM (…) AS t" in refused.value.remedy


@pytest.mark.parametrize(
    ("options", "column", "words", "remedy"),
    [
        ("epsilom = 1", 42, "`epsilom` is no option", "max_groups_contributed"),
        ("kappa = 1", 42, "`kappa`", "Write max_groups_contributed"),
        ("privacy_unit_column = person_id", 42, "`privacy_unit_column`", "the catalog says"),
        ("epsilon", 42, "`epsilon` is no option", "OPTIONS(name = value, …)"),
        ("epsilon > 1", 42, "`epsilon > 1`", "OPTIONS(name = value, …)"),
        ("visits.epsilon = 1", 42, "`visits.epsilon = 1`", "OPTIONS(name = value, …)"),
        ("epsilon = 1, epsilon = 2", 55, "twice", "once"),
        ("epsilon = 0", None, "epsilon is a number above 0", "OPTIONS(epsilon = 0.5)"),
        ("epsilon = -1", None, "`epsilon = -1`", "OPTIONS(epsilon = 0.5)"),
        ("epsilon = 1e400", None, "at most 1e+09", "OPTIONS(epsilon = 0.5)"),
        ("epsilon = '1'", None, "`epsilon = '1'`", "OPTIONS(epsilon = 0.5)"),
        ("epsilon = NULL", 42, "`epsilon = NULL`", "OPTIONS(epsilon = 0.5)"),
        ("epsilon = 1 + 1", None, "`epsilon = 1 + 1`", "Write it out"),
        ("epsilon = LN(2)", None, "`epsilon = LN(2)`", "Write it out"),
        ("epsilon = cost", 52, "`epsilon = cost`", "Write it out"),
        ("epsilon = (SELECT MAX(cost) FROM visits)", None, "epsilon is a number", "Write it out"),
        ("delta = 0.5", None, "from 0 to 0.001", "OPTIONS(delta = 1e-9)"),
        ("max_groups_contributed = 0", None, "whole number from 1", "OPTIONS(max_groups_contributed = 2)"),
        ("max_groups_contributed = NULL", None, "whole number from 1", "OPTIONS(max_groups_contributed = 2)"),
        ("max_standard_error = 0", None, "number above 0", "OPTIONS(max_standard_error = 50)"),
        ("max_rows_contributed = 1.5", None, "whole number from 1", "OPTIONS(max_rows_contributed = 5)"),
    ],
)  # fmt: skip
def test_what_an_option_cannot_be_is_refused(options: str, column: int | None, words: str, remedy: str) -> None:
    with pytest.raises(ConstructRefused) as refused:
        plan(_with(options))
    assert words in refused.value.message
    assert remedy in refused.value.remedy
    assert refused.value.position is not None
    assert column is None or refused.value.position == Position(1, column)


@pytest.mark.parametrize("sql", ["SELECT WITH PRIVACY COUNT(*) FROM visits", _with("epsilon = 1").replace(")", "", 1)])
def test_half_a_clause_is_a_syntax_error(sql: str) -> None:
    with pytest.raises(QueryRefused) as refused:
        plan(sql)
    assert refused.value.code == "query.syntax"
    assert refused.value.position is not None
