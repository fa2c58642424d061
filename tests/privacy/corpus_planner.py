"""A planner over the corpus catalog, shared by the tests of privacy/."""

from functools import cache
from pathlib import Path

from privacy.catalog import Catalog, parse_catalog
from privacy.fragment import Plan
from privacy.planner import Planner
from privacy.request import DELTA, Request

CATALOG = Path(__file__).parents[1] / "federation" / "corpus_catalog.toml"


@cache
def catalog() -> Catalog:
    return parse_catalog(CATALOG.read_text(), source=CATALOG.name)


@cache
def planner() -> Planner:
    return Planner(catalog())


def request(sql: str, *, epsilon: float = 1.0, delta: float = DELTA, **options: object) -> Request:
    return Request.new(sql, epsilon=epsilon, delta=delta, nonce="0" * 32, expires_unix_s=2**40, options=options)


def plan(sql: str, *, epsilon: float = 1.0, delta: float = DELTA, **options: object) -> Plan:
    return planner().plan(request(sql, epsilon=epsilon, delta=delta, **options))
