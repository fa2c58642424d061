"""Limits of joins on the unit: multiplied, unless one side's rows say which row of the other they meet."""

import pytest

from privacy.catalog import Catalog, parse_catalog
from privacy.errors import ConfigError
from privacy.fragment import Bounding
from privacy.planner import Planner
from privacy.rows.limits import Equality, Member, limits
from privacy.rows.source import Owner
from tests.privacy.corpus_planner import request

SHOP = """
[region]
name = "Shop"
version = "1"
description = { en = "Shop", zh = "商店" }
provinces = ["north", "south"]

[tables.orders]
access = "private"
description = { en = "Orders", zh = "订单" }
unit = "customer"
unit_column = "customer"
span = 1
max_rows = 50
max_groups = 40
key = ["number"]

[tables.orders.columns]
customer = { type = "BIGINT", description = { en = "Customer", zh = "客户" } }
number = { type = "BIGINT", description = { en = "Number", zh = "编号" } }
urgent = { type = "BOOLEAN", description = { en = "Urgent", zh = "加急" } }

[tables.items]
access = "private"
description = { en = "Items", zh = "明细" }
unit = "customer"
unit_column = "customer"
span = 1
max_rows = 350
max_groups = 300

[tables.items.columns]
customer = { type = "BIGINT", description = { en = "Customer", zh = "客户" } }
number = { type = "BIGINT", description = { en = "Order", zh = "订单" } }
price = { type = "DOUBLE", bounds = [0, 100], grid = 0.01, description = { en = "Price", zh = "价格" } }

[tables.people]
access = "private"
description = { en = "People", zh = "人" }
unit = "customer"
unit_column = "customer"
span = 1
rows_per_unit = 1

[tables.people.columns]
customer = { type = "BIGINT", description = { en = "Customer", zh = "客户" } }
country = { type = "BIGINT", references = "countries.country", description = { en = "Country", zh = "国家" } }

[tables.countries]
access = "public"
description = { en = "Countries", zh = "国家" }
rows = [[1, "a", 1], [2, "b", 1], [3, "c", 2]]

[tables.countries.columns]
country = { type = "BIGINT", description = { en = "Country", zh = "国家" } }
name = { type = "VARCHAR", description = { en = "Name", zh = "名称" } }
continent = { type = "BIGINT", description = { en = "Continent", zh = "大洲" } }
"""


def _catalog(toml: str = SHOP) -> Catalog:
    return parse_catalog(toml, source="catalog.toml")


def _bounding(sql: str) -> Bounding:
    return Planner(_catalog()).plan(request(sql)).blocks[0].fragments["north"].bounding


_BOTH = "i.customer = o.customer AND i.number = o.number"


@pytest.mark.parametrize(
    ("joined", "rows"),
    [
        ("items i JOIN orders o ON i.customer = o.customer", 350 * 50),
        (f"items i JOIN orders o ON {_BOTH}", 350),
        (f"orders o JOIN items i ON {_BOTH}", 350),
        (f"items i, orders o WHERE {_BOTH}", 350),
        (f"items i LEFT JOIN orders o ON {_BOTH}", 350),
        (f"orders o LEFT JOIN items i ON {_BOTH}", 350 * 50),  # orders without items are rows too
        (f"people p JOIN orders o ON p.customer = o.customer JOIN items i ON {_BOTH}", 350),
        ("people p JOIN orders o ON p.customer = o.customer", 50),
        (f"(SELECT customer, number, COUNT(*) AS n FROM items GROUP BY ALL) i JOIN orders o ON {_BOTH}", 50),
        (f"(SELECT DISTINCT customer, number FROM items) i JOIN orders o ON {_BOTH}", 50),
        (f"(SELECT customer, number + 0 AS number FROM orders) o JOIN items i ON {_BOTH}", 350 * 50),
        (f"(SELECT customer, number FROM orders) o JOIN items i ON {_BOTH}", 350),
    ],
)
def test_rows_of_joins(joined: str, rows: int) -> None:
    assert _bounding(f"SELECT COUNT(*) FROM {joined}").max_rows == rows


def _member(name: str, rows: int, *key: str, on: tuple[Equality, ...] = ()) -> Member:
    return Member(name, Owner("x", (), None, rows, rows), frozenset(key) if key else None, on)


def test_each_decides_on_the_next() -> None:
    chain = [_member("a", 5, "k"), _member("b", 7, "k"), _member("c", 11)]
    equal = [(("c", "x"), ("b", "k")), (("b", "y"), ("a", "k"))]
    assert limits(chain, equal) == (11, 11)
    assert limits(chain, equal[:1]) == (55, 55)
    assert limits(chain, []) == (385, 385)


def test_a_circle_needs_one_of_its_rows() -> None:
    circle = [_member("a", 5, "k"), _member("b", 7, "k")]
    assert limits(circle, [(("a", "k"), ("b", "k"))]) == (5, 5)


def test_the_whole_key_is_needed() -> None:
    pair = [_member("a", 5, "k", "l"), _member("b", 7)]
    assert limits(pair, [(("a", "k"), ("b", "k"))]) == (35, 35)
    assert limits(pair, [(("a", "k"), ("b", "k")), (("b", "m"), ("a", "l"))]) == (7, 7)


def test_a_left_join_says_nothing_about_what_it_is_joined_to() -> None:
    on = ((("a", "k"), ("b", "k")),)
    assert limits([_member("a", 5, "k"), _member("b", 7, on=on)], []) == (35, 35)
    assert limits([_member("a", 5), _member("b", 7, "k", on=on)], []) == (5, 5)


def test_what_a_fixed_column_finds_is_fixed() -> None:
    sql = (
        "SELECT c.{}, COUNT(*) FROM people p JOIN countries c ON {} JOIN items i ON i.customer = p.customer GROUP BY 1"
    )
    assert _bounding(sql.format("name", "p.country = c.country")).max_groups == 1
    assert _bounding(sql.format("name", "p.country = c.continent")).max_groups == 3  # finds two countries
    of_items = "SELECT c.name, COUNT(*) FROM items i JOIN countries c ON i.number = c.country GROUP BY 1"
    assert _bounding(of_items).max_groups > 1


def test_a_key_must_be_of_the_table() -> None:
    with pytest.raises(ConfigError, match="numbr"):
        _catalog(SHOP.replace('key = ["number"]', 'key = ["numbr"]'))
