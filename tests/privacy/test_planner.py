"""The planner's rewrites as fixtures, and the public facts of its plans."""

import json
import math
from pathlib import Path

import pytest
import sqlglot

from privacy.bounding import bounded_sql
from privacy.catalog import parse_catalog
from privacy.fragment import Fragment
from privacy.parsing import Written, parse
from privacy.planner import Planner
from tests.privacy.corpus_planner import CATALOG, catalog, plan, request

FIXTURES = Path(__file__).parent / "fixtures" / "planner.sql"
SECRET = "5ec2e7"


def _written(sql: str) -> tuple[str, str]:
    planned = plan(sql)
    node = bounded_sql(planned.blocks[0].fragments["shanghai"], secret=SECRET)
    return _spread(node), _spread(planned.rest.sql)


def _spread(sql: str) -> str:
    return sqlglot.parse_one(sql, dialect="duckdb").sql(dialect="duckdb", pretty=True, comments=False)


def _cases() -> list[tuple[str, str, str]]:
    statements = [part.strip() for part in FIXTURES.read_text().split(";\n") if part.strip()]
    return [
        (statements[at], _spread(statements[at + 1]), _spread(statements[at + 2]))
        for at in range(0, len(statements), 3)
    ]


@pytest.mark.parametrize(("query", "node", "rest"), _cases())
def test_rewrite(query: str, node: str, rest: str) -> None:
    assert _written(query) == (node, rest)


def test_one_row_per_unit_is_a_single_aggregate_scan() -> None:
    sql = bounded_sql(
        plan("SELECT sex, COUNT(*), AVG(birth_year) FROM residents GROUP BY sex").blocks[0].fragments["anhui"],
        secret=SECRET,
    )
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    assert not list(tree.find_all(sqlglot.exp.Window))
    assert len(list(tree.find_all(sqlglot.exp.Group))) == 1
    assert " u" not in sql


def _cells(sql: str, province: str = "shanghai") -> list[dict[str, object]]:
    return plan(sql).blocks[0].fragments[province].cells.to_pylist()


def test_cells_come_from_the_catalog() -> None:
    assert [cell["k0"] for cell in _cells("SELECT kind, COUNT(*) FROM visits GROUP BY kind")] == sorted(
        catalog().tables["visits"].columns["kind"].values or ()
    )
    assert len(_cells("SELECT hospital, COUNT(*) FROM visits GROUP BY hospital")) == 20
    assert len(_cells("SELECT age // 10 AS d, COUNT(*) FROM visits GROUP BY d")) == 11
    assert len(_cells("SELECT DATE_TRUNC('quarter', visit_date) AS q, sex, COUNT(*) FROM visits GROUP BY q, sex")) == 16


def test_keys_that_share_a_column_are_listed_together() -> None:
    assert (
        len(_cells("SELECT YEAR(visit_date), DATE_TRUNC('month', visit_date), COUNT(*) FROM visits GROUP BY ALL")) == 24
    )
    by_city = _cells(
        "SELECT h.hospital, h.city, COUNT(*) FROM visits v JOIN hospitals h ON v.hospital = h.hospital GROUP BY ALL"
    )
    assert len(by_city) == 20  # a hospital is in one city, so not 20 × 4


def test_where_rules_groups_out() -> None:
    assert _cells("SELECT kind, COUNT(*) FROM visits WHERE kind IN ('test', 'checkup') AND cost > 5 GROUP BY kind") == [
        {"k0": "checkup"},
        {"k0": "test"},
    ]
    assert (
        len(_cells("SELECT MONTH(visit_date) AS m, COUNT(*) FROM visits WHERE visit_date < '2023-04-01' GROUP BY m"))
        == 3
    )


def test_a_condition_without_a_domain_is_a_free_truth_value() -> None:
    cells = _cells(
        "SELECT CASE WHEN cost > 100 THEN sex ELSE 'cheap' END AS k, cost > 500 AS dear, COUNT(*) FROM visits GROUP BY ALL"
    )
    assert {cell["k0"] for cell in cells} == {"F", "M", "cheap"}
    assert {cell["k1"] for cell in cells} == {False, True}


def test_left_join_has_a_null_key() -> None:
    cells = _cells(
        "SELECT h.city, COUNT(*) FROM visits v LEFT JOIN hospitals h ON v.hospital = h.hospital AND v.kind = h.city GROUP BY h.city"
    )
    assert {"k0": None} in cells


def test_each_node_answers_for_its_own_province() -> None:
    planned = plan("SELECT province, COUNT(*) FROM visits GROUP BY province")
    assert {name: fragment.cells.to_pylist() for name, fragment in planned.blocks[0].fragments.items()} == {
        name: [{"k0": name}] for name in catalog().region.provinces
    }


def test_provinces_that_where_excludes_are_not_asked_and_cost_nothing() -> None:
    planned = plan("SELECT COUNT(*) FROM visits WHERE province = 'anhui'", epsilon=1.0)
    assert list(planned.blocks[0].fragments) == ["anhui"]
    assert planned.span == 1
    assert planned.blocks[0].fragments["anhui"].epsilon == 1.0


