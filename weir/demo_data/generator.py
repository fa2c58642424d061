"""Writes the whole generated federation: Parquet by DuckDB, a stretch of people at a time, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import duckdb

from privacy.errors import ConfigError
from weir.demo_data.federation_files import LOCAL_NAMES, write_federation_files
from weir.demo_data.firms import firms_for, firms_sql
from weir.demo_data.people import people_for, people_sql
from weir.demo_data.totals import PROVINCES
from weir.demo_data.visits import visits_sql

LEAST_VISITS, MOST_VISITS = 10_000, 100_000_000
LARGE_VISITS = 5_000_000  # from here the nodes are told that their tables are large
PEOPLE_PER_FILE = 500_000  # about 3 million settlements: some 600 MB while they are made
MEMORY_LIMIT = "6GB"


def generate(
    folder: Path, *, visits: int, seed: int = 7, progress: Callable[[float], None] = lambda _share: None
) -> None:
    """Make `folder` a federation of four provinces with exactly `visits` settlements.

    The same arguments give the same rows in the same files.

    Args:
        folder: new or empty.
        visits: 10,000 to 100,000,000; people and firms follow from it.
        progress: told the share that is done, 0 to 1, after each stretch of people.

    Raises:
        ConfigError: a number of visits out of range, or a folder that is not empty.
    """
    if not LEAST_VISITS <= visits <= MOST_VISITS:
        raise ConfigError(
            f"{visits:,} visits cannot be generated.", remedy=f"Ask for {LEAST_VISITS:,} to {MOST_VISITS:,} visits."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists and is not empty.", remedy="Name a new folder, or remove this one first.")
    for province in PROVINCES:
        (folder / "data" / province).mkdir(parents=True)
    with duckdb.connect(config={"memory_limit": MEMORY_LIMIT}) as engine:
        _write_all(engine, folder / "data", visits=visits, seed=seed, progress=progress)
    write_federation_files(folder, large=visits >= LARGE_VISITS)  # last: a folder without them was not finished


def _write_all(
    engine: duckdb.DuckDBPyConnection, data: Path, *, visits: int, seed: int, progress: Callable[[float], None]
) -> None:
    people = people_for(visits)
    starts = range(0, people, PEOPLE_PER_FILE)
    for number, first in enumerate(starts):
        end = min(first + PEOPLE_PER_FILE, people)
        engine.execute(f"CREATE OR REPLACE TEMP TABLE people AS {people_sql(first, end, visits=visits, seed=seed)}")
        engine.execute(f"CREATE OR REPLACE TEMP TABLE settled AS {visits_sql('people', seed=seed)}")
        for province in PROVINCES:
            own = f"SELECT * EXCLUDE (second_province, settlements) FROM people WHERE home_province = '{province}'"
            _write(engine, own, data / province / f"residents-{number:03}.parquet")
            settled = _of(province, "settled", LOCAL_NAMES[province])
            _write(engine, settled, data / province / f"visits-{number:03}.parquet")
        progress((number + 1) / (len(starts) + 1))
    engine.execute(f"CREATE OR REPLACE TEMP TABLE registered AS {firms_sql(firms_for(people), seed=seed)}")
    for province in PROVINCES:
        _write(engine, _of(province, "registered", {}), data / province / "firms-000.parquet")
    progress(1.0)


def _of(province: str, table: str, local_names: Mapping[str, str]) -> str:
    """A province's own rows of `table`, with the province's own names."""
    names = ", ".join(f"{standard} AS {local}" for standard, local in local_names.items())
    rename = f" RENAME ({names})" if names else ""
    return f"SELECT * EXCLUDE (province){rename} FROM {table} WHERE province = '{province}'"


def _write(engine: duckdb.DuckDBPyConnection, rows: str, file: Path) -> None:
    quoted = str(file).replace("'", "''")
    engine.execute(f"COPY ({rows}) TO '{quoted}' (FORMAT parquet)")
