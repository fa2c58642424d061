"""Which columns of an answer are linear in the measures."""

import pytest

from privacy.fragment import OutputColumn
from privacy.linear import Form
from tests.privacy.corpus_planner import plan


def column(sql: str, *, table: str = "visits", **options: object) -> OutputColumn:
    return plan(f"SELECT {sql} AS c FROM {table}", **options).rest.columns[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sql", "form"),
    [
        ("COUNT(*)", (("m0", 1.0),)),
        ("-COUNT(*)", (("m0", -1.0),)),
        ("2 * (COUNT(*) - 7) + 1", (("m0", 2.0),)),
        ("COUNT(*) * 100.0 / 8", (("m0", 12.5),)),
        ("SUM(age)", (("m0", 1.0),)),
        ("SUM(cost)", (("m0", 0.01),)),
        ("COUNT(*) - COUNT(*)", (("m0", 0.0),)),
        ("COUNT(*) FILTER (WHERE province = 'anhui') - COUNT(*) FILTER (WHERE age > 3)", (("m0", 1.0), ("m1", -1.0))),
        ("CAST(COUNT(*) AS DOUBLE) / 4 + SUM(cost) FILTER (WHERE age > 3)", (("m0", 0.25), ("m1", 0.01))),
    ],
)
def test_sums_are_linear(sql: str, form: Form) -> None:
    found = column(sql)
    assert found.noisy
    assert found.linear is not None
    assert [name for name, _ in found.linear] == [name for name, _ in form]
    assert [by for _, by in found.linear] == pytest.approx([by for _, by in form])
    assert not plan(f"SELECT {sql} AS c FROM visits").rest.error_sql


def test_a_sum_beside_its_count_is_linear_in_both() -> None:
    rest = plan("SELECT SUM(cost) AS s, COUNT(*) AS n FROM visits").rest
    assert rest.columns[0].linear is not None
    assert len(rest.columns[0].linear) == 2
    assert rest.error_sql == ""


@pytest.mark.parametrize(
    "sql",
    [
        "AVG(cost)",
        "SUM(cost) / COUNT(*)",
        "100 / COUNT(*)",
        "COUNT(*) * COUNT(*)",
        "COUNT(*) // 2",
        "COUNT(*) % 2",
        "ROUND(SUM(cost))",
        "ABS(COUNT(*))",
        "GREATEST(COUNT(*), 0)",
        "LN(COUNT(*))",
        "CASE WHEN COUNT(*) > 3 THEN COUNT(*) END",
        "CAST(AVG(cost) AS BIGINT)",
        "MEDIAN(cost)",
        "STDDEV(cost) + COUNT(*)",
    ],
)
def test_other_expressions_are_simulated(sql: str) -> None:
    found = column(sql)
    assert found.noisy
    assert found.linear is None
    assert "FROM simulated" in plan(f"SELECT {sql} AS c FROM visits").rest.error_sql


def test_what_depends_on_a_key_is_simulated() -> None:
    assert plan("SELECT age, age * COUNT(*) AS c FROM visits GROUP BY age").rest.columns[1].linear is None


def test_only_what_is_not_linear_is_simulated() -> None:
    rest = plan("SELECT kind, COUNT(*) AS n, AVG(cost) AS c, COUNT(*) > 3 AS many FROM visits GROUP BY kind").rest
    assert [entry.noisy for entry in rest.columns] == [False, True, True, False]
    assert rest.error_sql.count(" AS v") == 1
