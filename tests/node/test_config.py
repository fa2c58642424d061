from __future__ import annotations

import pytest

from node.config import DatabaseSource, FileSource, load_config, load_ledger_place, loopback
from node.policy import BudgetPolicy
from privacy.errors import ConfigError, MismatchRefused
from tests.node.makers import Folder, catalog


def test_paths_are_relative_to_the_file_and_columns_default_to_their_own_names(folder: Folder) -> None:
    folder.edit('visits*.parquet"]\n', 'visits*.parquet"]\ncolumns = { kind = "visit_type" }\n')
    config = load_config(folder.config)
    source = config.sources["visits"]
    assert isinstance(source, FileSource)
    assert source.files == (folder.data.resolve() / "visits.parquet",)
    assert source.columns["kind"] == "visit_type"
    assert source.columns["age"] == "age"
    assert config.ledger == folder.path.resolve() / "state" / "east.ledger"
    assert config.temp_directory == folder.path.resolve() / "state" / "east.ledger.tmp"


def test_a_database_is_a_source(folder: Folder) -> None:
    (folder.data / "local.duckdb").touch()
    folder.edit('files = ["../data/residents.parquet"]', 'database = "../data/local.duckdb"\ntable = "main.people"')
    source = load_config(folder.config).sources["residents"]
    assert isinstance(source, DatabaseSource)
    assert source.local_table == "main.people"


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('province = "east"', 'province = "north"', "province"),
        ('province = "east"', "", "province"),
        ('province = "east"', 'province = "east"\nsurplus = 1', "surplus"),
        ("../catalog.toml", "../other.toml", "catalog"),
        ("127.0.0.1:0", "0.0.0.0:0", "listen"),
        ("127.0.0.1:0", "example.org:80", "listen"),
        ("127.0.0.1:0", "127.0.0.1", "listen"),
        ("127.0.0.1:0", "127.0.0.1:70000", "listen"),
        ('memory_limit = "500MB"', 'memory_limit = "lots"', "engine.memory_limit"),
        ('memory_limit = "500MB"', "threads = 0", "engine.threads"),
        ("epsilon_total = 5.0", "epsilon_total = nan", "budget.epsilon_total"),
        ("epsilon_total = 5.0", "epsilon_total = 0", "budget.epsilon_total"),
        ("epsilon_per_query = 2.0", "epsilon_per_query = inf", "budget.epsilon_per_query"),
        ("epsilon_per_query = 2.0", "", "budget.epsilon_per_query"),
        ("epsilon_per_query = 2.0", "epsilon_per_query = 2.0\ndelta_total = 0.1", "budget.delta_total"),
        ("epsilon_per_query = 2.0", "epsilon_per_query = 2.0\ndelta_per_query = -1.0", "budget.delta_per_query"),
        ("[tables.visits]", '[budget.period]\nlength = "decade"\nepsilon = 1\n[tables.visits]', "budget.period.length"),
        ("[tables.visits]", '[budget.period]\nlength = "day"\n[tables.visits]', "budget.period.epsilon"),
        ("[tables.visits]", "[budget.project]\nepsilon = 0\n[tables.visits]", "budget.project.epsilon"),
        ("[tables.visits]", "[budget.projects.a]\nepsilon = nan\n[tables.visits]", "budget.projects.a.epsilon"),
        ("ledger =", 'snapshot = "two words"\nledger =', "snapshot"),
        ("ledger =", f'snapshot = "{"a" * 64}"\nledger =', "snapshot"),
        ("ledger =", "signing_key = 5\nledger =", "signing_key"),
        ("[tables.residents]", "[tables.people]", "tables.people"),
        ("[tables.residents]", "[tables.hospitals]", "tables.hospitals"),
        ('[tables.residents]\nfiles = ["../data/residents.parquet"]', "", "tables"),
        ("residents.parquet", "nobody.parquet", "tables.residents.files"),
        ('["../data/residents.parquet"]', '["../data/*"]\ntable = "x"', "tables.residents"),
        ('files = ["../data/residents.parquet"]', 'table = "x"', "tables.residents"),
        ('files = ["../data/residents.parquet"]', 'database = "x.db"\ntable = "x"', "tables.residents.database"),
        ("../data/residents.parquet", "../catalog.toml", "tables.residents.files"),
        (
            '["../data/residents.parquet"]',
            '["../data/residents.parquet"]\ncolumns = { x = "y" }',
            "residents.columns.x",
        ),
    ],
)
def test_faults_name_the_key_and_the_line(folder: Folder, old: str, new: str, key: str) -> None:
    folder.edit(old, new)
    with pytest.raises(ConfigError, match=rf"east\.toml, line \d+: `[a-z.]*{key.split('.')[-1]}`") as caught:
        load_config(folder.config)
    assert key in caught.value.message
    assert caught.value.remedy


def test_a_file_with_a_wildcard_in_its_name_is_refused(folder: Folder) -> None:
    (folder.data / "visits[1].parquet").touch()
    with pytest.raises(ConfigError, match="wildcard"):
        load_config(folder.config)


def test_formats_do_not_mix(folder: Folder) -> None:
    (folder.data / "visits.csv").touch()
    folder.edit("visits*.parquet", "visits*")
    with pytest.raises(ConfigError, match=r"\.parquet, or all in \.csv"):
        load_config(folder.config)


def test_a_missing_file_is_a_typed_error(folder: Folder) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(folder.path / "none.toml")


def test_the_pin_is_checked(folder: Folder) -> None:
    folder.edit("listen =", f'catalog_digest = "{catalog().digest}"\nlisten =')
    assert load_config(folder.config).catalog.digest == catalog().digest
    folder.edit(catalog().digest, "0" * 64)
    with pytest.raises(MismatchRefused, match="pinned"):
        load_config(folder.config)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.8.9.1:50061", "localhost:0", "[::1]:0"])
def test_loopback_is_served(listen: str) -> None:
    assert loopback(listen) == listen


def test_budgets_are_whole_numbers_rounded_down(folder: Folder) -> None:
    folder.edit(
        "[tables.visits]",
        '[budget.period]\nlength = "quarter"\nepsilon = 0.1\n'
        "[budget.project]\nepsilon = 0.5\n[budget.projects.ageing-2026]\nepsilon = 3\n[tables.visits]",
    )
    assert load_config(folder.config).budget.policy() == BudgetPolicy(
        epsilon_total_nano=5_000_000_000,
        delta_total_atto=10**12,
        period_length="quarter",
        period_epsilon_nano=100_000_000,
        project_epsilon_nano=500_000_000,
        projects={"ageing-2026": 3_000_000_000},
    )


def test_a_projects_name_is_one_that_requests_may_name(folder: Folder) -> None:
    folder.edit("[tables.visits]", '[budget.projects."two words"]\nepsilon = 3\n[tables.visits]')
    with pytest.raises(ConfigError, match=r"east\.toml, line \d+: `budget\.projects\.two words`"):
        load_config(folder.config)


def test_the_ledgers_place_is_known_without_catalog_and_data(folder: Folder) -> None:
    folder.edit("../catalog.toml", "../gone.toml")
    folder.edit("ledger =", 'signing_key = "east.pem"\nledger =')
    place = load_ledger_place(folder.config)
    assert place.ledger == folder.path.resolve() / "state" / "east.ledger"
    assert place.signing_key == folder.config.parent.resolve() / "east.pem"
