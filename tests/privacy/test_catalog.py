"""The catalog: what is accepted, and errors that name the key and the line."""

import pytest

from privacy.catalog import parse_catalog
from privacy.errors import ConfigError
from privacy.located_toml import line_of
from tests.privacy.corpus_planner import CATALOG, catalog

TEXT = CATALOG.read_text()


def _line(fragment: str) -> int:
    return TEXT[: TEXT.index(fragment)].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        ("bounds = [0, 100]", "bounds = [100, 0]", "tables.visits.columns.age", "least"),
        ("bounds = [0, 100]", "bounds = [0, 0.5]", "tables.visits.columns.age", "integers"),
        ('"BOOLEAN"', '"BOOL"', "tables.residents.columns.insured.type", "BOOLEAN"),
        (", grid = 0.01", "", "tables.visits.columns.cost", "grid"),
        ('["SH02", "shanghai", 2]', '["SH02", "shanghai"]', "tables.hospitals", "row 2"),
        ('["SH02", "shanghai", 2]', '["SH02", "shanghai", "two"]', "tables.hospitals", "'two'"),
        ('values = ["F", "M"], fixed', 'values = ["F", "F"], fixed', "tables.visits.columns.sex", "distinct"),
        ("rows_per_unit = 1", "rows_per_unit = 0", "tables.residents.rows_per_unit", "greater"),
        ("rows_per_unit = 1\n", "", "tables.residents", "max_rows"),
        ("max_rows = 11", "max_rows = 0", "tables.visits.max_rows", "greater"),
        ("max_rows = 11", "most_rows = 11", "tables.visits.most_rows", "not permitted"),
        ("2024-12-31]", "2022-12-31]", "tables.visits.columns.visit_date", "first"),
    ],
)
def test_faults_name_the_key_and_the_line(old: str, new: str, key: str, words: str) -> None:
    assert old in TEXT
    with pytest.raises(ConfigError) as refusal:
        parse_catalog(TEXT.replace(old, new, 1), source="catalog.toml")
    assert f"`{key}`" in refusal.value.message
    assert words in refusal.value.message
    named = int(refusal.value.message.partition("line ")[2].partition(":")[0])
    table = key.split(".")[1]
    assert _line(f"[tables.{table}]") <= named <= _line(old) or named == _line(old)


def test_the_span_has_no_silent_default() -> None:
    with pytest.raises(ConfigError, match=r"`tables\.visits\.span`: Field required"):
        parse_catalog(TEXT.replace("span = 2\n", ""), source="catalog.toml")


def test_a_span_beyond_the_region_is_a_fault() -> None:
    with pytest.raises(ConfigError, match="exceeds the number of provinces"):
        parse_catalog(TEXT.replace("span = 2", "span = 5"), source="catalog.toml")


def test_a_reference_must_lead_to_a_public_column() -> None:
    with pytest.raises(ConfigError, match="no column of a public table"):
        parse_catalog(TEXT.replace("hospitals.hospital", "residents.sex"), source="catalog.toml")


def test_bad_toml_says_where() -> None:
    with pytest.raises(ConfigError, match="line 3"):
        parse_catalog('[region]\nname = "x"\nversion = \n', source="catalog.toml")


def test_the_pseudo_column_is_reserved() -> None:
    with pytest.raises(ConfigError, match="pseudo-column"):
        parse_catalog(TEXT.replace("home_province =", "province ="), source="catalog.toml")


def test_the_digest_is_of_the_content() -> None:
    spelt_otherwise = "# a comment\n" + TEXT.replace("bounds = [0, 100]", "bounds = [ 0,100 ]")
    assert parse_catalog(spelt_otherwise, source="x").digest == catalog().digest
    assert parse_catalog(TEXT.replace("[0, 100]", "[0, 101]"), source="x").digest != catalog().digest


def test_lines_are_found_through_inline_tables_and_arrays() -> None:
    text = 'a = 1\n[b]\nc = [\n  1,\n  2,\n]\nd = { e = "x" }\n'
    assert line_of(text, ("a",)) == 1
    assert line_of(text, ("b", "c")) == 6  # where the array is complete
    assert line_of(text, ("b", "d", "e")) == 7
    assert line_of(text, ("b", "missing")) == 2
