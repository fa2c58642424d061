"""Firms: one row each, at the province where they are registered now."""

from __future__ import annotations

from weir.demo_data import totals
from weir.demo_data.draws import double, halves, key, lookup, pick, uniform

OLDEST_YEAR, THIS_YEAR = 1980, 2024
# Assumption: employees of each size class, least and greatest.
_EMPLOYEES = {"micro": (0, 9), "small": (10, 99), "medium": (100, 499), "large": (500, 5000)}


def firms_for(people: int) -> int:
    """How many firms a region of `people` people has."""
    return round(people * sum(totals.FIRMS.values()) / sum(totals.POPULATION.values()))


def firms_sql(count: int, *, seed: int) -> str:
    """`count` firms in order; columns: province (the node that holds the row), then those of the table `firms`."""
    return f"""
    WITH keyed AS (
        SELECT i AS firm_id, {key(seed, "firm", "i")} AS draw FROM range({count}) t(i)
    ), drawn AS (
        SELECT firm_id, {halves("draw")} FROM keyed
    ), classed AS (
        SELECT *, {pick(uniform("low", 0, 20), totals.FIRMS)} AS province,
            {pick(uniform("low", 20, 20), totals.SIZE_SHARE)} AS size_class FROM drawn
    )
    SELECT province, firm_id, {pick(uniform("low", 40, 20), totals.SECTOR_SHARE)} AS sector, size_class,
        {_employees()} AS employees, {_registered_year()} AS registered_year,
        {_moved_from()} AS moved_from
    FROM classed"""


def _employees() -> str:
    draw = uniform("high", 16, 12)
    by_class = {size: f"{low} + floor({high - low + 1} * {draw})" for size, (low, high) in _EMPLOYEES.items()}
    return f"({lookup('size_class', by_class)})::INTEGER"


def _registered_year() -> str:
    # Assumption: most firms are young, the older the fewer.
    age = f"floor({THIS_YEAR - OLDEST_YEAR + 1} * power({uniform('high', 28, 16)}, {double(2.5)}))"
    return f"({THIS_YEAR} - {age})::INTEGER"


def _moved_from() -> str:
    # Assumption: firms come in proportion to how many there are.
    draw = uniform("high", 44, 16)
    origins = {to: {home: n for home, n in totals.FIRMS.items() if home != to} for to in totals.PROVINCES}
    origin = lookup("province", {to: pick(draw, shares) for to, shares in origins.items()})
    moved = f"{uniform('high', 0, 16)} < {lookup('province', totals.MOVED_SHARE)}"
    return f"CASE WHEN {moved} THEN {origin} END"
