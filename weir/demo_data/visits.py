"""Settlements of medical insurance: each person's, one after the other, at home or in the second province."""

from __future__ import annotations

from weir.demo_data import totals
from weir.demo_data.draws import double, halves, key, lookup, normal, uniform
from weir.demo_data.people import THIS_YEAR

DEAREST = 60_000  # yuan; the catalog's bound, above which the tail of the distribution is cut
FIRST_DAY, DAYS = "DATE '2023-01-01'", 731
# Hospitals of a province are numbered by level: 01–04 level 3, 05–08 level 2, 09–10 level 1.
HOSPITAL_PREFIX = {"shanghai": "SH", "jiangsu": "JS", "zhejiang": "ZJ", "anhui": "AH"}
# Assumption: which of them serve whom.
_OPEN_TO_OUTPATIENTS, _OPEN_TO_INPATIENTS, _OPEN_TO_VISITORS = 10, 8, 4


def visits_sql(people: str, *, seed: int) -> str:
    """The settlements of the people in table `people` (columns of `people_sql`), in order of person.

    Columns: province (the node that holds the row), then those of the catalog's table `visits`.
    """
    return f"""
    WITH numbered AS (
        SELECT *, unnest(range(settlements)) AS number FROM {people} WHERE settlements > 0
    ), keyed AS (
        SELECT *, {key(seed, "visit", "person_id", "number")} AS draw FROM numbered
    ), drawn AS (
        SELECT * EXCLUDE (draw), {halves("draw")} FROM keyed
    ), placed AS (
        SELECT *, {_away()} AS away, {_visit_date()} AS visit_date FROM drawn
    ), sorted AS (
        SELECT *, CASE WHEN away THEN second_province ELSE home_province END AS province, {_kind()} AS kind FROM placed
    ), priced AS (
        SELECT *, {_cost()} AS cost FROM sorted
    )
    SELECT province, person_id, home_province, sex, birth_year, insured_kind, {_hospital()} AS hospital, visit_date,
        kind, away, cost, {_insurance_paid()} AS insurance_paid, {_settle_days()} AS settle_days
    FROM priced"""


def _away() -> str:
    return f"second_province IS NOT NULL AND {uniform('low', 0, 12)} < {double(totals.AWAY_SHARE_OF_MOBILE)}"


def _visit_date() -> str:
    # Assumption: some 15 % more settlements in the second year than in the first.
    day = f"floor({DAYS} * power({uniform('low', 12, 20)}, {double(0.9)}))"
    return f"({FIRST_DAY} + {day}::INTEGER)::DATE"


def _kind() -> str:
    draw = uniform("low", 32, 16)
    senior, other = double(totals.INPATIENT_FACTOR_SENIOR), double(totals.INPATIENT_FACTOR_OTHER)
    inpatient = (
        f"(CASE WHEN birth_year <= {THIS_YEAR - 60} THEN {senior} ELSE {other} END)"
        f" * CASE WHEN away THEN {double(totals.AWAY_INPATIENT_SHARE)}"
        f" ELSE {lookup('insured_kind', totals.INPATIENT_SHARE)} END"
    )
    return (
        f"CASE WHEN {draw} < {inpatient} THEN 'inpatient'"
        f" WHEN {draw} > {double(1 - totals.CHRONIC_SHARE)} THEN 'chronic' ELSE 'outpatient' END"
    )


def _price_levels() -> dict[str, float]:
    """Price level of each province, with mean 1 over the people of the region."""
    people = sum(totals.POPULATION.values())
    mean = sum(level * totals.POPULATION[province] for province, level in totals.PRICE_LEVEL.items()) / people
    return {province: level / mean for province, level in totals.PRICE_LEVEL.items()}


def _cost() -> str:
    mean = (
        f"CASE WHEN kind = 'inpatient' AND away THEN {double(totals.AWAY_INPATIENT_COST)} ELSE"
        f" {lookup('kind', totals.COST)}"
        f" * CASE WHEN away THEN {double(totals.AWAY_OUTPATIENT_FACTOR)} ELSE {double(1)} END"
        f" * {lookup('province', _price_levels())} END"
    )
    z = normal(uniform("high", 0, 16), uniform("high", 16, 16))
    # exp(μ + σz) has mean exp(μ + σ²/2)
    spread = f"exp({double(totals.COST_SIGMA)} * {z} - {double(totals.COST_SIGMA**2 / 2)})"
    return f"least({double(DEAREST)}, round(({mean}) * {spread}, 2))"


def _hospital() -> str:
    serving = (
        f"CASE WHEN away THEN {_OPEN_TO_VISITORS} WHEN kind = 'inpatient' THEN {_OPEN_TO_INPATIENTS}"
        f" ELSE {_OPEN_TO_OUTPATIENTS} END"
    )
    number = f"1 + floor(({serving}) * {uniform('low', 48, 16)})::INTEGER"
    prefix = lookup("province", {province: f"'{letters}'" for province, letters in HOSPITAL_PREFIX.items()})
    return f"{prefix} || lpad(({number})::VARCHAR, 2, '0')"


def _insurance_paid() -> str:
    share = (
        f"CASE WHEN away THEN {double(totals.PAID_SHARE_AWAY)}"
        f" WHEN kind = 'inpatient' THEN {lookup('insured_kind', totals.PAID_SHARE_INPATIENT)}"
        f" ELSE {lookup('insured_kind', totals.PAID_SHARE_OTHER)} END"
    )
    # Assumption: ± 10 % around the scheme's share, by what was prescribed.
    return f"round(cost * ({share}) * ({double(0.9)} + {double(0.2)} * {uniform('high', 32, 8)}), 2)"


def _settle_days() -> str:
    draw, wait = uniform("high", 40, 12), uniform("high", 52, 12)
    direct = " ".join(f"WHEN {year} THEN {double(share)}" for year, share in totals.DIRECT_SHARE_AWAY.items())
    return (
        f"(CASE WHEN NOT away AND {draw} < {double(totals.SAME_DAY_SHARE_AT_HOME)} THEN 0"
        f" WHEN NOT away THEN 1 + floor(10 * {wait})"
        f" WHEN {draw} < CASE year(visit_date) {direct} END THEN floor(4 * {wait})"
        f" ELSE 15 + floor(46 * {wait}) END)::INTEGER"
    )
