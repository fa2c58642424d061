"""Every refusal is typed, says where, and what to write instead."""

import json
import math
from pathlib import Path

import pytest

from privacy.errors import (
    BoundsRefused,
    ConstructRefused,
    DomainRefused,
    NameRefused,
    Position,
    QueryRefused,
    RowsRefused,
    SyntaxRefused,
    WeirError,
)
from tests.privacy.corpus_planner import plan

CORPUS = Path(__file__).parents[1] / "corpus"
ATTACKS = [json.loads(line) for line in (CORPUS / "attacks.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "attack", [entry for entry in ATTACKS if entry["expect"] == "refuse"], ids=lambda entry: entry["id"]
)
def test_attacks_are_refused(attack: dict[str, str]) -> None:
    with pytest.raises(QueryRefused) as refusal:
        plan(attack["sql"])
    assert refusal.value.remedy


@pytest.mark.parametrize(
    "attack", [entry for entry in ATTACKS if entry["expect"] == "bounded"], ids=lambda entry: entry["id"]
)
def test_bounded_attacks_are_planned_or_refused_without_looking_at_data(attack: dict[str, str]) -> None:
    try:
        planned = plan(attack["sql"])
    except QueryRefused:
        return
    for fragment in planned.blocks[0].fragments.values():
        for measure in fragment.measures:
            assert measure.sensitivity <= 11 * 11 * 10**9
            shares = 2 if measure.mechanism == "laplace_pair" else 1  # two measures have the ε of both
            least = (
                measure.sensitivity / (shares * measure.epsilon)
                if measure.epsilon
                else measure.sensitivity_l2 / math.sqrt(2 * measure.rho)
            )
            assert measure.scale >= least * (1 - 1e-12)


@pytest.mark.parametrize(
    ("sql", "kind", "position", "words"),
    [
        ("SELEC COUNT(*) FROM visits", QueryRefused, None, ""),
        ("SELECT COUNT(* FROM visits", SyntaxRefused, Position(1, 16), "FROM"),
        ("SELECT COUNT(*)\nFROM visits\nWHERE (age > 3", SyntaxRefused, None, "Expecting )"),
        ("SELECT 'open FROM visits", SyntaxRefused, None, ""),
        ("SELECT COUNT(*) + 1e FROM visits", SyntaxRefused, Position(1, 19), "`1e` is no number"),
        ("SELECT COUNT(*) FROM visits WHERE cost > 2e+", SyntaxRefused, None, ""),
        (
            "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 1e) COUNT(*) FROM visits",
            SyntaxRefused,
            Position(1, 52),
            "`1e`",
        ),
        ("", SyntaxRefused, None, "no query"),
        ("-- nothing", SyntaxRefused, None, "no query"),
        ("SELECT COUNT(*) FROM vists", NameRefused, Position(1, 22), "did you mean `visits`"),
        ("SELECT SUM(costs) FROM visits", NameRefused, Position(1, 12), "did you mean `cost`"),
        ("SELECT SUM(w.cost) FROM visits v", NameRefused, Position(1, 12), "`w`"),
        (
            "SELECT COUNT(*) FROM visits v JOIN hospitals h ON v.hospital = h.hospital WHERE hospital = 'SH01'",
            NameRefused,
            None,
            "hospital",
        ),
        ("SELECT kind, COUNT(*) FROM visits", RowsRefused, Position(1, 8), "neither a group key"),
        ("SELECT kind FROM visits GROUP BY kind", RowsRefused, None, "no aggregate"),
        ("SELECT cost, COUNT(*) FROM visits GROUP BY cost", DomainRefused, Position(1, 44), "public domain"),
        (
            "SELECT visit_date, hospital, age, COUNT(*) FROM visits GROUP BY ALL",
            DomainRefused,
            None,
            "more than 100,000 groups of one number; a release has at most 100,000 numbers",
        ),
        (
            "SELECT visit_date, hospital, COUNT(*), AVG(cost), AVG(age), SUM(age * age), SUM(-cost), SUM(-age), SUM(age * cost) FROM visits GROUP BY ALL",
            DomainRefused,
            None,
            "more than 14,285 groups of 7 numbers; a release has at most 100,000 numbers",
        ),
        ("SELECT COUNT(*) FROM visits WHERE province = 'tibet'", DomainRefused, None, "never true"),
        ("SELECT SUM(1 / age) FROM visits", BoundsRefused, Position(1, 12), "CLAMP"),
        ("SELECT SUM(kind) FROM visits", ConstructRefused, Position(1, 12), "VARCHAR"),
        ("SELECT COUNT(*) FROM visits WHERE age", ConstructRefused, Position(1, 35), "condition"),
        ("SELECT COUNT(*) FROM visits WHERE kind = 3", ConstructRefused, Position(1, 35), "VARCHAR and BIGINT"),
        ("SELECT COUNT(*) FROM visits WHERE visit_date > '2024-13-01'", ConstructRefused, Position(1, 48), "no date"),
        ("SELECT DISTINCT kind FROM visits", RowsRefused, Position(1, 17), "returns rows"),
        ("SELECT COUNT(*) FROM hospitals", ConstructRefused, Position(1, 22), "public"),
        ("SELECT COUNT(*)", ConstructRefused, None, "no table"),
        ("SELECT COUNT(*) OVER () FROM visits", RowsRefused, Position(1, 8), "gives rows"),
        (
            "SELECT COUNT(*), (SELECT content FROM read_text('/etc/passwd')) FROM visits",
            ConstructRefused,
            None,
            "only tables of the catalog",
        ),
        ("SELECT COUNT(*) || version() FROM visits", ConstructRefused, None, "allow-list"),
        ("SELECT SUM(COUNT(*)) FROM visits", ConstructRefused, None, "cannot be aggregated"),
        ("SELECT COUNT(DISTINCT cost) FROM visits", DomainRefused, Position(1, 23), "cannot be listed"),
        (
            "SELECT COUNT(DISTINCT kind || cost::INTEGER) FROM visits",
            DomainRefused,
            Position(1, 23),
            "cannot be listed",
        ),
        ("SELECT COUNT(DISTINCT age * 200) FROM visits WHERE age < 0", DomainRefused, Position(1, 23), "none but NULL"),
        (
            "SELECT COUNT(DISTINCT CLAMP(age, 0, 9) * 1000000 + CLAMP(cost, 0, 9)) FROM visits",
            DomainRefused,
            None,
            "cannot be listed",
        ),
        ("SELECT COUNT(DISTINCT kind, sex) FROM visits", ConstructRefused, None, "one expression"),
        ("SELECT APPROX_COUNT_DISTINCT(cost) FROM visits", DomainRefused, Position(1, 30), "cannot be listed"),
        ("SELECT MODE(cost) FROM visits", DomainRefused, Position(1, 13), "cannot be listed"),
        ("SELECT HISTOGRAM(cost) FROM visits", DomainRefused, Position(1, 18), "[10, 20, 50]"),
        ("SELECT HISTOGRAM(person_id) FROM visits", RowsRefused, None, "identifies the privacy unit"),
        ("SELECT HISTOGRAM(person_id, [1, 2]) FROM visits", RowsRefused, None, "identifies the privacy unit"),
        ("SELECT MODE(person_id) FROM visits", RowsRefused, None, "identifies the privacy unit"),
        ("SELECT HISTOGRAM(kind, ['a', 'b']) FROM visits", ConstructRefused, None, "numbers and dates"),
        ("SELECT HISTOGRAM(age, [1.5]) FROM visits", ConstructRefused, None, "no constant of type BIGINT"),
        ("SELECT HISTOGRAM(age, [age, 1]) FROM visits", ConstructRefused, None, "no constant"),
        ("SELECT HISTOGRAM(age, []) FROM visits", ConstructRefused, None, "1 to 200 boundaries"),
        ("SELECT HISTOGRAM(age, 7) FROM visits", ConstructRefused, None, "1 to 200 boundaries"),
        ("SELECT HISTOGRAM(visit_date, ['yesterday']) FROM visits", ConstructRefused, None, "no date"),
        (
            f"SELECT HISTOGRAM({'age + ' * 60}1, {list(range(200))}) FROM visits",
            ConstructRefused,
            None,
            "too long an expression",
        ),
        (
            f"SELECT {', '.join(f'COUNT(DISTINCT age // 2 * 20 + MONTH(visit_date) + {n})' for n in range(10))} FROM visits",
            ConstructRefused,
            None,
            "too long an expression",
        ),
        (
            f"SELECT {', '.join(f'COUNT(DISTINCT age > {n})' for n in range(21))} FROM visits",
            ConstructRefused,
            None,
            "more than 20 expressions",
        ),
        ("SELECT HISTOGRAM(DISTINCT age) FROM visits", ConstructRefused, None, "HISTOGRAM"),
        ("SELECT HISTOGRAM(COUNT(*)) FROM visits", ConstructRefused, None, "cannot be aggregated"),
        ("SELECT QUANTILE_CONT(age, []) FROM visits", ConstructRefused, None, "from 0 to 1"),
        ("SELECT QUANTILE_CONT(age, [0.5, 2]) FROM visits", ConstructRefused, None, "from 0 to 1"),
        ("SELECT HISTOGRAM(kind)[1] FROM visits", ConstructRefused, None, "does not take"),
        ("SELECT QUANTILE_CONT(age, [0.5])['a'] FROM visits", ConstructRefused, None, "does not take"),
        ("SELECT QUANTILE_CONT(age, [0.5, 0.6])[1:2] FROM visits", ConstructRefused, None, "one item"),
        ("SELECT CARDINALITY(COUNT(*)) FROM visits", ConstructRefused, None, "does not take"),
        (
            "SELECT n, COUNT(*) FROM (SELECT person_id, MODE(kind) AS n FROM visits GROUP BY person_id) t GROUP BY n",
            ConstructRefused,
            None,
            "MODE",
        ),
        (
            "SELECT n, COUNT(*) FROM (SELECT person_id, HISTOGRAM(kind) AS n FROM visits GROUP BY person_id) t GROUP BY n",
            ConstructRefused,
            None,
            "HISTOGRAM",
        ),
        ("SELECT COUNT(*) FROM visits LIMIT 2 + 1", ConstructRefused, None, "whole number"),
        (
            "SELECT kind, COUNT(*) FROM visits GROUP BY kind FETCH FIRST 2 ROWS WITH TIES",
            ConstructRefused,
            None,
            "whole",
        ),
        (
            "SELECT kind, COUNT(*) AS n FROM visits GROUP BY kind HAVING n = MAX(n) OVER ()",
            ConstructRefused,
            None,
            "QUALIFY",
        ),
        ("SELECT format('{}', COUNT(*)) FROM visits", ConstructRefused, None, "`FORMAT('{}', COUNT(*))`"),
        ('SELECT COUNT(*) FROM visits WHERE kind = "test"', NameRefused, None, "single quotes: 'test'"),
        ("SELECT COUNT(*) FROM visits WHERE visit_date > CURRENT_DATE", ConstructRefused, None, "Write the day out"),
        (
            "SELECT COUNT(*) FROM visits v WHERE cost > (SELECT AVG(w.cost) FROM visits w WHERE w.person_id = v.person_id)",
            ConstructRefused,
            None,
            "about the same person, join it",
        ),
        (
            "SELECT cost // 100 AS b, COUNT(*) FROM visits GROUP BY b",
            ConstructRefused,
            None,
            "FLOOR(visits.cost / 100)",
        ),
        ("SELECT COUNT(*) FROM visits WHERE kind ~ '(?=t)'", ConstructRefused, None, "pattern"),
        ("SELECT MEDIAN(visit_date) FROM visits", ConstructRefused, None, "MIN, MAX and COUNT"),
        ("SELECT sex, COUNT(*) FROM visits GROUP BY sex WITH ROLLUP", ConstructRefused, None, "ROLLUP"),
        ("SELECT COUNT(*) FROM visits v JOIN hospitals h ON v.age > h.level", ConstructRefused, None, "join"),
        ("SELECT COUNT(*) FROM visits v CROSS JOIN hospitals h", ConstructRefused, None, "join"),
        (
            "SELECT COUNT(*) FROM visits v RIGHT JOIN hospitals h ON v.hospital = h.hospital",
            ConstructRefused,
            None,
            "join",
        ),
        (
            "SELECT COUNT(*) FROM hospitals h LEFT JOIN visits v ON v.hospital = h.hospital",
            ConstructRefused,
            None,
            "come first",
        ),
        ("SELECT COUNT(*) FROM visits v JOIN hospitals h ON v.person_id = h.level", ConstructRefused, None, "join"),
    ],
)
def test_messages(sql: str, kind: type[WeirError], position: Position | None, words: str) -> None:
    with pytest.raises(kind) as refusal:
        plan(sql, delta=0.0)
    error = refusal.value
    assert words in f"{error.message} {error.remedy}"
    assert error.remedy
    if position is not None:
        assert error.position == position


def test_deep_nesting_is_refused_and_does_not_crash() -> None:
    for deep in ("(" * 3000 + "1" + ")" * 3000, "NOT " * 3000 + "TRUE", "1" + " + 1" * 4000):
        with pytest.raises(QueryRefused):
            plan(f"SELECT COUNT(*) FROM visits WHERE {deep} > 0")


def test_errors_cross_the_wire_unchanged() -> None:
    with pytest.raises(NameRefused) as refusal:
        plan("SELECT COUNT(*) FROM vists")
    copy = WeirError.from_json(refusal.value.to_json())
    assert type(copy) is NameRefused
    assert (copy.message, copy.remedy, copy.position) == (
        refusal.value.message,
        refusal.value.remedy,
        refusal.value.position,
    )
    assert str(copy) == str(refusal.value)
