"""Queries over answers: which blocks they have, what each may spend, what is computed from them."""

from __future__ import annotations

import math

import pytest

from privacy.errors import ConstructRefused, QueryRefused, RequestRefused, RowsRefused
from privacy.fragment import Plan
from tests.privacy.corpus_planner import plan

BY_KIND = "SELECT kind, COUNT(*) AS n FROM visits GROUP BY kind"
RANKED = f"SELECT kind, n, RANK() OVER (ORDER BY n DESC) AS r FROM ({BY_KIND}) AS t"
RATIO = "SELECT (SELECT COUNT(*) FROM visits WHERE kind = 'test') / (SELECT COUNT(*) FROM residents) AS x"
MANY = f"WITH t AS ({BY_KIND}) SELECT a.kind, a.n - b.n AS d FROM t AS a JOIN t AS b ON a.kind = b.kind"


def labels(planned: Plan) -> list[list[str]]:
    return [[measure.label for measure in block.any_fragment.measures] for block in planned.blocks]


def test_a_plain_query_is_one_block_with_the_whole_budget() -> None:
    (block,) = plan(BY_KIND).blocks
    assert (block.name, block.epsilon) == ("merged", 1.0)
    assert not plan(BY_KIND).rest.joint


@pytest.mark.parametrize("sql", [RANKED, RATIO, MANY])
@pytest.mark.parametrize("delta", [0.0, 1e-9])
def test_the_budgets_of_blocks_add_up_to_no_more_than_was_asked(sql: str, delta: float) -> None:
    planned = plan(sql, epsilon=0.7, delta=delta)
    assert 0.7 * (1 - 1e-9) <= planned.epsilon <= 0.7
    assert planned.delta <= delta
    for fragments in planned.asked.values():
        assert math.fsum(fragment.epsilon for fragment in fragments.values()) <= 0.7


def test_what_is_asked_twice_is_released_once() -> None:
    assert labels(plan(MANY)) == [["COUNT(*)"]]
    assert labels(plan(RATIO)) == [["COUNT(*)"], ["COUNT(*)"]]


def test_the_block_that_errs_more_gets_more() -> None:
    visits, residents = plan(RATIO).blocks
    assert visits.any_fragment.measures[0].sensitivity > residents.any_fragment.measures[0].sensitivity
    assert visits.epsilon > residents.epsilon


def test_blocks_are_asked_only_of_the_provinces_that_have_rows_for_them() -> None:
    sql = "SELECT (SELECT COUNT(*) FROM visits WHERE province = 'anhui') AS a, (SELECT COUNT(*) FROM residents) AS b"
    planned = plan(sql)
    assert [len(block.fragments) for block in planned.blocks] == [1, 4]
    assert set(planned.asked["anhui"]) == {"merged", "merged2"}
    assert set(planned.asked["jiangsu"]) == {"merged2"}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT kind, COUNT(*) * 1.0 / SUM(COUNT(*)) OVER () AS share FROM visits GROUP BY kind",
        "SELECT kind, COUNT(*) AS n FROM visits GROUP BY kind QUALIFY RANK() OVER (ORDER BY COUNT(*) DESC) <= 2",
        "SELECT DISTINCT kind, COUNT(*) AS n FROM visits GROUP BY kind",
        "SELECT kind, COUNT(*) - (SELECT COUNT(*) FROM residents) AS d FROM visits GROUP BY kind HAVING COUNT(*) > 1",
        "SELECT kind, AVG(cost) AS m FROM visits GROUP BY kind ORDER BY RANK() OVER (ORDER BY COUNT(*)) LIMIT 3",
    ],
)
def test_windows_and_sub_queries_in_an_aggregating_select_stand_around_it(sql: str) -> None:
    planned = plan(sql)
    assert planned.rest.joint
    assert planned.rest.columns[0].name == "kind"
    assert len(planned.blocks[0].any_fragment.keys) == 1


def test_which_columns_noise_reaches() -> None:
    planned = plan(
        "SELECT kind, 'x' AS text, n > 100 AS large, n, UPPER(kind) AS name, ROW_NUMBER() OVER (ORDER BY kind) AS k "
        f"FROM ({BY_KIND}) AS t"
    )
    assert [column.name for column in planned.rest.columns if column.noisy] == ["large", "n", "k"]


@pytest.mark.parametrize(
    ("sql", "error", "message"),
    [
        ("SELECT kind FROM visits", RowsRefused, "returns rows"),
        (f"SELECT * FROM ({BY_KIND}) AS t JOIN visits AS v ON v.kind = t.kind", RowsRefused, "gives rows"),
        (f"SELECT person_id FROM visits UNION ALL SELECT n FROM ({BY_KIND}) AS t", RowsRefused, "returns rows"),
        (f"SELECT read_text(kind) FROM ({BY_KIND}) AS t", ConstructRefused, "not answered around"),
        (f"SELECT * FROM ({BY_KIND}) AS t, UNNEST([1, 2]) AS u(x)", ConstructRefused, "only tables"),
        (f"SELECT * FROM ({BY_KIND}) AS t, range(10)", ConstructRefused, "only tables"),
        ("SELECT person_id, COUNT(*) FROM visits GROUP BY person_id", RowsRefused, "identifies the privacy unit"),
        ("SELECT level, COUNT(*) FROM hospitals GROUP BY level", ConstructRefused, "public"),
        (
            "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r) SELECT COUNT(*) FROM r",
            QueryRefused,
            "not answered",
        ),
        (
            "SELECT kind, COUNT(*) FROM visits WHERE cost > (SELECT AVG(cost) FROM visits) GROUP BY kind",
            QueryRefused,
            "other rows",
        ),
        (" UNION ALL ".join(f"SELECT COUNT(*) FROM visits WHERE age > {age}" for age in range(17)), QueryRefused, "16"),
    ],
)
def test_refusals(sql: str, error: type[QueryRefused], message: str) -> None:
    with pytest.raises(error, match=message) as refused:
        plan(sql)
    assert refused.value.remedy


def test_weights_are_for_one_aggregation() -> None:
    with pytest.raises(RequestRefused, match="aggregate once"):
        plan(RANKED, weights={"n": 2.0})


def test_pivot_is_the_select_that_it_stands_for() -> None:
    pivot = plan(
        "PIVOT (SELECT kind, sex, COUNT(*) AS n FROM visits GROUP BY kind, sex) ON sex IN ('F', 'M') USING SUM(n)"
    )
    assert [column.name for column in pivot.rest.columns] == ["kind", "F", "M"]
    direct = plan("PIVOT visits ON sex IN ('F', 'M') USING COUNT(*) GROUP BY kind")
    written = plan(
        "SELECT kind, COUNT(*) FILTER (WHERE sex = 'F') AS F, COUNT(*) FILTER (WHERE sex = 'M') AS M FROM visits "
        "GROUP BY kind"
    )
    assert direct.blocks[0].any_fragment.relation == written.blocks[0].any_fragment.relation
    with pytest.raises(ConstructRefused, match="PIVOT"):
        plan("PIVOT visits ON sex USING COUNT(*) GROUP BY kind")


@pytest.mark.parametrize("star", ["*", "t.*"])
def test_a_star_around_blocks_is_their_columns(star: str) -> None:
    rest = plan(f"SELECT {star} FROM ({BY_KIND}) AS t").rest
    assert [(column.name, column.noisy) for column in rest.columns] == [("kind", False), ("n", True)]