def test_epsilon_is_split_over_the_span_and_the_measures() -> None:
    fragment = (
        plan("SELECT COUNT(*), AVG(cost), SUM(age) FROM visits", epsilon=1.2, delta=0.0).blocks[0].fragments["jiangsu"]
    )
    assert fragment.epsilon == pytest.approx(0.6)
    assert math.fsum(measure.epsilon for measure in fragment.measures) == pytest.approx(0.6, rel=1e-11)
    assert fragment.charge.epsilon <= fragment.epsilon


def _fragment(sql: str, **options: object) -> Fragment:
    return plan(sql, **options).blocks[0].fragments["zhejiang"]


def test_sensitivities() -> None:
    by_kind = _fragment("SELECT kind, COUNT(*), SUM(cost), AVG(cost) FROM visits GROUP BY kind")
    assert [measure.sensitivity for measure in by_kind.measures] == [5 * 11, 5 * 11 * 50_000_000]
    assert [measure.sensitivity for measure in _fragment("SELECT SUM(cost) FROM visits").measures] == [11 * 100_000]
    assert _fragment("SELECT sex, COUNT(*) FROM visits GROUP BY sex").measures[0].sensitivity == 11
    assert _fragment("SELECT sex, COUNT(*) FROM residents GROUP BY sex").measures[0].sensitivity == 1
    assert _fragment("SELECT hospital, COUNT(*) FROM visits GROUP BY hospital").measures[0].sensitivity == 11 * 11


def test_options_tighten_the_limits_and_never_widen_them() -> None:
    sql = "SELECT hospital, COUNT(*) FROM visits GROUP BY hospital"
    assert _fragment(sql, max_rows=2, max_groups=3).measures[0].sensitivity == 6
    assert _fragment(sql, max_rows=500, max_groups=500).bounding == _fragment(sql).bounding


def test_a_join_that_multiplies_rows_multiplies_the_sensitivity() -> None:
    joined = _fragment("SELECT COUNT(*) FROM residents r JOIN hospitals h ON r.home_province = h.city")
    # Five hospitals in each city.
    assert joined.bounding.form == "none"
    assert joined.measures[0].sensitivity == 5


def test_equal_questions_share_measures() -> None:
    assert (
        len(_fragment("SELECT SUM(cost) AS a, SUM(cost) AS b, AVG(cost), COUNT(*), COUNT(cost) FROM visits").measures)
        == 2  # SUM is computed from the mean and the count
    )


def test_the_plan_does_not_depend_on_spelling() -> None:
    plain = _fragment("SELECT kind, COUNT(*) FROM visits WHERE age > 60 GROUP BY kind")
    assert (
        _fragment("select KIND as k , count( * )  from Visits /* why */ where (AGE) > 60 group by 1").relation
        == plain.relation
    )


def test_names_of_columns_are_as_written() -> None:
    names = [
        column.name
        for column in plan("SELECT kind, COUNT(*), COUNT(*), AVG(cost) AS mean FROM visits GROUP BY kind").rest.columns
    ]
    assert names == ["kind", "COUNT(*)", "COUNT(*)_1", "mean"]


def test_noisy_columns_have_error_bars_and_keys_have_none() -> None:
    columns = plan("SELECT age // 10 AS decade, COUNT(*), 2 AS two FROM visits GROUP BY decade").rest.columns
    assert [column.noisy for column in columns] == [False, True, False]


def _rewrite_fixtures() -> None:
    """Write what the planner gives now, to be read in the diff."""
    cases = [";\n\n".join((query, *_written(query))) for query, _, _ in _cases()]
    FIXTURES.write_text(";\n\n".join(cases) + ";\n")


if __name__ == "__main__":
    _rewrite_fixtures()


def test_conditions_over_several_keys_rule_groups_out() -> None:
    either = "(kind = 'test' AND sex = 'F' OR kind = 'checkup' AND sex = 'M')"
    expected = [{"k0": "checkup", "k1": "M"}, {"k0": "test", "k1": "F"}]
    assert _cells(f"SELECT kind, sex, COUNT(*) FROM visits WHERE {either} GROUP BY kind, sex") == expected
    nested = f"SELECT kind AS k, sex AS s, cost FROM visits WHERE {either}"
    assert _cells(f"SELECT k, s, COUNT(*) FROM ({nested}) AS v GROUP BY k, s") == expected


def test_conditions_of_a_sub_query_rule_numbers_out() -> None:
    inner = "SELECT YEAR(visit_date) AS y, age FROM visits WHERE visit_date < '2024-01-01'"
    assert _cells(f"SELECT y, COUNT(*) FROM ({inner}) AS v GROUP BY y") == [{"k0": 2023}]
    counted = "SELECT person_id, COUNT(*) AS n FROM visits WHERE age < 9 GROUP BY person_id"
    assert len(_cells(f"SELECT n, COUNT(*) FROM ({counted}) AS v GROUP BY n")) == 11  # counts are what they may be


