"""The generated federation: reproducible, in the cited proportions, true to what its catalog promises."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from node.config import load_config
from node.prepare import prepare
from privacy.catalog import Catalog, parse_catalog
from privacy.errors import ConfigError
from weir.demo_data import generate, totals
from weir.demo_data.federation_files import LOCAL_NAMES, catalog_text, write_federation_files
from weir.demo_data.people import BLOCK, MOST_SETTLEMENTS, SETTLEMENTS_PER_BLOCK
from weir.demo_data.visits import DEAREST

VISITS = 300_000
TABLES = ("residents", "visits", "firms")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("yangtze")
    generate(made, visits=VISITS)
    return made


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return parse_catalog(catalog_text(), source="catalog.toml")


@pytest.fixture(scope="module")
def region(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """All provinces' rows in one engine, under the standard's names, with `province`: the node of the row."""
    with duckdb.connect() as engine:
        for table in TABLES:
            parts = " UNION ALL BY NAME ".join(_rows(folder, province, table) for province in totals.PROVINCES)
            engine.execute(f"CREATE TABLE {table} AS {parts}")
        yield engine


def _rows(folder: Path, province: str, table: str) -> str:
    names = LOCAL_NAMES[province] if table == "visits" else {}
    renamed = ", ".join(f"{local} AS {standard}" for standard, local in names.items())
    rename = f" RENAME ({renamed})" if renamed else ""
    return f"SELECT '{province}' AS province, *{rename} FROM '{folder}/data/{province}/{table}-*.parquet'"


def _shares(engine: duckdb.DuckDBPyConnection, sql: str) -> dict[str, float]:
    return {str(key): float(share) for key, share in engine.execute(sql).fetchall()}


def _value(engine: duckdb.DuckDBPyConnection, sql: str) -> float:
    row = engine.execute(sql).fetchone()
    assert row is not None
    return float(row[0])


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_same_arguments_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        generate(tmp_path / name, visits=20_000)
    generate(tmp_path / "other", visits=20_000, seed=8)
    first, second, other = (_digests(tmp_path / name) for name in ("a", "b", "other"))
    assert first == second
    assert first != other


def test_a_larger_federation_begins_with_the_smaller_one(tmp_path: Path, region: duckdb.DuckDBPyConnection) -> None:
    generate(tmp_path / "small", visits=20_000)
    people = 20_000 // SETTLEMENTS_PER_BLOCK * BLOCK  # whole blocks
    rows = _rows(tmp_path / "small", "jiangsu", "visits")
    difference = f"(FROM ({rows}) WHERE person_id < {people}) EXCEPT FROM visits"
    assert _value(region, f"SELECT count(*) FROM ({difference})") == 0


def test_the_number_of_visits_is_exact(region: duckdb.DuckDBPyConnection) -> None:
    assert _value(region, "SELECT count(*) FROM visits") == VISITS


def test_rows_are_sorted_by_person(folder: Path) -> None:
    with duckdb.connect() as engine:
        for province in totals.PROVINCES:
            before = "lag(person_id) OVER (ORDER BY file_row_number)"
            rows = f"read_parquet('{folder}/data/{province}/visits-000.parquet', file_row_number = true)"
            unsorted = f"SELECT person_id < {before} AS back FROM {rows}"
            assert _value(engine, f"SELECT count(*) FROM ({unsorted}) WHERE back") == 0


def test_people_follow_the_census(region: duckdb.DuckDBPyConnection) -> None:
    people = sum(totals.POPULATION.values())
    homes = _shares(
        region, "SELECT home_province, count(*) / (SELECT count(*) FROM residents) FROM residents GROUP BY 1"
    )
    assert homes == pytest.approx({home: n / people for home, n in totals.POPULATION.items()}, abs=0.01)
    for condition, published in (
        ("sex = 'M'", totals.MALE_SHARE),
        ("birth_year <= 1963", totals.SENIOR_SHARE),
        ("birth_year >= 2009", totals.CHILD_SHARE),
    ):
        found = _shares(region, f"SELECT home_province, avg(({condition})::INT) FROM residents GROUP BY 1")
        assert found == pytest.approx(published, abs=0.02)
    employees = "avg((insured_kind = 'employee')::INT) / avg((insured_kind <> 'none')::INT)"
    share = _value(region, f"SELECT {employees} FROM residents")
    assert share == pytest.approx(totals.EMPLOYEES_INSURED / totals.INSURED, abs=0.01)


def test_settlements_follow_the_bulletins(region: duckdb.DuckDBPyConnection) -> None:
    assert pytest.approx(2 * totals.SETTLEMENTS_PER_PERSON_YEAR, rel=0.01) == SETTLEMENTS_PER_BLOCK / BLOCK
    assert sum(totals.SETTLEMENTS_OF_100_PEOPLE.values()) == BLOCK
    at_home = _shares(
        region, "SELECT insured_kind, avg((kind = 'inpatient')::INT) FROM visits WHERE NOT away GROUP BY 1"
    )
    assert at_home == pytest.approx(totals.INPATIENT_SHARE, rel=0.07)
    away = _value(region, "SELECT avg((kind = 'inpatient')::INT) FROM visits WHERE away")
    assert away == pytest.approx(totals.AWAY_INPATIENT_SHARE, rel=0.07)
    costs = _shares(region, "SELECT kind, avg(cost) FROM visits WHERE NOT away GROUP BY 1")
    assert costs == pytest.approx(totals.COST, rel=0.04)
    paid = _value(region, "SELECT avg(insurance_paid) FROM visits WHERE away AND kind = 'inpatient'")
    assert paid == pytest.approx(totals.AWAY_INPATIENT_PAID, rel=0.06)


def test_people_of_anhui_in_shanghai(region: duckdb.DuckDBPyConnection) -> None:
    share = _value(
        region,
        "SELECT count(DISTINCT person_id) FILTER (WHERE province = 'shanghai') / count(DISTINCT person_id)"
        " FROM visits WHERE home_province = 'anhui'",
    )
    # Whoever has a second province but few settlements may have none there: somewhat fewer than published.
    assert share == pytest.approx(totals.ANHUI_PEOPLE_IN_SHANGHAI / totals.POPULATION["anhui"], rel=0.15)


def test_promises_of_the_catalog_hold(region: duckdb.DuckDBPyConnection, catalog: Catalog) -> None:
    nodes = "SELECT count(DISTINCT province) AS n FROM {} GROUP BY {}"
    for name, table in catalog.private_tables.items():
        most = _value(region, f"SELECT max(n) FROM ({nodes.format(name, table.unit_column)})")
        assert most == catalog.span(table)
        if table.rows_per_unit is not None:
            rows = f"SELECT count(*) AS n FROM {name} GROUP BY {table.unit_column}"
            assert _value(region, f"SELECT max(n) FROM ({rows})") == table.rows_per_unit
    visits = catalog.private_tables["visits"]
    rows = "SELECT count(*) AS n FROM visits GROUP BY person_id"
    assert _value(region, f"SELECT max(n) FROM ({rows})") == visits.max_rows == MOST_SETTLEMENTS
    assert visits.columns["cost"].bounds == (0, DEAREST)
    assert _value(region, "SELECT count(*) FROM visits WHERE away <> (province <> home_province)") == 0
    assert _value(region, "SELECT count(*) FROM residents WHERE home_province <> province") == 0


def test_values_are_within_the_standard(region: duckdb.DuckDBPyConnection, catalog: Catalog) -> None:
    for name, table in catalog.private_tables.items():
        for column_name, column in table.columns.items():
            domain = catalog.domain(column) if column.type == "VARCHAR" else None
            if domain is not None:
                found = {row[0] for row in region.execute(f"SELECT DISTINCT {column_name} FROM {name}").fetchall()}
                assert found == set(domain), f"{name}.{column_name}"
            if column.bounds is not None:
                low, high = column.bounds
                outside = f"SELECT count(*) FROM {name} WHERE NOT {column_name} BETWEEN {low} AND {high}"
                assert _value(region, outside) == 0, f"{name}.{column_name}"


def test_the_folder_is_a_federation(folder: Path, catalog: Catalog) -> None:
    assert parse_catalog((folder / "catalog.toml").read_text("utf-8"), source="catalog").digest == catalog.digest
    coordinator = tomllib.loads((folder / "coordinator.toml").read_text("utf-8"))
    assert tuple(coordinator["nodes"]) == catalog.region.provinces == totals.PROVINCES
    for province in totals.PROVINCES:
        node = tomllib.loads((folder / "nodes" / f"{province}.toml").read_text("utf-8"))
        assert node["province"] == province
        assert node["listen"] == coordinator["nodes"][province]
        assert set(node["tables"]) == set(catalog.private_tables)


def test_large_federations_have_prepared_snapshots(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(folder / "data")
    write_federation_files(tmp_path, large=True)
    for province in totals.PROVINCES:
        config = load_config(tmp_path / "nodes" / f"{province}.toml")
        assert config.engine.large_tables
        assert config.prepared is not None
        assert prepare(config, secret="ab").sums[-1].places is None  # more groups than there are places for


@pytest.mark.parametrize("visits", [9_999, 100_000_001])
def test_sizes_out_of_range_are_refused(tmp_path: Path, visits: int) -> None:
    with pytest.raises(ConfigError, match="10,000 to 100,000,000"):
        generate(tmp_path / "new", visits=visits)
    assert not (tmp_path / "new").exists()


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ConfigError, match="not empty"):
        generate(tmp_path, visits=10_000)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
