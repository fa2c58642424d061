"""Bins of single values and of ranges: public, total, and those of DuckDB."""

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp, parse_one

from privacy.bins import range_bins
from privacy.expressions import Facts, Reader, Reading
from tests.privacy.corpus_planner import plan


def _only(sql: str) -> tuple[pa.Array, str]:
    """The values of the only histogram, and the input that numbers them, at a node."""
    block = plan(sql).blocks[0]
    [column] = [one for one in block.read_off if one.asked in ("distinct", "mode", "counts")]
    return column.values, block.fragments["anhui"].relation


@pytest.mark.parametrize(
    ("x", "values"),
    [
        ("sex", ["F", "M"]),
        ("kind = 'test'", [False, True]),
        ("age // 50", [0, 1, 2]),
        ("CASE WHEN cost > 1 THEN 'b' WHEN age > 3 THEN NULL ELSE 'a' END", ["a", "b"]),
        ("NULLIF(sex, 'F')", ["M"]),
        ("province", ["anhui", "jiangsu", "shanghai", "zhejiang"]),
        ("YEAR(visit_date)", [2023, 2024]),
        ("CASE WHEN cost > 1 THEN 0.5 ELSE -2 END", [-2.0, 0.5]),
    ],
)
def test_values_come_from_the_catalog(x: str, values: list[object]) -> None:
    assert _only(f"SELECT MODE({x}) FROM visits")[0].to_pylist() == values


def test_where_leaves_fewer_values() -> None:
    values, relation = _only("SELECT COUNT(DISTINCT age) FROM visits WHERE age BETWEEN 20 AND 29")
    assert values.to_pylist() == list(range(20, 30))
    assert "CASE" in relation


def test_steps_are_numbered_and_not_compared_one_by_one() -> None:
    for x in ("age", "visit_date"):
        values, relation = _only(f"SELECT COUNT(DISTINCT {x}) FROM visits")
        assert len(values) in (101, 731)
        assert relation.count("WHEN") == 2


def test_a_row_is_in_one_bin_of_one_level() -> None:
    [fragment, *_] = (
        plan("SELECT COUNT(DISTINCT age), HISTOGRAM(age), MODE(age) FROM visits").blocks[0].fragments.values()
    )
    [measure] = fragment.measures  # all three are read off one histogram
    assert measure.tree is not None
    assert measure.tree.levels == (101,)
    assert measure.sensitivity == fragment.bounding.max_rows * fragment.bounding.max_groups
    assert measure.sensitivity_l2 == pytest.approx(fragment.bounding.max_rows)


def test_quantiles_keep_a_tree_of_their_own() -> None:
    [fragment, *_] = plan("SELECT COUNT(DISTINCT age), MEDIAN(age) FROM visits").blocks[0].fragments.values()
    flat, tree = fragment.measures
    assert flat.tree is not None
    assert tree.tree is not None
    assert (len(flat.tree.levels), len(tree.tree.levels)) == (1, 2)


def test_the_answer_says_which_values_may_be_missed() -> None:
    [note] = [note for note in plan("SELECT COUNT(DISTINCT kind) FROM visits").notes if "may miss" in note]
    assert note.startswith("COUNT(DISTINCT …) may miss values with fewer than some ")
    assert not any("may miss" in note for note in plan("SELECT COUNT(DISTINCT kind) FROM visits", epsilon=1e6).notes)


NUMBERS = st.one_of(st.none(), st.integers(-20, 20).map(lambda n: n / 2))


@given(
    st.lists(NUMBERS, min_size=1, max_size=30),
    st.lists(st.integers(-9, 9).map(lambda n: n / 2), min_size=1, max_size=5),
)
@settings(max_examples=80, deadline=None)
def test_ranges_are_those_of_duckdb(rows: list[float | None], ends: list[float]) -> None:
    """Each row is in the bin whose boundary DuckDB's histogram counts it under."""
    facts = Facts("DOUBLE", nullable=True)
    reader = Reader(lambda column: Reading(column, facts))
    boundaries = exp.Array(expressions=[parse_one(f"CAST({end} AS DOUBLE)") for end in ends])
    bins = range_bins(exp.column("x"), boundaries, reader)
    table = pa.table({"x": pa.array(rows, pa.float64())})
    with duckdb.connect() as connection:
        connection.register("t", table)
        leaf = bins.leaf.sql(dialect="duckdb")
        found = dict(
            connection.sql(f"SELECT {leaf} AS leaf, COUNT(*) FROM t WHERE x IS NOT NULL GROUP BY leaf").fetchall()
        )
        [(wanted,)] = connection.sql(f"SELECT HISTOGRAM(x, {ends}) FROM t").fetchall()
    counted = {value: found.get(place, 0) for place, value in enumerate(bins.values.to_pylist())}
    shown = {value: count for place, (value, count) in enumerate(counted.items()) if count or place < bins.boundaries}
    assert (shown if found else None) == wanted


def test_no_bin_lies_above_all_that_there_can_be() -> None:
    up_to, beyond = (
        plan(f"SELECT HISTOGRAM(age, [50, {end}]) FROM visits").blocks[0].read_off[0].values.to_pylist()
        for end in (100, 99)
    )
    assert up_to == [50, 100]
    assert beyond == [50, 99, 2**63 - 1]
