"""ROLLUP, CUBE and GROUPING SETS: which sets they are, and that only the finest groups go below the line."""

import pytest

from privacy.errors import ConstructRefused, DomainRefused, Position, QueryRefused, RowsRefused
from privacy.fragment import Plan
from tests.privacy.corpus_planner import plan


def planned(clause: str, items: str = "COUNT(*)") -> Plan:
    return plan(f"SELECT {items} FROM visits GROUP BY {clause}")


@pytest.mark.parametrize(
    ("clause", "keys", "sets"),
    [
        ("sex, kind", ["sex", "kind"], ()),
        ("(sex, kind)", ["sex", "kind"], ()),
        ("GROUPING SETS ((sex, kind))", ["sex", "kind"], ()),
        ("()", [], ()),
        ("sex, ()", ["sex"], ()),
        ("ROLLUP (sex, kind)", ["sex", "kind"], ((0, 1), (0,), ())),
        ("ROLLUP ((sex, kind), age)", ["sex", "kind", "age"], ((0, 1, 2), (0, 1), ())),
        ("CUBE (sex, kind)", ["sex", "kind"], ((0, 1), (0,), (1,), ())),
        ("CUBE (sex, (kind, age))", ["sex", "kind", "age"], ((0, 1, 2), (0,), (1, 2), ())),
        ("GROUPING SETS ((kind), sex, ())", ["kind", "sex"], ((0,), (1,), ())),
        ("GROUPING SETS (ROLLUP (sex), CUBE (kind))", ["sex", "kind"], ((0,), (), (1,), ())),
        ("sex, ROLLUP (kind, age)", ["sex", "kind", "age"], ((0, 1, 2), (0, 1), (0,))),
        ("ROLLUP (sex), ROLLUP (kind)", ["sex", "kind"], ((0, 1), (0,), (1,), ())),
        ("sex, ROLLUP (sex)", ["sex"], ((0,), (0,))),
        ("ROLLUP (province, age // 10)", ["province", "age // 10"], ((0, 1), (0,), ())),
    ],
)
def test_grouping_sets(clause: str, keys: list[str], sets: tuple[tuple[int, ...], ...]) -> None:
    found = planned(clause)
    labels = [key.label.replace("visits.", "") for key in found.blocks[0].fragments["anhui"].keys]
    assert (labels, found.blocks[0].grouping_sets) == (keys, sets)


def test_positions_and_aliases_stand_for_items() -> None:
    items = "age // 10 AS decade, kind, COUNT(*)"
    for clause in ("ROLLUP (1, 2)", "ROLLUP (decade, 2)", "ROLLUP (age // 10, kind)"):
        assert planned(clause, items) == planned("ROLLUP (decade, kind)", items)
    assert planned("GROUPING SETS ((1, (2)), ())", items).blocks[0].grouping_sets == ((0, 1), ())


def test_a_node_is_asked_for_the_finest_groups_only() -> None:
    finest = planned("sex, kind").blocks[0].fragments
    assert planned("ROLLUP (sex, kind)").blocks[0].fragments == finest
    assert planned("GROUPING SETS ((sex), (kind))").blocks[0].fragments == finest


@pytest.mark.parametrize(
    ("item", "sql"),
    [
        ("GROUPING(kind)", "r1"),
        ("GROUPING(sex, kind)", "((r0 * 2) + r1)"),
        ("GROUPING_ID(kind, sex)", "((r1 * 2) + r0)"),
        ("GROUPING_ID()", "((r0 * 2) + r1)"),
        ("IF(GROUPING(sex) = 1, 'all', sex)", "CASE WHEN r0 = 1 THEN 'all' ELSE k0 END"),
        ("COALESCE(kind, 'all')", "COALESCE(k1, 'all')"),
    ],
)
def test_grouping_says_what_is_rolled_up(item: str, sql: str) -> None:
    assert planned("ROLLUP (sex, kind)", f"{item} AS x, COUNT(*) AS n").rest.sql.startswith(f'SELECT {sql} AS "x", a0')


