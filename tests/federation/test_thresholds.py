"""Groups that nobody can list, through real daemons: what enough people share appears, and nothing else."""

import duckdb
import pytest

import weir
from tests.federation.compare import assert_same_answer

EPSILON = 1e6  # noise vanishes, and the threshold is one person

# Every group has many people in every province, so that nothing is left out. `FLOOR(cost / 100)` would be listed.
POPULAR = [
    "SELECT cost - cost % 100 AS band, COUNT(*) AS n, AVG(age), SUM(cost) FROM visits GROUP BY band ORDER BY n DESC",
    "SELECT kind || '-' || (cost - cost % 250) AS class, COUNT(*), AVG(cost) FROM visits GROUP BY class",
    "SELECT ROUND((cost - cost % 300) / 3, 1) AS about, sex, COUNT(*) FROM visits WHERE age > 30 GROUP BY ALL",
    "SELECT province, cost - cost % 200 AS band, COUNT(*) FROM visits GROUP BY ALL HAVING COUNT(*) > 500",
    "SELECT cost - cost % 500 AS half, kind, COUNT(*), STDDEV(cost) FROM visits GROUP BY ROLLUP (half, kind)",
    "SELECT cost - cost % 200 AS band, MEDIAN(age), MAX(age) FROM visits GROUP BY band",
]


@pytest.mark.parametrize("sql", POPULAR)
def test_popular_groups_equal_plain_duckdb(rich: weir.Connection, union: duckdb.DuckDBPyConnection, sql: str) -> None:
    answer = rich.sql(sql, epsilon=EPSILON)
    assert_same_answer(answer, union.sql(sql).df(), sql)
    assert answer.delta == 1e-9
    assert any("too few persons share" in note for note in answer.notes)


def test_each_province_shows_what_two_of_its_people_share(
    rich: weir.Connection, union: duckdb.DuckDBPyConnection
) -> None:
    """At ε = 1e6 the threshold is 1: a cost of one person in a province is not shown, that of two is, and their sum."""
    sql = "SELECT cost, COUNT(*) AS n FROM visits GROUP BY cost"
    plan = rich.explain(sql, epsilon=EPSILON)
    assert {node.threshold and node.threshold.above for node in plan.nodes} == {1}
    wanted = union.sql(
        "SELECT cost, SUM(n) AS n FROM (SELECT province, cost, COUNT(*) AS n FROM visits GROUP BY ALL"
        " HAVING COUNT(DISTINCT person_id) > 1) AS shown GROUP BY cost"
    ).fetchall()
    answer = rich.sql(sql, epsilon=EPSILON)
    found = answer.df()
    assert dict(zip(found["cost"], found["n"], strict=True)) == {cost: int(n) for cost, n in wanted}
    assert len(wanted) > 100
    assert len(found) < union.sql("SELECT COUNT(DISTINCT cost) FROM visits").fetchall()[0][0]
    assert answer.standard_errors()["n"].notna().all()


def test_rare_groups_stay_away_and_popular_ones_come_at_a_usual_epsilon(rich: weir.Connection) -> None:
    """False alarm: 1e-6 for the rare ones, by δ; the popular ones have some 1,000 people where 100 are enough."""
    sql = "SELECT CASE WHEN cost < 900 THEN FLOOR(cost / 450) ELSE cost END AS part, COUNT(*) AS n FROM visits GROUP BY part"
    answer = rich.sql(sql, epsilon=2.0, max_groups=2, max_rows=1, delta=1e-9)
    assert sorted(answer.df()["part"]) == [0.0, 1.0]
    above = rich.explain(sql, epsilon=2.0, max_groups=2, max_rows=1).nodes[0].threshold
    assert above is not None
    assert answer.df()["n"].min() > above.above


def test_too_many_cells_are_decided_on_by_a_threshold(rich: weir.Connection, union: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT visit_date, hospital, age, COUNT(*) AS n FROM visits GROUP BY ALL"
    found = rich.sql(sql, epsilon=EPSILON).df()
    plain = union.sql(f"{sql} HAVING COUNT(DISTINCT person_id) > 1").df()
    assert len(found) == len(plain) > 0
    assert found["n"].sum() == plain["n"].sum()


def test_an_answer_may_have_no_group(rich: weir.Connection) -> None:
    answer = rich.sql("SELECT cost, SUM(cost) AS total, COUNT(*) FROM visits GROUP BY cost", epsilon=0.1)
    assert answer.df().empty
    assert answer.standard_errors().empty
    assert not answer.missing
    assert any("too few persons share" in note for note in answer.notes)
    assert rich.sql("SELECT cost, SUM(cost) AS total, COUNT(*) FROM visits GROUP BY cost", epsilon=0.1).df().empty


def test_delta_is_charged(poor: weir.Connection) -> None:
    sql = "SELECT cost - cost % 100 AS band, COUNT(*) FROM visits GROUP BY band"
    poor.sql(sql, epsilon=0.5)
    spent = [node.delta_spent for node in poor.budget().nodes]
    assert spent == pytest.approx([2.5e-10] * 4)  # half of δ for the thresholds, a person at two nodes
    with pytest.raises(weir.RequestRefused, match="δ"):
        poor.sql(sql, epsilon=0.5, delta=1e-3)
    with pytest.raises(weir.DomainRefused, match="delta > 0"):
        poor.sql(sql, epsilon=0.5, delta=0.0)
    assert [node.delta_spent for node in poor.budget().nodes] == spent


def test_the_explanation_shows_the_threshold(rich: weir.Connection) -> None:
    plan = rich.explain("SELECT cost, COUNT(*) FROM visits GROUP BY cost", epsilon=1.0)
    threshold = plan.nodes[0].threshold
    assert threshold is not None
    assert 0 < threshold.delta <= 1e-9
    assert f"with > {threshold.above:,} persons" in " ".join(repr(plan).split())
