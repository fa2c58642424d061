"""docs/tpch.md says what happens to each of TPC-H's 22 queries; this is whether it is so."""

from __future__ import annotations

import re
from collections.abc import Iterator

import duckdb
import pandas as pd
import pytest

import weir
from privacy.catalog import Catalog, parse_catalog
from privacy.errors import QueryRefused
from privacy.planner import Planner
from privacy.request import DELTA, Request
from tests.federation.compare import assert_same_answer
from tests.tpch.federation import HERE, catalog_toml, generate, write_federation

PAGE = (HERE.parents[1] / "docs" / "tpch.md").read_text()
NATURAL = dict(re.findall(r"^-- Q(\d+)\n(.*?);$", (HERE / "natural.sql").read_text(), re.MULTILINE | re.DOTALL))
ASKED = {
    name: (sql.strip(), {option: int(value) for option, value in re.findall(r"(\w+)=(\d+)", options)})
    for name, options, sql in re.findall(r"^```sql q(\w+)([^\n]*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
}
OUTCOMES = dict(re.findall(r"^\| Q(\d+) [^|]*\| ([a-z]+(?: [a-z]+)?)", PAGE, re.MULTILINE))

# Where the natural form is refused, what its remedy says to write or do.
REMEDIES = {
    "2": "catalog",
    "3": "customer.c_custkey = lineitem.l_custkey",
    "4": "the unit's identifier on both sides",
    "5": "customer.c_custkey = lineitem.l_custkey",
    "7": "lineitem.l_custkey = orders.o_custkey",
    "8": "lineitem.l_custkey = orders.o_custkey",
    "9": "lineitem.l_custkey = orders.o_custkey",
    "10": "Leave it out of GROUP BY",
    "11": "catalog",
    "12": "orders.o_custkey = lineitem.l_custkey",
    "16": "catalog",
    "17": "Ask for that by itself first",
    "18": "Leave it out of GROUP BY",
    "20": "Join the tables",
    "21": "l1.l_custkey = orders.o_custkey",
    "22": "Ask for that by itself first",
}


@pytest.fixture(scope="module")
def union(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """Plain DuckDB over all rows."""
    with generate(tmp_path_factory.mktemp("tpch")) as connection:
        yield connection


@pytest.fixture(scope="module")
def catalog(union: duckdb.DuckDBPyConnection) -> Catalog:
    return parse_catalog(catalog_toml(union), source="catalog.toml")


@pytest.fixture(scope="module")
def rich(union: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[weir.Connection]:
    """Four nodes whose budget lets noise vanish."""
    with weir.up(write_federation(tmp_path_factory.mktemp("nodes") / "federation", union)) as connection:
        yield connection


def test_the_page_has_all_queries() -> None:
    assert list(NATURAL) == list(OUTCOMES) == [str(number) for number in range(1, 23)]
    refused = {query for query, outcome in OUTCOMES.items() if outcome == "refused"}
    assert {query.rstrip("a") for query in ASKED} == NATURAL.keys() - refused
    assert {query for query, outcome in OUTCOMES.items() if outcome == "as written"} == NATURAL.keys() - REMEDIES.keys()
    assert all(ASKED[query][0] == NATURAL[query] for query in NATURAL.keys() - REMEDIES.keys())


@pytest.mark.parametrize("query", ASKED)
def test_equals_plain_duckdb(rich: weir.Connection, union: duckdb.DuckDBPyConnection, query: str) -> None:
    sql, limits = ASKED[query]
    answer = rich.sql(sql, epsilon=1e6, **limits)
    assert not answer.missing
    assert_same_answer(answer, union.sql(sql).df(), sql)
    # So much less than what is asked for that the comparison says something.
    numbers, errors = answer.df(), answer.standard_errors()
    for place in [place for place in range(len(numbers.columns)) if errors.iloc[:, place].notna().any()]:
        assert errors.iloc[:, place].max() <= 0.02 * numbers.iloc[:, place].abs().max()


@pytest.mark.parametrize("query", REMEDIES)
def test_natural_forms_are_refused_with_a_remedy(catalog: Catalog, query: str) -> None:
    with pytest.raises(QueryRefused) as refusal:
        _plan(catalog, NATURAL[query])
    assert REMEDIES[query] in (refusal.value.remedy or "")


@pytest.mark.parametrize("query", [query for query in ASKED if OUTCOMES.get(query) in ("unit added", "rewritten")])
def test_other_texts_ask_the_same(union: duckdb.DuckDBPyConnection, query: str) -> None:
    natural, asked = union.sql(NATURAL[query]).df(), union.sql(ASKED[query][0]).df()
    if query == "22":  # a text there, a number here
        natural["cntrycode"] = natural["cntrycode"].astype("int64")
    pd.testing.assert_frame_equal(natural, asked)


def _plan(catalog: Catalog, sql: str) -> None:
    Planner(catalog).plan(Request.new(sql, epsilon=1.0, delta=DELTA, nonce="0" * 32, expires_unix_s=2**40, options={}))
