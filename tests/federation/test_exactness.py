"""With ε = 1e6 an answer is the exact bounded answer of plain DuckDB over the union of the nodes."""

import duckdb
import pytest

import weir
from tests.federation.compare import assert_same_answer

QUERIES = [
    "SELECT COUNT(*), COUNT(cost), COUNT(1) FROM visits",
    "SELECT SUM(age), AVG(age), SUM(cost), AVG(cost) FROM visits",
    "SELECT SUM(-age), SUM(age - 50), AVG(2 * age + 1), SUM(ABS(age - 50)) FROM visits",
    "SELECT AVG(cost / 7), SUM(cost / (1 + age)), AVG(age % 7), SUM(age // 9) FROM visits",
    "SELECT province, COUNT(*) AS n, AVG(cost) AS c FROM visits GROUP BY province ORDER BY n",
    "SELECT province, kind, COUNT(*) FROM visits GROUP BY ALL",
    "SELECT CASE WHEN province IN ('shanghai', 'anhui') THEN 'ends' ELSE 'middle' END AS part, SUM(age) FROM visits GROUP BY part",
    "SELECT kind, COUNT(*) FROM visits WHERE province <> 'jiangsu' AND cost > 250 GROUP BY kind",
    "SELECT CASE WHEN age < 15 THEN 'child' WHEN age < 60 THEN 'adult' ELSE 'senior' END AS g, COUNT(*), AVG(cost) FROM visits GROUP BY g",
    "SELECT CASE kind WHEN 'test' THEN 1 ELSE 0 END AS t, sex, COUNT(*) FROM visits GROUP BY t, sex",
    "SELECT cost > 500 AS dear, COUNT(*) FROM visits GROUP BY dear",
    "SELECT EXTRACT(year FROM visit_date) AS y, EXTRACT(quarter FROM visit_date) AS q, COUNT(*) FROM visits GROUP BY y, q",
    "SELECT DATE_TRUNC('year', visit_date) AS y, AVG(age) FROM visits GROUP BY y",
    "SELECT MONTH(visit_date) AS m, COUNT(*) FROM visits WHERE YEAR(visit_date) = 2024 GROUP BY m ORDER BY m LIMIT 5 OFFSET 2",
    "SELECT visit_date, COUNT(*) FROM visits WHERE visit_date BETWEEN '2023-03-01' AND '2023-03-10' GROUP BY visit_date",
    "SELECT hospital, COUNT(*) AS n FROM visits GROUP BY hospital HAVING COUNT(*) > 500 ORDER BY hospital",
    "SELECT h.city, h.level, COUNT(*), AVG(v.cost) FROM visits v JOIN hospitals h ON v.hospital = h.hospital GROUP BY h.city, h.level",
    "SELECT h.city, COUNT(*) FROM hospitals h JOIN visits v USING (hospital) WHERE h.level >= 2 GROUP BY h.city",
    "SELECT SUM(v.cost * h.level) FROM visits v JOIN hospitals h ON v.hospital = h.hospital",
    "SELECT h.level, COUNT(*) FROM visits v LEFT JOIN hospitals h ON v.hospital = h.hospital AND h.city = 'hefei' GROUP BY h.level",
    "SELECT COUNT(h.city), COUNT(*) FROM visits v LEFT JOIN hospitals h ON v.hospital = h.hospital AND h.level = 1",
    "SELECT h.level, COUNT(*) FROM residents r JOIN hospitals h ON r.home_province = h.city GROUP BY h.level",
    "SELECT sex, COUNT(*) FROM residents GROUP BY sex",
    "SELECT insured, AVG(birth_year), COUNT(*) FROM residents GROUP BY insured",
    "SELECT birth_year // 10 * 10 AS decade, COUNT(*) FROM residents WHERE home_province = 'anhui' GROUP BY decade ORDER BY decade",
    "SELECT home_province, SUM(CASE WHEN insured THEN 1 ELSE 0 END) * 100.0 / COUNT(*) AS pct FROM residents GROUP BY home_province",
    "SELECT kind, AVG(cost) FILTER (WHERE sex = 'F') - AVG(cost) FILTER (WHERE sex = 'M') AS gap FROM visits GROUP BY kind",
    "SELECT kind, ROUND(AVG(cost), 1) AS c FROM visits GROUP BY kind HAVING AVG(age) > 0",
    "SELECT AVG(LN(1 + cost)), AVG(SQRT(age)), AVG(GREATEST(age, 30)), AVG(LEAST(cost, 100.5)) FROM visits",
    "SELECT UPPER(sex) AS s, LOWER(kind) || '!' AS k, COUNT(*) FROM visits GROUP BY s, k",
    "SELECT COUNT(*) FROM visits WHERE kind LIKE '%patient' AND NOT (age > 80 OR age IN (1, 2, 3))",
    "SELECT COUNT(*) FROM visits WHERE person_id <> 42 AND person_id BETWEEN 10 AND 500",
    "SELECT SUM(COALESCE(NULLIF(age, 30), 0)), COUNT(NULLIF(age, 30)), AVG(NULLIF(age, 30)) FROM visits",
    "SELECT sex, VAR_POP(cost), VAR_SAMP(age), STDDEV(age), STDDEV_POP(cost) FROM visits GROUP BY sex",
    "SELECT COVAR_POP(cost, age), COVAR_SAMP(age, cost), CORR(cost, age), CORR(cost, NULLIF(age, 30)) FROM visits",
    "SELECT REGR_SLOPE(cost, age), REGR_INTERCEPT(cost, age) FILTER (WHERE kind <> 'test') FROM visits",
    "SELECT insured, STDDEV(birth_year) FILTER (WHERE sex = 'F') FROM residents GROUP BY insured",
    "SELECT sex, kind, COUNT(*), AVG(cost), STDDEV(age) FROM visits GROUP BY ROLLUP (sex, kind)",
    "SELECT province, kind, AVG(cost) AS c, GROUPING(province, kind) AS g FROM visits GROUP BY CUBE (province, kind) ORDER BY g, c DESC",
    "SELECT hospital, age // 10 AS decade, COUNT(*) FROM visits GROUP BY GROUPING SETS ((hospital), (decade))",
    "SELECT sex, home_province, AVG(birth_year) AS y FROM residents GROUP BY sex, ROLLUP (home_province) HAVING GROUPING(home_province) = 1 OR COUNT(*) > 200",
    "SELECT COALESCE(kind, 'all kinds') AS k, SUM(cost) / COUNT(*) AS mean, COUNT(*) FILTER (WHERE age > 60) FROM visits GROUP BY ROLLUP (kind) HAVING mean > 0",
    "SELECT h.level, v.sex, GROUPING(h.level) AS g, COUNT(*) AS n FROM visits v LEFT JOIN hospitals h ON v.hospital = h.hospital AND h.city = 'hefei' GROUP BY ROLLUP (1, 2) ORDER BY g, n",
    "SELECT CASE WHEN GROUPING(kind) = 1 THEN 'total' ELSE kind END AS k, COUNT(*) AS n FROM visits WHERE province <> 'anhui' GROUP BY GROUPING SETS ((kind), ()) ORDER BY GROUPING(kind), n DESC LIMIT 4",
    "SELECT sex, kind, MEDIAN(age), MAX(age), COUNT(*) FROM visits GROUP BY CUBE (sex, kind)",
    "SELECT home_province, birth_year, COUNT(*), AVG(birth_year), SUM(birth_year) FROM residents GROUP BY ROLLUP (1, 2)",
    "SELECT hospital, age, COUNT(*), AVG(cost) FROM visits GROUP BY CUBE (hospital, age)",
    "SELECT h.home_province, birth_year, h.n, h.n * 100.0 / p.n AS pct FROM (SELECT home_province, birth_year, COUNT(*) AS n FROM residents GROUP BY ROLLUP (1, 2)) AS h, (SELECT COUNT(*) AS n FROM visits) AS p",
    "SELECT kind AS a0, COUNT(*) AS k0, -AVG(cost) AS cell FROM visits GROUP BY kind ORDER BY kind DESC",
    "SELECT AVG(CASE WHEN kind = 'test' THEN cost END), SUM(CASE WHEN kind = 'test' THEN cost END) FROM visits",
    "SELECT COUNT(DISTINCT kind), COUNT(DISTINCT age), COUNT(DISTINCT hospital), COUNT(DISTINCT visit_date), COUNT(DISTINCT province) FROM visits",
    "SELECT sex, COUNT(DISTINCT kind) FILTER (WHERE cost > 990) AS n, APPROX_COUNT_DISTINCT(age // 10), COUNT(DISTINCT cost > 500) FROM visits GROUP BY sex HAVING n > 1 ORDER BY n",
    "SELECT kind, COUNT(DISTINCT CASE WHEN cost > 900 THEN 'a' WHEN age > 99 THEN 'b' END), COUNT(DISTINCT h.city), COUNT(DISTINCT DATE_TRUNC('month', visit_date)) FROM visits JOIN hospitals h USING (hospital) GROUP BY kind",
    "SELECT sex, kind, COUNT(DISTINCT hospital), HISTOGRAM(hospital), COUNT(*) FROM visits GROUP BY CUBE (sex, kind)",
    "SELECT HISTOGRAM(kind), HISTOGRAM(age // 20), HISTOGRAM(visit_date), HISTOGRAM(sex = 'F') FROM visits WHERE age BETWEEN 30 AND 50",
    "SELECT sex, HISTOGRAM(age, [60, 20, 100]), HISTOGRAM(cost, [10.5, 40, 600]), HISTOGRAM(visit_date, ['2023-06-01', DATE '2024-12-31']) FROM visits GROUP BY sex",
    "SELECT HISTOGRAM(kind) FILTER (WHERE age > 1000), MODE(kind) FILTER (WHERE age > 1000), HISTOGRAM(age, [1, 2, 100]) FILTER (WHERE age > 1000) FROM visits",
    "SELECT HISTOGRAM(kind)['test'], CARDINALITY(HISTOGRAM(age)), HISTOGRAM(age)[30] / COUNT(*) AS share, MAP_KEYS(HISTOGRAM(sex))[1], LEN(MAP_VALUES(HISTOGRAM(kind))) FROM visits",
    "SELECT MODE(hospital), MODE() WITHIN GROUP (ORDER BY age), MODE(sex = 'F'), MODE(visit_date), MODE(province) FROM visits",
    "SELECT home_province, HISTOGRAM(insured) AS h, COUNT(DISTINCT birth_year) AS n, MODE(insured) AS m FROM residents GROUP BY ALL HAVING n > 3 AND h[true] > 0 ORDER BY m, home_province",
    "SELECT decade, COUNT(DISTINCT sex), HISTOGRAM(2 * decade) FROM (SELECT person_id, sex, birth_year // 10 AS decade FROM residents WHERE insured) AS p GROUP BY decade",
    "SELECT FLOOR(cost / 500) AS band, HISTOGRAM(kind), COUNT(DISTINCT hospital), MODE(sex) FROM visits GROUP BY band",
    "SELECT COUNT(DISTINCT h.level), HISTOGRAM(h.level) FROM visits v LEFT JOIN hospitals h ON v.hospital = h.hospital AND h.city = 'hefei'",
    "SELECT sex, QUANTILE_CONT(age, [0.25, 0.5, 0.75]), PERCENTILE_DISC([0.1, 0.2]) WITHIN GROUP (ORDER BY age) FROM visits GROUP BY ROLLUP (sex)",
    "SELECT QUANTILE(age, [0.1, 0.9])[2] - APPROX_QUANTILE(age, [0.1])[1] FROM visits",
    "SELECT UNNEST(QUANTILE_CONT(age, [0.25, 0.5, 0.75])) AS q FROM visits",
    "SELECT UNNEST(MAP_KEYS(h)) AS k, UNNEST(MAP_VALUES(h)) AS n FROM (SELECT HISTOGRAM(kind) AS h FROM visits) AS t",
    "SELECT CARDINALITY(h) AS c, h['test'] AS t, m FROM (SELECT sex, HISTOGRAM(kind) AS h, MODE(sex) AS m FROM visits GROUP BY sex) AS t",
    "SELECT a.m, b.h, a.d FROM (SELECT MODE(hospital) AS m, COUNT(DISTINCT kind) AS d FROM visits) AS a, (SELECT HISTOGRAM(sex) AS h FROM residents) AS b",
]


