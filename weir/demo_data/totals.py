"""Published totals that the generated data follow, each with its source; what is ours is marked `Assumption`.

Sources, by the names used below:

Census 2020     国家统计局, 第七次全国人口普查公报 (Seventh National Population Census), 11 May 2021:
                No. 3 population by province, No. 4 sex, No. 5 age; the provinces' own census communiqués for migrants.
NHSA 2022       国家医疗保障局, 2022年全国医疗保障事业发展统计公报 (National Healthcare Security Administration,
                statistical bulletin for 2022), 10 July 2023.
NHSA 2023       The same administration's figures for 2023, January 2024.
NHC 2022        国家卫生健康委员会, 2022年我国卫生健康事业发展统计公报 (National Health Commission), 12 October 2023.
Shanghai 2022   上海市统计局, 2022年人口变动情况抽样调查 (Shanghai Bureau of Statistics, sample survey), March 2023.
Economic census 国家统计局, 第四次全国经济普查系列报告 (Fourth National Economic Census, of 2018), December 2019.
Yicai 2023      第一财经, report on registered market entities by province, 21 August 2023.
"""

from __future__ import annotations

PROVINCES = ("shanghai", "jiangsu", "zhejiang", "anhui")

# --- people ---------------------------------------------------------------------------------------------------------

# Census 2020, No. 3: residents, persons. A generated person's home is drawn in these proportions.
POPULATION = {"shanghai": 24_870_895, "jiangsu": 84_748_016, "zhejiang": 64_567_588, "anhui": 61_027_171}

# Census 2020, No. 4, table 4-1: share of men.
MALE_SHARE = {"shanghai": 0.5177, "jiangsu": 0.5078, "zhejiang": 0.5216, "anhui": 0.5097}

# Census 2020, No. 5, table 5-2: shares of ages 0–14 and 60 and over; 15–59 is the rest.
CHILD_SHARE = {"shanghai": 0.0980, "jiangsu": 0.1521, "zhejiang": 0.1345, "anhui": 0.1924}
SENIOR_SHARE = {"shanghai": 0.2338, "jiangsu": 0.2184, "zhejiang": 0.1870, "anhui": 0.1879}

# NHSA 2022: of 1,345.92 million insured, 362.43 million are in the employees' scheme, the others in the residents'.
INSURED = 1_345_920_000
EMPLOYEES_INSURED = 362_430_000

# NHSA 2022: more than 95 % of the population are insured. The others have no settlements.
UNINSURED_SHARE = 0.05

# --- people in two provinces ----------------------------------------------------------------------------------------

# Census 2020, communiqués of the provinces: residents whose household registration is in another province.
RESIDENTS_FROM_OUTSIDE = {
    "shanghai": 10_479_700,
    "jiangsu": 10_308_600,
    "zhejiang": 16_186_500,
    "anhui": 1_550_500,
}

# Shanghai 2022: residents of Shanghai who are registered in Anhui, persons.
ANHUI_PEOPLE_IN_SHANGHAI = 2_334_500


def second_province(home: str) -> dict[str, float]:
    """Where the people of `home` who have a second province have it: shares, in proportion to how many it draws.

    Assumption: every province draws from its three neighbours as it draws from the whole country.
    """
    draw = {province: RESIDENTS_FROM_OUTSIDE[province] for province in PROVINCES if province != home}
    return {province: drawn / sum(draw.values()) for province, drawn in draw.items()}


# Share of people with a second province, by home. Anhui: what makes the number of its people in Shanghai come out
# as published. The others: assumption.
MOBILE_SHARE = {
    "shanghai": 0.03,
    "jiangsu": 0.04,
    "zhejiang": 0.03,
    "anhui": ANHUI_PEOPLE_IN_SHANGHAI / second_province("anhui")["shanghai"] / POPULATION["anhui"],
}

# Assumption: of the settlements of a person with a second province, this share is made there.
AWAY_SHARE_OF_MOBILE = 0.7

# --- settlements ----------------------------------------------------------------------------------------------------

# NHSA 2022: settlements in the employees' and the residents' scheme in a year; of the latter, chronic and inpatient.
EMPLOYEE_SETTLEMENTS = 2_104_000_000
RESIDENT_SETTLEMENTS = 2_157_000_000
RESIDENT_CHRONIC = 297_000_000
RESIDENT_INPATIENT = 160_000_000
# NHSA 2022: hospital stays in a year for each person in the employees' scheme.
EMPLOYEE_INPATIENT_RATE = 0.176

