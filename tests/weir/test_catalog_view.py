import pytest

import weir
from privacy.catalog import parse_catalog
from tests.weir.fake_coordinator import CATALOG_TOML
from weir.catalog_view import CatalogView


@pytest.fixture
def view() -> CatalogView:
    catalog = parse_catalog(CATALOG_TOML, source="catalog.toml")
    return CatalogView(catalog, tuple(catalog.tables))


def test_both_languages_bounds_domains_and_limits_are_there(view: CatalogView) -> None:
    text = repr(view)
    for words in (
        "Visits to hospitals · 就诊记录",
        "protects each person (`person_id`), who may have records at up to 2 nodes",
        "0 – 1000, in steps of 0.01",
        "2023-01-01 – 2024-12-31",
        "1930 – 2019",
        "outpatient, inpatient, emergency, checkup, test",
        "… (20 values)",
        "就诊日期",
        "public, 20 rows",
        "one row each",
    ):
        assert words in text


def test_one_table_can_be_picked(view: CatalogView) -> None:
    assert "就诊记录" not in repr(view.table("hospitals"))
    assert list(view.table("hospitals").to_dict()["tables"]) == ["hospitals"]
    with pytest.raises(weir.NameRefused, match="no table `visit`"):
        view.table("visit")


def test_html_has_every_table(view: CatalogView) -> None:
    html = view._repr_html_()
    assert html.count("<details>") == 3
    assert "就诊日期" in html
