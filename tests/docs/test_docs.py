"""The pages of docs/ say what the code does: every query is planned, every key is named, every link leads somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlglot import exp

from privacy import aggregates, errors
from privacy.binding import Names, bind
from privacy.errors import QueryRefused
from privacy.expressions.reader import rules
from privacy.parsing import parse
from privacy.pivot import without_pivot
from privacy.request import DELTA, Options
from tests.privacy.corpus_planner import catalog, plan

ROOT = Path(__file__).parents[2]
# docs/tpch.md is over tables of its own: tests/tpch asks what is on it.
PAGES = sorted(page for page in (ROOT / "docs").glob("*.md") if page.name != "tpch.md")
_BLOCK = re.compile(r"^```sql *([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CELL = re.compile(r"(?<!\\)\|")
_CODE = re.compile(r"`([^`]+)`")


def _queries() -> Iterator[tuple[str, str, str]]:
    """(page, what stands behind ```sql, query) of every block; `delta=0` there is how it is asked."""
    for page in PAGES:
        for mark, block in _BLOCK.findall(page.read_text()):
            for query in re.split(r";\s*\n", block):
                yield page.name, mark, query.strip()


def _accepted() -> list[str]:
    return [query for _, mark, query in _queries() if not mark]


@pytest.mark.parametrize("sql", _accepted())
def test_examples_are_answered(sql: str) -> None:
    assert plan(sql).blocks[0].fragments


@pytest.mark.parametrize(("mark", "sql"), [(mark, query) for _, mark, query in _queries() if mark])
def test_refused_examples_are_refused_with_a_remedy(mark: str, sql: str) -> None:
    word, _, code = mark.removesuffix(" delta=0").partition(" ")
    assert word == "refused"
    with pytest.raises(QueryRefused) as refusal:
        plan(sql, delta=0.0 if mark.endswith(" delta=0") else DELTA)
    assert refusal.value.remedy
    assert refusal.value.code == code or not code


def _expressions() -> list[str]:
    """Everything in the first column of the table of functions."""
    section = (ROOT / "docs" / "sql.md").read_text().partition("## Functions and operators")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return [code.replace("\\|", "|") for row in rows for code in _CODE.findall(_CELL.split(row)[1])]


def _over_visits(expression: str) -> str:
    return f"SELECT COUNT({expression}) FROM visits"


@pytest.mark.parametrize("expression", _expressions())
def test_functions_are_answered(expression: str) -> None:
    assert plan(_over_visits(expression)).blocks[0].fragments


def test_every_function_of_the_allow_list_is_on_the_page() -> None:
    shown: set[type] = set()
    for sql in [*_accepted(), *map(_over_visits, _expressions())]:
        query = without_pivot(parse(sql).query, catalog())
        assert isinstance(query, exp.Query)
        shown |= {type(node) for node in bind(query, Names(catalog())).walk()}
    # sqlglot reads DATE_TRUNC as TimestampTrunc here; the other two are spellings of forms that are shown.
    assert set(rules()) - shown <= {exp.DateTrunc, exp.TryCast}


def test_queries_shows_the_tree_of_errors_and_every_option() -> None:
    page = (ROOT / "docs" / "queries.md").read_text()
    tree = [line for line in (errors.__doc__ or "").splitlines() if "──" in line]
    assert tree
    assert all(line in page for line in tree)
    assert all(f"`{name}" in page for name in Options.model_fields)


def test_every_aggregate_is_on_the_page() -> None:
    shown = {type(node) for sql in _accepted() for node in parse(sql).query.walk()}
    assert set(vars(aggregates)["_AGGREGATES"]) - shown == set()
