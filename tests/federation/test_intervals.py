"""Intervals of fresh answers from real daemons, against plain DuckDB over the union of the nodes."""

from __future__ import annotations

import duckdb
from scipy import stats

import weir

ANSWERS = 40
FALSE_ALARM = 1e-7
# One row a person, so that no limit cuts and the plain value is the one that noise was added to.
ASKED = (
    "home_province, COUNT(*) AS n, AVG(birth_year) AS born, COUNT(*) FILTER (WHERE insured) / COUNT(*) AS share,"
    " COUNT(*) FILTER (WHERE sex = 'F') - COUNT(*) FILTER (WHERE sex = 'M') AS more"
)
GROUPED = "GROUP BY home_province HAVING COUNT(*) > -1000000 ORDER BY COUNT(*) DESC"


def test_intervals_of_fresh_answers_hold_the_plain_value(
    rich: weir.Connection, union: duckdb.DuckDBPyConnection
) -> None:
    """Each of a column's cells is covered with probability 0.94 at least, independently; the bound fails once in 1e7."""
    covered: dict[str, list[bool]] = {name: [] for name in ("n", "born", "share", "more")}
    for number in range(ANSWERS):
        sql = f"SELECT {ASKED} FROM residents WHERE birth_year > {-1 - number} {GROUPED}"
        answer = rich.sql(sql, epsilon=0.5)
        found = answer.interval().set_index("home_province")
        plain = union.sql(sql).df().set_index("home_province")
        for name, held in covered.items():
            low, high, value = found[f"{name}_low"], found[f"{name}_high"], plain[name].reindex(found.index)
            held += ((low - 1e-9 <= value) & (value <= high + 1e-9)).tolist()
            assert (low <= found[name]).all()
            assert (found[name] <= high).all()
    for name, held in covered.items():
        assert sum(held) >= stats.binom.ppf(FALSE_ALARM, len(held), 0.94), name


def test_free_repeats_have_the_same_intervals(rich: weir.Connection) -> None:
    sql = f"SELECT {ASKED} FROM residents GROUP BY home_province"
    first, again = (rich.sql(sql, epsilon=0.25) for _ in range(2))
    assert again.charges[0].already_released
    assert all(one.equals(other) for one, other in zip(first.interval_tables(), again.interval_tables(), strict=True))


def test_without_noise_an_interval_is_a_point(rich: weir.Connection) -> None:
    found = rich.sql("SELECT sex, COUNT(*) AS n FROM residents GROUP BY sex", epsilon=1e6).interval()
    assert (found["n_low"] == found["n"]).all()
    assert (found["n_high"] == found["n"]).all()
