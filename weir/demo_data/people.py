"""People: where they live, who they are, how many settlements they have. All follow from the person's number.

People come in blocks of 100 whose settlements are fixed (`totals.SETTLEMENTS_OF_100_PEOPLE`), so that any stretch of
people can be made alone, in order, and the number of settlements is exactly what was asked for.
"""

from __future__ import annotations

import math

from weir.demo_data import totals
from weir.demo_data.draws import double, halves, key, lookup, pick, uniform

BLOCK = 100
STRIDE = 37  # coprime with BLOCK: spreads frequent patients over the numbers
THIS_YEAR = 2023
OLDEST = 99

# settlements by intensity rank, 0 (none) to 99 (most)
_BY_RANK = [count for count, people in totals.SETTLEMENTS_OF_100_PEOPLE.items() for _ in range(people)]
_BY_POSITION = [_BY_RANK[position * STRIDE % BLOCK] for position in range(BLOCK)]
SETTLEMENTS_PER_BLOCK = sum(_BY_RANK)
MOST_SETTLEMENTS = max(_BY_RANK)

# Assumption: the chance of being 60 or older rises with the number of settlements, with mean 1 over a block.
_SENIOR_FACTOR_LEAST, _SENIOR_FACTOR_RISE = 0.4, 1.2


def people_for(visits: int) -> int:
    """How many people have `visits` settlements together."""
    return BLOCK * math.ceil(visits / SETTLEMENTS_PER_BLOCK)


def people_sql(first: int, end: int, *, visits: int, seed: int) -> str:
    """The people numbered `first` … `end` − 1, in order.

    Columns: person_id, home_province, second_province (NULL: none), sex, birth_year, insured_kind, settlements.
    """
    return f"""
    WITH keyed AS (
        SELECT i AS person_id, i % {BLOCK} AS position, {key(seed, "person", "i")} AS draw
        FROM range({first}, {end}) people(i)
    ), drawn AS (
        SELECT person_id, position, position * {STRIDE} % {BLOCK} AS rank, {halves("draw")} FROM keyed
    ), home AS (
        SELECT *, {pick(uniform("low", 0, 20), totals.POPULATION)} AS home_province FROM drawn
    ), aged AS (
        SELECT *, {_age_group()} AS age_group FROM home
    )
    SELECT
        person_id,
        home_province,
        CASE WHEN {uniform("high", 16, 16)} < {lookup("home_province", totals.MOBILE_SHARE)}
            THEN {_second_province()} END AS second_province,
        CASE WHEN {uniform("low", 20, 12)} < {lookup("home_province", totals.MALE_SHARE)} THEN 'M' ELSE 'F' END AS sex,
        ({THIS_YEAR} - {_age()})::INTEGER AS birth_year,
        {_insured_kind()} AS insured_kind,
        {_settlements(visits)} AS settlements
    FROM aged ORDER BY person_id"""


def _age_group() -> str:
    factor = f"({double(_SENIOR_FACTOR_LEAST)} + {double(_SENIOR_FACTOR_RISE / (BLOCK - 1))} * rank)"
    senior = f"{lookup('home_province', totals.SENIOR_SHARE)} * {factor}"
    others = {home: 1 - share for home, share in totals.SENIOR_SHARE.items()}
    child_of_others = {home: totals.CHILD_SHARE[home] / others[home] for home in others}
    draw, child = uniform("low", 32, 16), lookup("home_province", child_of_others)
    return (
        f"CASE WHEN {draw} < {senior} THEN 'senior'"
        f" WHEN {draw} < {senior} + (1 - {senior}) * {child} THEN 'child' ELSE 'adult' END"
    )


def _age() -> str:
    # Assumption: even within 0–14 and 15–59, thinning out above 60.
    draw = uniform("low", 48, 16)
    return lookup(
        "age_group",
        {
            "child": f"floor(15 * {draw})",
            "adult": f"15 + floor(45 * {draw})",
            "senior": f"60 + floor({OLDEST - 59} * {draw} * {draw})",
        },
    )


def _insured_kind() -> str:
    # The uninsured are among those without settlements, and employees among those of 15 and over.
    none = totals.UNINSURED_SHARE * BLOCK / totals.SETTLEMENTS_OF_100_PEOPLE[0]
    children = sum(totals.CHILD_SHARE[home] * people for home, people in totals.POPULATION.items())
    grown = 1 - children / sum(totals.POPULATION.values())
    employee = totals.EMPLOYEES_INSURED / totals.INSURED / grown
    idle = totals.SETTLEMENTS_OF_100_PEOPLE[0]
    return (
        f"CASE WHEN rank < {idle} AND {uniform('high', 48, 16)} < {double(none)} THEN 'none'"
        f" WHEN age_group <> 'child' AND {uniform('high', 0, 16)} < {double(employee)} THEN 'employee'"
        " ELSE 'resident' END"
    )


def _second_province() -> str:
    draw = uniform("high", 32, 16)
    return lookup("home_province", {home: pick(draw, totals.second_province(home)) for home in totals.PROVINCES})


def _settlements(visits: int) -> str:
    before = [sum(_BY_POSITION[:position]) for position in range(BLOCK)]
    own = f"{_BY_POSITION}[position + 1]"
    start = f"(person_id // {BLOCK}) * {SETTLEMENTS_PER_BLOCK} + {before}[position + 1]"
    return f"greatest(0, least({own}, {visits} - ({start})))"
