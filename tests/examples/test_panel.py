"""The panel federation keeps every record, and its catalog keeps its word."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from examples.panel.prepare import HERE, NODES, copy_federation
from privacy.catalog import Catalog, parse_catalog

PERSON_YEARS, PEOPLE = 19_609, 6_127


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """All nodes' rows in one table `panel`, with `node`."""
    folder = copy_federation(tmp_path_factory.mktemp("panel") / "federation")
    with duckdb.connect() as engine:
        rows = (f"SELECT '{node}' AS node, * FROM '{folder}/data/{node}/panel.parquet'" for node in NODES)
        engine.execute(f"CREATE TABLE panel AS {' UNION ALL '.join(rows)}")
        yield engine


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return parse_catalog((HERE / "catalog.toml").read_text("utf-8"), source="catalog.toml")


def _row(engine: duckdb.DuckDBPyConnection, sql: str) -> tuple[int, ...]:
    row = engine.execute(sql).fetchone()
    assert row is not None
    return tuple(row)


def test_every_record_is_there_once(panel: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT count(*), count(DISTINCT id), count(DISTINCT (id, year)) FROM panel"
    assert _row(panel, sql) == (PERSON_YEARS, PEOPLE, PERSON_YEARS)
    assert _row(panel, "SELECT sum(docvis), sum(hospvis) FROM panel") == (62_282, 2_709)  # of the source


def test_one_in_eight_is_in_two_nodes(panel: duckdb.DuckDBPyConnection, catalog: Catalog) -> None:
    per_person = "SELECT count(DISTINCT node) AS nodes, count(*) AS years FROM panel GROUP BY id"
    assert _row(panel, f"SELECT max(nodes), max(years) FROM ({per_person})") == (2, 5)
    (per_mille,) = _row(panel, f"SELECT (1000 * avg((nodes = 2)::INT))::INT FROM ({per_person}) WHERE years > 1")
    assert per_mille == pytest.approx(125, abs=15)
    table = catalog.private_tables["panel"]
    assert (catalog.span(table), table.rows_per_unit) == (2, 5)


def test_nodes_have_like_shares(panel: duckdb.DuckDBPyConnection) -> None:
    for (rows,) in panel.execute("SELECT count(*) FROM panel GROUP BY node").fetchall():
        assert rows == pytest.approx(PERSON_YEARS / len(NODES), rel=0.1)


def test_columns_are_those_of_the_catalog(panel: duckdb.DuckDBPyConnection, catalog: Catalog) -> None:
    types = {name: kind for name, kind, *_ in panel.execute("DESCRIBE panel").fetchall() if name != "node"}
    columns = catalog.private_tables["panel"].columns
    assert types == {name: column.type for name, column in columns.items()}
    for name, column in columns.items():
        if column.fixed_per_unit:
            assert _row(panel, f"SELECT max(n) FROM (SELECT count(DISTINCT {name}) n FROM panel GROUP BY id)") == (1,)