def test_conditions_on_a_public_table_rule_groups_out() -> None:
    sql = "SELECT v.hospital, COUNT(*) FROM visits v {} JOIN hospitals h ON v.hospital = h.hospital WHERE h.level = 1 GROUP BY 1"
    assert [cell["k0"] for cell in _cells(sql.format(""))] == ["AH01", "AH04", "JS02", "JS05", "SH01", "SH04", "ZJ03"]
    assert len(_cells(sql.format("LEFT"))) == 20


def test_a_public_table_may_be_joined_by_the_province() -> None:
    sql = "SELECT h.city, COUNT(*) FROM visits v JOIN hospitals h ON v.province = h.city GROUP BY h.city"
    assert _cells(sql) == [{"k0": "shanghai"}]
    assert list(plan(sql).blocks[0].fragments) == ["shanghai"]


def test_what_all_sides_of_an_or_ask_for_joins_tables() -> None:
    tests = "v.hospital = h.hospital AND v.age < 9 OR v.hospital = h.hospital AND h.level = 1"
    fragment = plan(f"SELECT COUNT(*) FROM visits v, hospitals h WHERE {tests}").blocks[0].fragments["anhui"]
    assert "JOIN hospitals AS hospitals ON hospitals.hospital = visits.hospital" in fragment.relation
    assert fragment.relation.endswith("WHERE hospitals.level = 1 OR visits.age < 9")
    same = plan("SELECT COUNT(*) FROM visits WHERE age < 9 OR age < 9 AND sex = 'F'").blocks[0].fragments["anhui"]
    assert same.relation.endswith("WHERE visits.age < 9")


# What is remembered

CORPUS = [
    json.loads(line)["sql"]
    for line in (Path(__file__).parents[1] / "corpus" / "legit.jsonl").read_text(encoding="utf-8").splitlines()
]


@pytest.mark.parametrize("sql", CORPUS)
def test_plans_are_the_same_with_and_without_memory(sql: str) -> None:
    """Whatever was asked before of the same text, at another ε, another δ or with other options."""
    asked = [
        request(sql, epsilon=0.7),
        request(sql, epsilon=0.7, delta=1e-6),
        request(sql, epsilon=0.7, max_rows=2),
        request(sql, epsilon=0.2),
        request(sql, epsilon=0.7),
    ]
    remembering = Planner(catalog())
    for one in (*asked, *reversed(asked)):
        known, fresh = remembering.plan(one), Planner(catalog()).plan(one)
        assert known == fresh
        assert repr(known) == repr(fresh)
        cells = [[part.cells for block in plan.blocks for part in block.fragments.values()] for plan in (known, fresh)]
        assert cells[0] == cells[1]


def test_another_epsilon_reads_the_text_no_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    planner, parsed = Planner(catalog()), list[str]()

    def counted(sql: str) -> Written:
        parsed.append(sql)
        return parse(sql)

    monkeypatch.setattr("privacy.planner.parse", counted)
    one, other = (f"SELECT COUNT(*) FROM visits WHERE age > {age}" for age in (3, 4))
    for sql, epsilon in ((one, 1.0), (one, 0.5), (one, 1.0), (other, 1.0)):
        planner.plan(request(sql, epsilon=epsilon))
    planner.plan(request(one, max_rows=2))
    assert parsed == [one, other, one]  # another literal and another option are another question


def test_an_explain_is_not_mistaken_for_the_query() -> None:
    planner, sql = Planner(catalog()), "SELECT COUNT(*) FROM visits"
    asked = request(sql)
    assert [planner.plan(asked.model_copy(update={"explains": explains})).explains for explains in (0, 1, 0)] == [
        0,
        1,
        0,
    ]
    assert planner.plan(request(f"EXPLAIN {sql}")).explains


def test_another_catalog_is_another_plan() -> None:
    """A planner has one catalog for good: whoever accepts another one makes another planner."""
    text = CATALOG.read_text()
    changed = parse_catalog(text.replace("max_rows = ", "max_rows = 1 # "), source="changed")
    assert changed.digest != catalog().digest
    sql = "SELECT kind, COUNT(*) FROM visits GROUP BY kind"
    limits = [
        Planner(one).plan(request(sql)).blocks[0].fragments["anhui"].bounding.max_rows
        for one in (catalog(), changed, catalog())
    ]
    assert limits[0] == limits[2] > limits[1] == 1


def test_a_planner_forgets() -> None:
    planner = Planner(catalog())
    for number in range(300):
        planner.plan(request(f"SELECT COUNT(*) FROM residents WHERE birth_year > {number}"))
    assert len(planner._readings) == len(planner._plans) == 128


@pytest.mark.parametrize(
    ("sql", "low", "high"),
    [
        ("SELECT SUM(STRPOS(kind, 'p')) FROM visits", 0, 7),
        ("SELECT SUM(LENGTH(hospital)) FROM visits", 4, 4),
        ("SELECT SUM(LENGTH(kind) * 2) FROM visits WHERE kind <> 'outpatient'", 8, 18),
    ],
)
def test_sizes_of_listed_texts_are_their_bounds(sql: str, low: int, high: int) -> None:
    (measure,) = plan(sql).blocks[0].fragments["anhui"].measures
    assert (measure.low, measure.high, measure.grid) == (low, high, 1)