@pytest.mark.parametrize("sql", QUERIES)
def test_equals_plain_duckdb(rich: weir.Connection, union: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert_same_answer(rich.sql(sql, epsilon=1e6), union.sql(sql).df(), sql)


BINS = {"age": 1.0, "cost": 1.0, "birth_year": 1.0}


@pytest.mark.parametrize("column", BINS)
@pytest.mark.parametrize("keys", ["", "sex", "province"])
def test_quantiles_are_exact_to_a_bin(
    rich: weir.Connection, union: duckdb.DuckDBPyConnection, column: str, keys: str
) -> None:
    table = "residents" if column == "birth_year" else "visits"
    asked = f"MEDIAN({column}), QUANTILE_CONT({column}, 0.9), QUANTILE_DISC({column}, 0.1), MIN({column}), MAX({column}), COUNT(*)"
    sql = (
        f"SELECT {keys}{',' if keys else ''} {asked} FROM {table} {f'GROUP BY {keys} ORDER BY {keys}' if keys else ''}"
    )
    answer, plain = rich.sql(sql, epsilon=1e6), union.sql(sql).df()
    numbers = answer.df().select_dtypes("number").to_numpy()
    assert abs(numbers - plain.select_dtypes("number").to_numpy()).max() <= BINS[column]
    assert any("bins of width 1" in note for note in answer.notes)


def test_limits_bound_what_a_person_adds(rich: weir.Connection, union: duckdb.DuckDBPyConnection) -> None:
    """With max_rows = 2 the answer is the bounded one, computed here by hand over each node.

    A sum beside the count of its rows is scaled down as that is; alone it is clipped.
    """
    answer = rich.sql("SELECT kind, COUNT(*), SUM(cost) FROM visits GROUP BY kind", epsilon=1e6, max_rows=2)
    each = "SELECT province, person_id, kind, COUNT(*) AS n, SUM(cost) AS s FROM visits GROUP BY ALL"
    bounded = union.sql(
        f"SELECT kind, SUM(LEAST(n, 2))::BIGINT AS n, SUM(s * LEAST(n, 2) / n) AS s FROM ({each}) t GROUP BY kind"
    ).df()
    assert_same_answer(answer, bounded, "SELECT 1")
    alone = rich.sql("SELECT kind, SUM(cost) FROM visits GROUP BY kind", epsilon=1e6, max_rows=2)
    clipped = union.sql(f"SELECT kind, SUM(LEAST(s, 2000)) AS s FROM ({each}) t GROUP BY kind").df()
    assert_same_answer(alone, clipped, "SELECT 1")
    assert any("at most 2 rows" in note for note in answer.notes)


@pytest.mark.parametrize(
    ("table", "one", "two", "groups"),
    [
        ("visits", "province", "kind", 20),
        ("visits", "hospital", "age", 2020),
        ("residents", "province", "birth_year", 360),
    ],
)
def test_levels_agree_exactly_under_noise(rich: weir.Connection, table: str, one: str, two: str, groups: int) -> None:
    number = "age" if table == "visits" else "birth_year"
    sql = f"SELECT {one}, {two}, COUNT(*) AS n, SUM({number}) AS s FROM {table} GROUP BY CUBE ({one}, {two})"
    frame = rich.sql(sql, epsilon=0.1).df()
    cells = frame.dropna()
    assert len(cells) == groups
    for key, other in ((one, two), (two, one)):
        level = frame[frame[key].notna() & frame[other].isna()].set_index(key)
        sums = cells.groupby(key)[["n", "s"]].sum()
        assert (level.loc[sums.index, ["n", "s"]] == sums).all().all()
    total = frame[frame[one].isna() & frame[two].isna()][["n", "s"]]
    assert (total.iloc[0] == cells[["n", "s"]].sum()).all()


def test_levels_of_what_was_released_are_free(rich: weir.Connection) -> None:
    sql = "SELECT sex, kind, COUNT(*) AS n FROM visits GROUP BY {}"
    finest = rich.sql(sql.format("sex, kind"), epsilon=0.2)
    before = [budget.epsilon_spent for budget in rich.budget().nodes]
    rolled_up = rich.sql(sql.format("ROLLUP (sex, kind)"), epsilon=0.2).df()
    assert [budget.epsilon_spent for budget in rich.budget().nodes] == before
    assert rolled_up.dropna()["n"].tolist() == finest.df()["n"].tolist()