SETTLEMENTS_PER_PERSON_YEAR = (EMPLOYEE_SETTLEMENTS + RESIDENT_SETTLEMENTS) / INSURED
INPATIENT_SHARE = {
    "employee": EMPLOYEE_INPATIENT_RATE * EMPLOYEES_INSURED / EMPLOYEE_SETTLEMENTS,
    "resident": RESIDENT_INPATIENT / RESIDENT_SETTLEMENTS,
}
# Assumption: the employees' scheme has the share of chronic settlements that is published for the residents'.
CHRONIC_SHARE = RESIDENT_CHRONIC / RESIDENT_SETTLEMENTS

# NHSA 2023: direct settlements across provinces, outpatient and inpatient.
AWAY_OUTPATIENT = 118_000_000
AWAY_INPATIENT = 11_250_000
AWAY_INPATIENT_SHARE = AWAY_INPATIENT / (AWAY_OUTPATIENT + AWAY_INPATIENT)

# Assumption: seniors are admitted more often than others; the two factors keep the share over everybody.
INPATIENT_FACTOR_SENIOR, INPATIENT_FACTOR_OTHER = 1.6, 0.79

# Settlements of 100 people in two years: {settlements: people}. Assumption in its shape; its mean is
# 2 × SETTLEMENTS_PER_PERSON_YEAR (6.33; a test holds them together).
# fmt: off
SETTLEMENTS_OF_100_PEOPLE = {
    0: 10, 1: 7, 2: 8, 3: 9, 4: 8, 5: 9, 6: 8,
    7: 7, 8: 6, 9: 5, 10: 5, 12: 4, 14: 5, 16: 9,
}
# fmt: on

# --- costs, yuan ----------------------------------------------------------------------------------------------------

# NHC 2022: mean cost of a hospital's outpatient visit and of a stay. Chronic illness: assumption.
COST = {"outpatient": 342.7, "inpatient": 10_860.6, "chronic": 500.0}
# NHSA 2022: 5.6879 million stays settled across provinces, for which insurance paid 76.233 billion yuan.
AWAY_INPATIENT_PAID = 76_233_000_000 / 5_687_900
# Assumption: the share that insurance pays, by scheme and kind; away from home it is lower.
PAID_SHARE_INPATIENT = {"employee": 0.80, "resident": 0.65}
PAID_SHARE_OTHER = {"employee": 0.65, "resident": 0.50}
PAID_SHARE_AWAY = 0.60
AWAY_INPATIENT_COST = AWAY_INPATIENT_PAID / PAID_SHARE_AWAY
# Assumption: price level of each province against the mean of the region, and away from home for outpatients.
PRICE_LEVEL = {"shanghai": 1.25, "jiangsu": 1.00, "zhejiang": 1.05, "anhui": 0.85}
AWAY_OUTPATIENT_FACTOR = 1.3
# Assumption: spread of log cost.
COST_SIGMA = 0.6

# --- how long a settlement takes (all assumptions) ------------------------------------------------------------------

SAME_DAY_SHARE_AT_HOME = 0.92
DIRECT_SHARE_AWAY = {2023: 0.65, 2024: 0.80}  # the rest hands in paper and waits 15–60 days

# --- firms ----------------------------------------------------------------------------------------------------------

# Zhejiang: Yicai 2023, more than 10 million. The others: assumption, in round numbers.
FIRMS = {"shanghai": 3_400_000, "jiangsu": 14_000_000, "zhejiang": 10_000_000, "anhui": 7_500_000}
# Economic census: of the country's micro, small and medium firms 85.3 %, 13.2 % and 1.3 %. Large: assumption.
SIZE_SHARE = {"micro": 0.853, "small": 0.132, "medium": 0.013, "large": 0.002}
# Assumption: sectors, and the share of firms that moved here from another province of the region.
SECTOR_SHARE = {
    "agriculture": 0.06,
    "manufacturing": 0.15,
    "construction": 0.07,
    "trade": 0.36,
    "transport": 0.05,
    "software": 0.06,
    "business_services": 0.14,
    "other": 0.11,
}
MOVED_SHARE = {"shanghai": 0.010, "jiangsu": 0.015, "zhejiang": 0.012, "anhui": 0.020}
