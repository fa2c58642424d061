"""Questions whose release the heavy person of clinic.py moves as far as one person may."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A question whose release one heavy person moves as far as one person may.

    Attributes:
        form: of bounding, as the planner must choose it.
    """

    sql: str
    form: str


CASES = {
    "none": Case("SELECT SUM(age), AVG(age) FROM residents", "none"),
    "multiplied rows": Case(
        "SELECT h.level, COUNT(*) FROM residents r JOIN hospitals h ON r.city = h.city GROUP BY h.level", "none"
    ),
    "one group": Case("SELECT SUM(cost), AVG(score) FROM visits", "clip"),
    "count and sum": Case("SELECT COUNT(*), SUM(cost) FROM visits", "clip"),
    "fixed key": Case("SELECT sex, COUNT(*) FROM visits GROUP BY sex", "clip"),
    "few groups": Case("SELECT shift, SUM(cost) FROM visits GROUP BY shift", "clip"),
    "limited groups": Case("SELECT ward, COUNT(*) FROM visits GROUP BY ward", "clip_and_limit"),
    "filters": Case("SELECT COUNT(*) FILTER (WHERE urgent), AVG(cost) FILTER (WHERE NOT urgent) FROM visits", "clip"),
    "median": Case("SELECT MEDIAN(CAST(cost * 1.2 AS BIGINT)) FROM visits", "clip"),
    "variance": Case("SELECT VAR_POP(cost) FROM visits", "clip"),
    "single values": Case("SELECT HISTOGRAM(ward), COUNT(DISTINCT ward), MODE(ward) FROM visits", "clip"),
    "single values of limited groups": Case(
        "SELECT ward, HISTOGRAM(shift) FROM visits GROUP BY ward", "clip_and_limit"
    ),
    "bins": Case("SELECT HISTOGRAM(age, [10, 50, 90]) FROM residents", "none"),
    "nested": Case(
        "SELECT SUM(s), COUNT(*) FROM (SELECT person_id, SUM(cost) AS s FROM visits GROUP BY person_id) p", "none"
    ),
    "nested, key of a left join": Case(
        "SELECT c, COUNT(*) FROM (SELECT r.city AS c, RANK() OVER (PARTITION BY v.person_id ORDER BY v.cost) AS n "
        "FROM visits v LEFT JOIN residents r ON v.person_id = r.person_id AND v.urgent) p GROUP BY c",
        "clip_and_limit",
    ),
}

# Of prepared snapshots, which hold these sums ready.
SUMS = '[snapshots.sums.visits]\nkeys = [["ward"], ["shift"]]\n'
READY = {
    "one group": "SELECT SUM(cost), AVG(score) FROM visits",
    "few groups": "SELECT shift, SUM(cost) FROM visits GROUP BY shift",
    "limited groups": "SELECT ward, COUNT(*) FROM visits WHERE sex = 'M' GROUP BY ward",
    "limited groups that pass": "SELECT ward, COUNT(*) FROM visits WHERE ward NOT IN ('B', 'C') GROUP BY ward",
}
