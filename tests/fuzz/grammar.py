"""Queries as researchers write them, put together at random: hypothesis strategies of SQL text over the corpus tables.

What DuckDB and weir compute differently on purpose is left out: divisions, ties that a LIMIT or a ROW_NUMBER cuts, and
quantiles, which have a test of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

Sql = st.SearchStrategy[str]


@dataclass(frozen=True)
class Rows:
    """What FROM may read.

    Attributes:
        sql: the text after FROM, with its WHERE.
        numbers, keys: expressions over its columns.
        unit: its column of the person.
    """

    sql: str
    numbers: tuple[str, ...]
    keys: tuple[str, ...]
    unit: str


_VISITS = (
    (
        "age",
        "cost",
        "cost * 2 - age",
        "GREATEST(age, 40)",
        "CASE WHEN sex = 'F' THEN cost ELSE 0 END",
        "COALESCE(age, 0)",
        "POWER(age, 2)",
        "LN(cost + 1)",
        "SIGN(cost - 500)",
        "ROUND(cost, -2)",
        "DATE '2024-12-31' - visit_date",
        "DATE_PART('month', visit_date + INTERVAL 15 DAY)",
        "STRPOS(kind, 'p')",
        "GREATEST(LEAST(RIGHT(hospital, 2)::INTEGER, 9), 0)",
    ),
    (
        "kind",
        "sex",
        "age // 20",
        "YEAR(visit_date)",
        "kind = 'test'",
        "CASE WHEN age > 60 THEN 'old' ELSE kind END",
        "province",
        "CONCAT(sex, '/', age // 30)",
        "REPLACE(kind, 'patient', '')",
        "STRFTIME(visit_date, '%Y-%m')",
        "FLOOR(cost / 250)",
        "ROUND(cost / 300)::INTEGER",
        "REGEXP_EXTRACT(hospital, '[A-Z]+')",
        "hospital[1:2]",
        "LPAD(MONTH(visit_date)::VARCHAR, 2, '0')",
        "(DATE_TRUNC('quarter', visit_date) - INTERVAL 1 MONTH)::VARCHAR",
    ),
)


def queries() -> Sql:
    """A whole query."""
    return st.one_of(_blocks(), _blocks(), _blocks(), _around())


def _visits_conditions(prefix: str = "") -> Sql:
    column = prefix
    simple = st.one_of(
        st.tuples(st.sampled_from(["<", ">=", "<>", "="]), st.integers(0, 100)).map(
            lambda t: f"{column}age {t[0]} {t[1]}"
        ),
        st.integers(0, 1000).map(lambda cost: f"{column}cost > {cost}"),
        st.sampled_from(["outpatient", "test", "checkup"]).map(lambda kind: f"{column}kind = '{kind}'"),
        st.sampled_from(["kind IN ('test', 'checkup')", "kind NOT IN ('test')", "kind LIKE '%patient'"]).map(
            column.__add__
        ),
        st.sampled_from(["visit_date >= DATE '2024-03-01'", "visit_date BETWEEN '2023-06-01' AND '2024-02-28'"]).map(
            column.__add__
        ),
        st.just(f"{column}sex = 'F'"),
        st.just(f"{column}hospital ~ '^(SH|AH)0[1-3]$'"),
        st.just(f"{column}visit_date + 30 < DATE '2024-03-01'"),
        st.just(f"({column}kind, {column}sex) IN (('test', 'F'), ('inpatient', 'M'))"),
        st.just(f"YEAR({column}visit_date) = '2024'"),
        st.just(f"{column}hospital GLOB 'SH*'"),
        st.just(f"{column}age IS NOT NULL"),
    )
    joined = st.tuples(simple, st.sampled_from(["AND", "OR"]), simple).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
    return st.one_of(simple, simple, joined, simple.map(lambda text: f"NOT ({text})"))


def _memberships() -> Sql:
    inner = st.one_of(
        st.just("SELECT person_id FROM residents"),
        st.just("SELECT person_id FROM residents WHERE insured"),
        _visits_conditions().map(lambda test: f"SELECT person_id FROM visits WHERE {test}"),
    )
    return st.tuples(st.sampled_from(["", "NOT "]), inner).map(lambda t: f"person_id {t[0]}IN ({t[1]})")


def _where(tests: Sql) -> Sql:
    return st.one_of(st.just(""), tests.map(lambda test: f" WHERE {test}"))


def _rows() -> st.SearchStrategy[Rows]:
    numbers, keys = _VISITS
    plain = _where(st.one_of(_visits_conditions(), _memberships())).map(
        lambda where: Rows(f"visits{where}", numbers, keys, "person_id")
    )
    residents = _where(st.sampled_from(["insured", "birth_year < 1970", "sex = 'M' AND NOT insured"])).map(
        lambda where: Rows(
            f"residents{where}", ("birth_year", "2024 - birth_year"), ("sex", "insured", "home_province"), "person_id"
        )
    )
    hospitals = st.tuples(st.sampled_from(["JOIN", "LEFT JOIN"]), _where(_visits_conditions("v."))).map(
        lambda t: Rows(
            f"visits AS v {t[0]} hospitals AS h ON v.hospital = h.hospital{t[1]}",
            ("v.cost", "v.age", "h.level", "v.cost * h.level"),
            ("v.kind", "h.level", "h.city", "v.sex"),
            "v.person_id",
        )
    )
    persons = st.tuples(st.sampled_from(["JOIN", "LEFT JOIN"]), _where(_visits_conditions("v."))).map(
        lambda t: Rows(
            f"visits AS v {t[0]} residents AS r ON v.person_id = r.person_id{t[1]}",
            ("v.cost", "r.birth_year", "YEAR(v.visit_date) - r.birth_year"),
            ("v.kind", "r.insured", "r.sex", "r.insured IS NULL"),
            "v.person_id",
        )
    )
    nested = st.tuples(_visits_conditions(), _where(_visits_conditions())).map(
        lambda t: Rows(f"(SELECT * FROM visits WHERE {t[0]}) AS t{t[1]}", numbers, keys, "person_id")
    )
    per_person = st.tuples(
        _where(_visits_conditions()),
        st.one_of(st.just(""), st.integers(1, 4).map(lambda n: f" HAVING COUNT(*) >= {n}")),
        st.sampled_from(["", " WHERE n > 1", " WHERE top > 300 OR n = 1"]),
    ).map(
        lambda t: Rows(
            "(SELECT person_id, sex, COUNT(*) AS n, SUM(cost) AS total, MAX(cost) AS top, MIN(age) AS youngest, AVG(age) "
            f"AS mean FROM visits{t[0]} GROUP BY person_id, sex{t[1]}) AS p{t[2]}",
            ("n", "total", "top", "mean", "total - n"),
            ("sex", "n", "youngest // 10", "total > 1000", "CASE WHEN n > 2 THEN 'often' ELSE 'seldom' END"),
            "person_id",
        )
    )
    union = st.just(
        Rows(
            "(SELECT person_id, kind, age FROM visits UNION ALL SELECT person_id, 'resident', 2024 - birth_year "
            "FROM residents) AS u",
            ("age", "age * 2"),
            ("kind", "age > 50"),
            "person_id",
        )
    )
    distinct = st.just(Rows("(SELECT DISTINCT person_id, kind FROM visits) AS d", ("1",), ("kind",), "person_id"))
    ranked = st.sampled_from(["k", "k + 0"]).map(
        lambda k: Rows(
            "(SELECT *, RANK() OVER (PARTITION BY person_id ORDER BY visit_date, kind, cost, age, hospital) AS k, COUNT(*) "
            f"OVER (PARTITION BY person_id, kind) AS same FROM visits) AS w WHERE {k} <= 2",
            ("cost", "same"),
            ("kind", "same"),
            "person_id",
        )
    )
    return st.one_of(
        plain, plain, residents, hospitals, persons, nested, per_person, per_person, union, distinct, ranked
    )


def _aggregates(rows: Rows) -> Sql:
    number = st.sampled_from(rows.numbers)
    bare = st.one_of(
        st.just("COUNT(*)"),
        st.just(f"COUNT(DISTINCT {rows.unit})"),
        number.map(lambda x: f"COUNT({x})"),
        number.map(lambda x: f"SUM({x})"),
        number.map(lambda x: f"AVG({x})"),
        number.map(lambda x: f"COUNT_IF({x} > 30)"),
        number.map(lambda x: f"AVG({x}) * 2 + COUNT(*)"),
        st.sampled_from(rows.keys).map(lambda key: f"COUNT(DISTINCT {key})"),
        st.sampled_from(rows.keys).map(lambda key: f"CARDINALITY(HISTOGRAM({key}))"),
        # As DOUBLE: where DuckDB has a small type, like that of SIGN(x), it fails on 400.
        number.map(lambda x: f"HISTOGRAM(CAST({x} AS DOUBLE), [20, 400])[400]"),
        number.map(lambda x: f"MEAN({x})"),
        number.map(lambda x: f"REGR_COUNT({x}, {rows.numbers[0]})"),
    )
    filtered = st.tuples(st.sampled_from(["COUNT(*)", f"SUM({rows.numbers[0]})"]), number).map(
        lambda t: f"{t[0]} FILTER (WHERE {t[1]} > 20)"
    )
    return st.one_of(bare, bare, filtered)


def _blocks() -> Sql:
    return _rows().flatmap(_block)


def _block(rows: Rows) -> Sql:
    keys = st.lists(st.sampled_from(rows.keys), max_size=2, unique=True)
    values = st.lists(_aggregates(rows), min_size=1, max_size=3)
    return st.tuples(keys, values, st.booleans()).map(lambda t: _select(rows, *t))


def _select(rows: Rows, keys: list[str], values: list[str], rolled: bool) -> str:
    items = [f"{key} AS k{number}" for number, key in enumerate(keys)]
    items += [f"{value} AS v{number}" for number, value in enumerate(values)]
    group = ", ".join(str(number) for number in range(1, len(keys) + 1))
    # A key that may be NULL cannot be told from one that is rolled up.
    plain = "LEFT JOIN" not in rows.sql and not any(value.startswith("COUNT(DISTINCT") for value in values)
    if rolled and plain and len(keys) == 2:
        group = f"ROLLUP ({group})"
    return f"SELECT {', '.join(items)} FROM {rows.sql}" + (f" GROUP BY {group}" if keys else "")


_BY_KIND = "SELECT kind, COUNT(*) AS n, AVG(cost) AS c FROM visits{} GROUP BY kind"


def _around() -> Sql:
    """Queries over answers.

    Listed groups without rows, which DuckDB leaves out, are dropped where their value here is not 0.
    """
    block = _where(_visits_conditions()).map(_BY_KIND.format)
    over = st.sampled_from(
        [
            "SELECT SUM(n) AS a, AVG(c) AS b, MAX(n) AS m FROM ({}) AS t",
            "SELECT kind, n, n * 1.0 / SUM(n) OVER () AS share FROM ({}) AS t",
            "SELECT kind, SUM(n) OVER (ORDER BY kind) AS so_far FROM ({}) AS t WHERE n > 0.5 ORDER BY kind",
            "SELECT kind, SUM(n) OVER w AS so_far FROM ({}) AS t WHERE n > 0.5 WINDOW w AS (ORDER BY kind) ORDER BY ALL",
            "SELECT MAX(COLUMNS(* EXCLUDE (kind))) FROM ({}) AS t",
            "WITH t AS ({}) UNPIVOT t ON n, c INTO NAME what VALUE v",
            "SELECT w.label, t.n FROM ({}) AS t JOIN (VALUES ('test', 'T'), ('checkup', 'C')) AS w(kind, label) USING (kind)",
            "SELECT kind = 'test' AS test, SUM(n) AS n FROM ({}) AS t GROUP BY test",
            "SELECT kind, n - (SELECT COUNT(*) FROM residents) AS d FROM ({}) AS t WHERE n > 0.5",
            "WITH t AS ({}) SELECT a.kind, a.n + b.n AS twice FROM t AS a JOIN t AS b ON a.kind = b.kind",
            "SELECT kind, n FROM ({}) AS t UNION ALL SELECT 'residents', COUNT(*) FROM residents",
        ]
    )
    return st.tuples(over, block).map(lambda t: t[0].format(t[1]))