def test_without_grouping_sets_grouping_is_zero() -> None:
    assert 'SELECT 0 AS "g"' in planned("sex", "GROUPING(sex) AS g, COUNT(*)").rest.sql


def test_order_by_grouping_sees_the_key_behind_an_alias() -> None:
    sql = "SELECT COALESCE(kind, 'all') AS kind, COUNT(*) FROM visits GROUP BY ROLLUP (kind) ORDER BY GROUPING(kind)"
    assert plan(sql).rest.sql.endswith("ORDER BY answered.r0, answered.cell")


def test_names_of_the_answer_never_change_the_order() -> None:
    sql = "SELECT kind AS a0, COUNT(*) AS k0, COUNT(*) AS cell FROM visits GROUP BY kind ORDER BY kind"
    assert plan(sql).rest.sql.endswith("ORDER BY answered.k0, answered.cell")


@pytest.mark.parametrize(
    ("sql", "kind", "position", "words"),
    [
        ("SELECT GROUPING(age), COUNT(*) FROM visits GROUP BY ROLLUP (sex)", ConstructRefused, 8, "no key"),
        ("SELECT GROUPING(sex), COUNT(*) FROM visits", ConstructRefused, 8, "no key"),
        ("SELECT GROUPING_ID(), COUNT(*) FROM visits", ConstructRefused, 8, "no GROUP BY"),
        ("SELECT SUM(GROUPING(sex)) FROM visits GROUP BY ROLLUP (sex)", ConstructRefused, 8, "cannot be aggregated"),
        ("SELECT GROUPING(sex) FROM visits GROUP BY ROLLUP (sex)", RowsRefused, None, "no aggregate"),
        ("SELECT age, COUNT(*) FROM visits GROUP BY ROLLUP (sex)", RowsRefused, 8, "neither a group key"),
        ("SELECT COUNT(*) FROM visits WHERE GROUPING(sex) = 0 GROUP BY CUBE (sex)", ConstructRefused, 35, "GROUPING"),
        ("SELECT sex, COUNT(*) FROM visits GROUP BY sex WITH ROLLUP", ConstructRefused, None, "WITH ROLLUP"),
        ("SELECT COUNT(*) FROM visits GROUP BY ROLLUP (2)", ConstructRefused, 46, "position 2"),
        ("SELECT COUNT(*) FROM visits GROUP BY ROLLUP (cost)", DomainRefused, 46, "public domain"),
        ("SELECT COUNT(*) FROM visits GROUP BY ROLLUP (person_id)", RowsRefused, 46, "identifies"),
        (
            f"SELECT COUNT(*) FROM visits GROUP BY CUBE ({', '.join(f'age + {n}' for n in range(30))})",
            ConstructRefused,
            None,
            "more than 256 grouping sets",
        ),
        (
            f"SELECT COUNT(*) FROM visits GROUP BY {', '.join(f'ROLLUP (age + {n})' for n in range(30))}",
            ConstructRefused,
            None,
            "more than 256 grouping sets",
        ),
        ("SELECT COUNT(*) FROM visits GROUP BY CUBE (visit_date, hospital, age)", DomainRefused, None, "100,000"),
        (
            "SELECT COUNT(*) FROM visits GROUP BY CUBE (visit_date, hospital, kind)",
            DomainRefused,
            None,
            "8 grouping sets of 73,100 groups are more than 400,000 rows",
        ),
    ],
)
def test_refusals(sql: str, kind: type[QueryRefused], position: int | None, words: str) -> None:
    with pytest.raises(kind) as refusal:
        plan(sql, delta=0.0)
    assert words in refusal.value.message
    assert refusal.value.remedy
    if position is not None:
        assert refusal.value.position == Position(1, position)


def test_the_reader_is_told_that_levels_agree() -> None:
    assert any("all levels agree" in note for note in planned("ROLLUP (sex)").notes)
    assert not any("level" in note for note in planned("sex").notes)
