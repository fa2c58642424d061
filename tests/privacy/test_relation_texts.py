"""A relation that is written once for all provinces is, in each, what it would be if it were written for it alone."""

import pytest

from privacy import block_planner, relation_texts
from privacy.catalog import Catalog
from privacy.fragment import Fragment
from privacy.planner import Planner
from tests.privacy.corpus_planner import catalog, request

ONCE = [
    "SELECT province, COUNT(*) AS n FROM visits GROUP BY province",
    "SELECT UPPER(province) AS k, kind, AVG(cost) AS c FROM visits WHERE cost > 3 OR kind = 'a' GROUP BY 1, 2",
    "SELECT province || '<province>' || '<province>>' AS k, COUNT(*) AS n FROM visits GROUP BY 1",
    "SELECT province, kind, COUNT(*) AS n FROM visits GROUP BY ROLLUP(province, kind)",
    (
        "SELECT p, COUNT(*) AS n FROM (SELECT person_id, province AS p, SUM(cost) AS c FROM visits"
        " GROUP BY person_id, province) AS s WHERE c > 10 GROUP BY p"
    ),
]
EACH = [
    "SELECT province, COUNT(*) AS n FROM visits WHERE province <> 'anhui' AND cost > 3 GROUP BY province",
    "SELECT CASE WHEN province = 'anhui' THEN 'x' ELSE 'y' END AS k, COUNT(*) AS n FROM visits GROUP BY 1",
    # Which side comes first hangs on the name.
    "SELECT COUNT(*) AS n FROM visits WHERE 'jiangsu' < province OR province = 'jiangsu'",
]


@pytest.fixture
def of_each(monkeypatch: pytest.MonkeyPatch) -> Planner:
    """A planner that writes every relation for its province alone."""
    monkeypatch.setattr(relation_texts, "_template", lambda query: None)
    return Planner(catalog())


def _fragments(planner: Planner, sql: str) -> dict[str, Fragment]:
    return planner.plan(request(sql)).blocks[0].fragments


@pytest.mark.parametrize("sql", ONCE + EACH)
def test_the_same_as_written_for_each_province(sql: str, of_each: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = _fragments(of_each, sql)
    monkeypatch.undo()
    assert _fragments(Planner(catalog()), sql) == slow
    assert len({fragment.relation for fragment in slow.values()}) == len(slow)


@pytest.mark.parametrize("sql", ONCE)
def test_it_is_written_once(sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    whole = relation_texts._text

    def note(query, province):  # type: ignore[no-untyped-def]
        written.append(province)
        return whole(query, province)

    monkeypatch.setattr(relation_texts, "_text", note)
    found = _fragments(Planner(catalog()), sql)
    assert len(found) == len(catalog().region.provinces)
    assert len(written) <= 2  # with the unit and without it
    assert not set(written) & set(found)


def test_groups_of_500_provinces_are_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    content = catalog().model_dump()
    content["region"]["provinces"] = [f"p{number:03d}" for number in range(500)]
    planner = Planner(Catalog.model_validate(content))
    blocks: block_planner.BlockPlanner = planner._blocks
    first = "SELECT province, COUNT(*) AS n FROM visits WHERE cost > 3 GROUP BY province"
    _fragments(planner, first)
    connection = blocks._domains._connection
    monkeypatch.setattr(blocks._domains, "_connection", None)  # whatever is not remembered fails
    assert len(_fragments(planner, first.replace("3", "4"))) == 500
    connection.close()
