"""Files with the worst that one person's rows can hold, in every local type that a column may have: whatever it is, the
node behaves alike with and without that person, and the person's share stays within what is declared."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from privacy.errors import DataError
from tests.attacks.local_node import local_node, opened, write_node
from tests.attacks.neighbours import Neighbours, neighbours

CATALOG = """
[region]
name = "Hostile"
version = "1"
description = { en = "One province", zh = "一省" }
provinces = ["east"]

[tables.visits]
access = "private"
description = { en = "Visits", zh = "就诊" }
unit = "person"
unit_column = "person_id"
span = 1
max_rows = 3
max_groups = 2

[tables.visits.columns]
person_id = { type = "BIGINT", description = { en = "Person", zh = "人员" } }
age = { type = "INTEGER", bounds = [0, 100], description = { en = "Age", zh = "年龄" } }
cost = { type = "DOUBLE", bounds = [0, 1000], grid = 0.01, description = { en = "Cost", zh = "费用" } }
amount = { type = "BIGINT", nullable = true, description = { en = "No bounds", zh = "无界" } }
wild = { type = "DOUBLE", nullable = true, description = { en = "No bounds", zh = "无界" } }
day = { type = "DATE", range = [2023-01-01, 2024-12-31], description = { en = "Day", zh = "日期" } }
any_day = { type = "DATE", nullable = true, description = { en = "Any day", zh = "任意日期" } }
kind = { type = "VARCHAR", values = ["a", "b", "c", "d"], description = { en = "Kind", zh = "类别" } }
note = { type = "VARCHAR", nullable = true, description = { en = "Free text", zh = "备注" } }
flag = { type = "BOOLEAN", nullable = true, description = { en = "Flag", zh = "旗" } }
"""
QUERIES = [
    "SELECT COUNT(*), COUNT(cost), COUNT(amount), COUNT(note), COUNT(flag) FROM visits",
    "SELECT SUM(age), AVG(age), SUM(cost), AVG(cost), VAR_POP(cost) FROM visits",
    "SELECT kind, COUNT(*), SUM(cost), AVG(age) FROM visits GROUP BY kind",
    "SELECT flag, COUNT(*) FROM visits GROUP BY flag",
    "SELECT DATE_TRUNC('month', day) AS m, COUNT(*), SUM(-cost) FROM visits GROUP BY m",
    "SELECT COUNT(*) FROM visits WHERE EXTRACT(isodow FROM any_day) < 3 AND MONTH(any_day) <> 2",
    "SELECT COUNT(*) FROM visits WHERE DATE_TRUNC('week', any_day) >= DATE '2023-01-01'",
    "SELECT COUNT(*) FROM visits WHERE any_day < day AND YEAR(any_day) > 5",
    "SELECT SUM(CLAMP(amount * amount, 0, 5)), SUM(CLAMP(-amount, -5, 5)), SUM(CLAMP(ABS(amount), 0, 5)) FROM visits",
    "SELECT SUM(CLAMP(wild * wild, 0, 5)), AVG(CLAMP(wild - amount, -1, 1)), COUNT(*) FILTER (WHERE wild > 0) FROM visits",
    "SELECT AVG(CLAMP(wild / (age - 30), -9, 9)), SUM(1 / (1 + age)), MEDIAN(age // 20) FROM visits",
    "SELECT AVG(LEAST(age, cost)), SUM(GREATEST(age, 50)), SUM(ROUND(cost) - FLOOR(cost)) FROM visits",
    "SELECT COUNT(*) FROM visits WHERE UPPER(note) LIKE '%X%' OR LOWER(note) = 'x' OR note || amount = 'x1'",
    "SELECT cost > age AS k, COUNT(*), AVG(LN(1 + cost)) FROM visits GROUP BY k",
    "SELECT CORR(cost, age), REGR_SLOPE(cost, age) FROM visits",
    "SELECT COUNT(DISTINCT age), COUNT(DISTINCT kind), HISTOGRAM(flag), MODE(day), HISTOGRAM(note = 'x') FROM visits",
    "SELECT kind, HISTOGRAM(wild, [-1, 0, 1e300]), HISTOGRAM(amount, [-5, 0]), HISTOGRAM(any_day, ['2000-01-01']) FROM visits GROUP BY kind",
    "SELECT HISTOGRAM(wild / amount, [0.5]), COUNT(DISTINCT DATE_TRUNC('month', day)), MODE(amount > wild) FROM visits",
    # keys that nobody can list
    "SELECT note, COUNT(*), SUM(cost) FROM visits GROUP BY note",
    "SELECT amount, any_day, COUNT(*) FROM visits GROUP BY amount, any_day",
    "SELECT wild, AVG(age) FROM visits GROUP BY wild",
    "SELECT cost / (age - 30) AS k, COUNT(*), MEDIAN(age // 20) FROM visits GROUP BY k",
    "SELECT UPPER(note) || kind AS k, DATE_TRUNC('week', any_day) AS w, COUNT(*) FROM visits GROUP BY k, w",
    # rows of one person, aggregated, ranked and compared before
    (
        "SELECT n, COUNT(*), SUM(s), AVG(m), SUM(CLAMP(a, -9, 9)) FROM (SELECT person_id, COUNT(amount) AS n, SUM(cost) AS s, "
        "AVG(cost - age) AS m, MAX(amount) AS a, MIN(wild) AS w FROM visits GROUP BY person_id HAVING COUNT(*) > 1) s GROUP BY n"
    ),
    (
        "SELECT a, b, COUNT(*), SUM(CLAMP(wild, 0, 5)) FROM (SELECT kind AS a, wild, LAG(flag) OVER (PARTITION BY person_id "
        "ORDER BY wild, any_day) AS b FROM visits QUALIFY ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY note) < 3) s GROUP BY a, b"
    ),
    (
        "SELECT COUNT(*), COUNT(DISTINCT a.person_id), SUM(a.cost - b.cost), MEDIAN(b.age) FROM visits a LEFT JOIN visits b "
        "ON a.person_id = b.person_id AND a.amount < b.amount AND a.wild <> b.wild"
    ),
    (
        "SELECT m, COUNT(*) FROM (SELECT DISTINCT person_id, note || kind AS m FROM visits v WHERE EXISTS (SELECT 1 FROM visits w "
        "WHERE w.person_id = v.person_id AND w.any_day > v.any_day)) s GROUP BY m"
    ),
    (
        "SELECT COUNT(*), SUM(x) FROM (SELECT person_id, cost AS x FROM visits UNION ALL SELECT person_id, amount // 7 % 5 FROM "
        "(SELECT person_id, CLAMP(amount, -50, 50) AS amount FROM visits) t) s"
    ),
]
TARGET, OTHERS = 42, (1, 2, 3)
Row = dict[str, Any]


def _sound(person: Any) -> Row:
    return {
        "person_id": person,
        "age": 40,
        "cost": 12.5,
        "amount": 3,
        "wild": 0.5,
        "day": dt.date(2023, 5, 6),
        "any_day": dt.date(2001, 1, 1),
        "kind": "a",
        "note": "fine",
        "flag": True,
    }


SCHEMA = {
    "person_id": pa.int64(),
    "age": pa.int32(),
    "cost": pa.float64(),
    "amount": pa.int64(),
    "wild": pa.float64(),
    "day": pa.date32(),
    "any_day": pa.date32(),
    "kind": pa.string(),
    "note": pa.string(),
    "flag": pa.bool_(),
}
FLOATS = [
    float("nan"),
    float("inf"),
    float("-inf"),
    1.7976931348623157e308,
    -1.7976931348623157e308,
    5e-324,
    -0.0,
    0.0,
    None,
]
TEXTS = [
    *(
        "",
        " ",
        "nan",
        "-nan",
        "inf",
        "-Infinity",
        "1e308",
        "-1e999",
        "1e-400",
        "0x10",
        "1_000",
        "٣",
        "１２",
        "12,5",
        "--1",
        "9" * 400,
    ),
    *(
        "2023-02-30",
        "0000-00-00",
        "infinity",
        "-infinity",
        "5000000-01-01",
        "2023-05-06 (BC)",
        "true",
        "T",
        "\x00",
        "𝄞" * 500,
        None,
    ),
]
LONGS = [2**63 - 1, -(2**63), 0, -1, 2**31, -(2**31) - 1, None]
DAYS = pa.array([2**31 - 1, -(2**31) + 1, 2**31 - 2, -(2**31) + 2, 0, -719162, 2932896, None], pa.int32()).cast(
    pa.date32()
)
DECIMAL = pa.decimal128(38, 10)

# Text that is no value of a column that must not be NULL forbids serving; these are values, or NULL.
WORST_NUMBERS = ["inf", "-Infinity", "1e308", "-1e999", "1e-400", "nan", "0.005", None]
WORST_DAYS = ["infinity", "-infinity", "5000000-01-01", "2023-05-06 (BC)", "2023-05-06", None]

# By column: local types, and the worst values of each.
HOSTILE: dict[str, list[tuple[pa.DataType, list[Any] | pa.Array]]] = {
    "age": [
        (pa.int32(), [2**31 - 1, -(2**31), 101, -1, 30, None]),
        (pa.int64(), LONGS),
        (pa.uint64(), [2**64 - 1, 2**63, 101, 0, None]),
        (pa.int8(), [-128, 127, None]),
        (pa.float64(), [*FLOATS, 30.5, 1e19, -1e19]),
        (pa.float32(), [float("nan"), float("inf"), 3e38, 30.0]),
        (DECIMAL, [Decimal("1e27"), Decimal("-1e27"), Decimal("30.5"), None]),
        (pa.string(), WORST_NUMBERS),
        (pa.bool_(), [True, False, None]),
    ],
    "cost": [
        (pa.float64(), [*FLOATS, 1000.0000001, 0.005]),
        (pa.float32(), [float("nan"), float("-inf"), 3e38, 1e-45]),
        (pa.int64(), LONGS),
        (DECIMAL, [Decimal("1e27"), Decimal("-1e27"), Decimal("0.0000000001"), None]),
        (pa.string(), WORST_NUMBERS),
    ],
    "amount": [
        (pa.int64(), LONGS),
        (pa.uint64(), [2**64 - 1, 2**63, 0]),
        (pa.string(), TEXTS),
        (pa.float64(), FLOATS),
    ],
    "wild": [(pa.float64(), FLOATS), (pa.string(), TEXTS)],
    "day": [
        (pa.date32(), DAYS),
        (pa.timestamp("us"), pa.array([2**63 - 1, -(2**63) + 2, 0, None], pa.int64()).cast(pa.timestamp("us"))),
        (pa.string(), WORST_DAYS),
    ],
    "any_day": [
        (pa.date32(), DAYS),
        (pa.timestamp("s"), pa.array([2**33, -(2**40), 0, None], pa.int64()).cast(pa.timestamp("s"))),
        (pa.string(), [*TEXTS, *WORST_DAYS]),
    ],
    "kind": [(pa.string(), ["a", "b", "c", "d"]), (pa.string(), [*TEXTS, "A", "a ", "a\x00", "e", "d"])],
    "note": [(pa.string(), [*TEXTS, "x" * 100_000, "ß", "İ", "\ufeffx"])],
    "flag": [
        (pa.bool_(), [True, False, None]),
        (pa.int32(), [2**31 - 1, -1, 0, None]),
        (pa.string(), TEXTS),
    ],
}
ROUNDS = max(map(len, HOSTILE.values()))
ROWS = 130  # of the person; values of one column meet those of others in turn


def _table(rows: list[Row], schema: dict[str, pa.DataType]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=pa.schema(list(schema.items())))


def _with_column(rows: pa.Table, column: str, values: pa.Array) -> pa.Table:
    return rows.set_column(rows.column_names.index(column), column, values)


def hostile_pair(number: int) -> tuple[pa.Table, pa.Table]:
    """With and without a person whose values are the worst of round `number`'s types; the others are sound."""
    others, theirs = _table([_sound(person) for person in OTHERS], SCHEMA), _table([_sound(TARGET)] * ROWS, SCHEMA)
    for place, (column, variants) in enumerate(HOSTILE.items()):
        kind, worst = variants[number % len(variants)]
        values = worst if isinstance(worst, pa.Array) else pa.array(worst, kind)
        turn = [(row * (2 * place + 1) + row // len(values)) % len(values) for row in range(ROWS)]
        theirs = _with_column(theirs, column, values.take(pa.array(turn)))
        sound = pa.array([_sound(1)[column]], SCHEMA[column]).cast(kind, safe=False)
        others = _with_column(others, column, pa.concat_arrays([sound] * len(OTHERS)))
    return pa.concat_tables([others, theirs]), others


def assert_all_bounded(pair: Neighbours) -> None:
    """Of every query the exact statistics; the whole way of one, because what follows them sees no value."""
    assert pair.assert_bounded(QUERIES[2])
    for sql in QUERIES:
        assert pair.assert_bounded(sql, release=False), sql


@pytest.mark.parametrize("number", range(ROUNDS))
def test_hostile_values(tmp_path: Path, number: int) -> None:
    present, absent = hostile_pair(number)
    with neighbours(tmp_path, CATALOG, {"visits": present}, {"visits": absent}, province="east") as pair:
        assert_all_bounded(pair)


IDENTIFIERS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "BIGINT": (pa.int64(), [2**63 - 1, -(2**63), 0, -1, None]),
    "UBIGINT": (pa.uint64(), [2**64 - 1, 2**63, 0, None]),
    "VARCHAR": (pa.string(), ["", "-42", "1e308", "0x10", "٣", "9" * 400, None]),
}


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_strange_identifiers_are_people_of_their_own_or_nobody(tmp_path: Path, name: str) -> None:
    """Rows of one strange identifier more or less; without an identifier they are not there at all."""
    kind, identifiers = IDENTIFIERS[name]
    plain = pa.array(list(OTHERS), pa.int64()).cast(kind)
    others = _with_column(_table([_sound(1)] * 3, SCHEMA), "person_id", plain)
    for number, identifier in enumerate(identifiers):
        heavy = [_sound(1) | {"cost": 1e6, "kind": "abcd"[place % 4]} for place in range(40)]
        theirs = _with_column(_table(heavy, SCHEMA), "person_id", pa.array([identifier] * 40, kind))
        present = pa.concat_tables([others, theirs])
        with neighbours(
            tmp_path / str(number), CATALOG, {"visits": present}, {"visits": others}, province="east"
        ) as pair:
            for sql in QUERIES[:4]:
                assert pair.assert_bounded(sql, release=False), (identifier, sql)


def test_text_that_is_no_integer_makes_no_two_people_one(tmp_path: Path) -> None:
    """A cast would round '7.4' to 7: two people would share one person's bounds, and one of them could use up both."""
    texts = ["7", " 7 ", "+7", "007", "7.4", "6.6", "7e0", "0x7", "７", "7a", "", None]
    rows = _with_column(_table([_sound(1)] * len(texts), SCHEMA), "person_id", pa.array(texts))
    with local_node(tmp_path, CATALOG, {"visits": rows}, province="east") as node:
        found = node.engine.run("SELECT person_id, count(*) AS n FROM visits GROUP BY person_id").to_pylist()
    assert found == [{"person_id": 7, "n": 4}]


SIZES: dict[str, tuple[Callable[[], list[Row]], Callable[[], list[Row]]]] = {
    "one person or nobody": (lambda: [_sound(TARGET)] * 5, list),
    "one heavy person or nobody": (
        lambda: [
            _sound(TARGET) | {"kind": "abcd"[n % 4], "cost": 1e9, "flag": [True, False, None][n % 3]} for n in range(60)
        ],
        list,
    ),
    "a huge group": (
        lambda: [*(_sound(person) for person in OTHERS), *([_sound(TARGET) | {"cost": -1e9}] * 50_000)],
        lambda: [_sound(person) for person in OTHERS],
    ),
    "every group": (
        lambda: [
            *(_sound(person) for person in OTHERS),
            *(
                _sound(TARGET) | {"day": dt.date(2023, 1, 1) + dt.timedelta(days=n), "kind": "abcd"[n % 4], "age": 100}
                for n in range(731)
                for _ in range(5)
            ),
        ],
        lambda: [_sound(person) for person in OTHERS],
    ),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes(tmp_path: Path, name: str) -> None:
    present, absent = (_table(rows(), SCHEMA) for rows in SIZES[name])
    with neighbours(tmp_path, CATALOG, {"visits": present}, {"visits": absent}, province="east") as pair:
        assert_all_bounded(pair)
        for sql in QUERIES:
            assert pair.assert_bounded(sql, release=False, max_rows=1, max_groups=1), sql


CSV = (
    "person_id,age,cost,amount,wild,day,any_day,kind,note,flag\n"
    + "".join(f"{person},40,12.5,3,0.5,2023-05-06,2001-01-01,a,fine,true\n" for person in OTHERS)
).encode()
HOSTILE_LINES = (
    "42,1e308,inf,9223372036854775808,nan,2023-05-06,9999999-01-01,b,\"two\nlines, and \"\"quotes\"\"\",maybe\n"
    "42,-1e308,nan,-,1e999,2024-12-31,infinity,zzz,;--,1\n"
    "42,1e-400,1e-400,1e400,-inf,1000-01-01,,d,,\n"
) * 7  # fmt: skip


def test_hostile_lines_of_csv(tmp_path: Path) -> None:
    present = CSV + HOSTILE_LINES.encode()
    with neighbours(tmp_path, CATALOG, {"visits": present}, {"visits": CSV}, province="east") as pair:
        assert_all_bounded(pair)


def _broken_files() -> Iterator[tuple[str, pa.Table | bytes]]:
    text = pa.array([b"a", b"\xff\xfe CANARY", b"z"] * 40, pa.binary())
    invalid = pa.Array.from_buffers(pa.string(), len(text), text.buffers())
    sound = _table([_sound(person) for person in range(120)], SCHEMA)
    yield "bytes that are no text", _with_column(sound, "note", invalid)
    yield "CSV that is no text", CSV + b"42,1,1,1,1,2023-05-06,,a,\xff\xfe CANARY,true\n"
    yield "CSV with a field too many", CSV + b"42,1,1,1,1,2023-05-06,,a,CANARY,true,5\n"
    yield "CSV with a quote left open", CSV + b'42,1,1,1,1,2023-05-06,,a,"CANARY,true\n'
    yield "text in a number", _with_column(sound, "age", pa.array(["CANARY"] * 120))


@pytest.mark.parametrize(("name", "rows"), list(_broken_files()), ids=[name for name, _ in _broken_files()])
def test_what_an_engine_would_fail_on_is_found_before_anything_is_served(
    tmp_path: Path, name: str, rows: pa.Table | bytes
) -> None:
    """Otherwise the queries that meet the bad row would fail, and no others: an answer to who is in them."""
    config = write_node(tmp_path, CATALOG, {"visits": rows}, province="east")
    with pytest.raises(DataError) as caught, opened(config):
        raise AssertionError(name)
    assert "CANARY" not in str(caught.value)
