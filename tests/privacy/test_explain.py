"""EXPLAIN before a query: the same plan, of which nothing may be released."""

from dataclasses import replace

import pytest

from privacy.errors import ConstructRefused, Position, QueryRefused
from tests.privacy.corpus_planner import plan

SQL = "SELECT kind, COUNT(*) FROM visits GROUP BY kind"


@pytest.mark.parametrize(
    ("sql", "plain"),
    [
        (f"EXPLAIN {SQL}", SQL),
        (f"explain\n{SQL};", SQL),
        (f"-- what would it cost?\nEXPLAIN ({SQL})", f"({SQL})"),
        (f"EXPLAIN WITH t AS ({SQL}) SELECT * FROM t", f"WITH t AS ({SQL}) SELECT * FROM t"),
        ("EXPLAIN FROM visits SELECT COUNT(*)", "SELECT COUNT(*) FROM visits"),
        (
            f"EXPLAIN ({SQL}) UNION ALL ({SQL})",
            f"({SQL}) UNION ALL ({SQL})",
        ),
        ("EXPLAIN SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 1) COUNT(*) FROM visits", "SELECT COUNT(*) FROM visits"),
        (
            "EXPLAIN PIVOT (SELECT kind, sex, COUNT(*) AS n FROM visits GROUP BY kind, sex) ON sex IN ('F', 'M') USING SUM(n)",
            "PIVOT (SELECT kind, sex, COUNT(*) AS n FROM visits GROUP BY kind, sex) ON sex IN ('F', 'M') USING SUM(n)",
        ),
    ],
)  # fmt: skip
def test_it_is_the_plan_of_the_query(sql: str, plain: str) -> None:
    assert not plan(plain).explains
    assert plan(sql) == replace(plan(plain), explains=True)


@pytest.mark.parametrize(
    "form",
    ["ANALYZE", "(FORMAT json)", "(ANALYZE, FORMAT 'json')", "FORMAT = JSON", "VERBOSE", "QUERY PLAN", "EXPLAIN", "(ANALYZE"],
)  # fmt: skip
def test_other_forms_are_refused_with_what_there_is(form: str) -> None:
    with pytest.raises(ConstructRefused, match="plain form") as refused:
        plan(f"EXPLAIN {form} {SQL}")
    assert refused.value.position == Position(1, 1)
    assert "--format json" in refused.value.remedy


@pytest.mark.parametrize(
    "sql",
    [
        "EXPLAIN",
        "EXPLAIN DELETE FROM visits",
        "EXPLAIN SELECT * FROM visits",
        "EXPLAIN SELECT COUNT(*) FROM vists",
        f"WITH t AS ({SQL}) EXPLAIN SELECT * FROM t",
        f"SELECT * FROM (EXPLAIN {SQL}) AS t",
        f"EXPLAIN {SQL}; {SQL}",
        f"DESCRIBE {SQL}",
        f"SUMMARIZE {SQL}",
    ],
)
def test_what_cannot_be_asked_cannot_be_explained(sql: str) -> None:
    with pytest.raises(QueryRefused) as refused:
        plan(sql)
    assert refused.value.remedy


def test_a_column_may_be_called_so() -> None:
    assert plan("SELECT COUNT(*) AS explain FROM visits").rest.columns[0].name == "explain"
