"""Contribution bounding: a fragment → the SQL that a node's engine runs.

Neighbouring data sets differ by all the rows of one unit (add or remove). The forms, and why each is sound:

none
    The unit has at most B rows after the joins (`rows_per_unit` × join multiplicity), each within its bounds: the
    vector of sums changes by at most B × max(|low|, |high|) in L1. One aggregate scan.
clip
    Rows are summed per unit and group first; a count is clipped to `max_rows`, a sum to `max_rows` times the bounds of
    one row. A unit touches at most G groups, because there are only G, or because the key is fixed per unit:
    L1 ≤ G × max_rows × max(|low|, |high|).
clip_and_limit
    As `clip`, after keeping for each unit the `max_groups` groups of least keyed hash. What is kept depends on that
    unit's rows alone, so removing the unit changes nothing else. (Wilson et al. 2020, "Differentially Private SQL with
    Bounded User Contribution", §3.1, with a hash for the sample.)

Sums that belong to an average are scaled down rather than clipped when a unit has too many rows: Σ × max_rows / rows,
so that the unit keeps its own mean. |Σ| ≤ rows × max(|low|, |high|), hence the same bound.

Histograms (`tree` measures) count at most `max_rows` rows of one unit in a group, chosen by the keyed hash of the unit
and the bin, and at most `max_groups` groups: each row adds 1 to one node of each level.
"""

from __future__ import annotations

from privacy.fragment import Fragment, Measure


def bounded_sql(fragment: Fragment, *, secret: str) -> str:
    """SQL (DuckDB dialect) of the exact, bounded sums of each group that has rows: keys, then for each measure one
    integer, or a list of (leaf, n) of the bins that rows are in.

    Args:
        secret: hexadecimal; the node's own, so that nobody outside can aim at which groups are dropped.
    """
    keys = ", ".join(key.name for key in fragment.keys)
    sql = _sums_sql(fragment, keys, secret)
    trees = [measure for measure in fragment.measures if measure.kind == "tree"]
    if not trees:
        return sql
    joins = "".join(_joined(fragment, tree, _leaves_sql(fragment, tree, keys, secret)) for tree in trees)
    leaves = ", ".join(f"{tree.name}.leaves AS {tree.name}" for tree in trees)
    return f"SELECT s.*, {leaves} FROM ({sql}) AS s{joins}"


def _sums_sql(fragment: Fragment, keys: str, secret: str) -> str:
    """Counts and sums; where there are none, just the groups."""
    measures = _sums(fragment)
    if fragment.bounding.form == "none":
        sums = ", ".join(f"{_total(measure)} AS {measure.name}" for measure in measures) or _GROUP
        return f"SELECT {_listed(keys)}{sums} FROM ({fragment.relation}) AS r{_grouped(keys)}"
    per_unit = _per_unit(fragment, keys)
    if fragment.bounding.form == "clip_and_limit":
        # Ties of the hash fall back to the keys, so that the choice is the same each time.
        order = f"HASH(u, {keys}, '{secret}'), {keys}"
        limit = f"ROW_NUMBER() OVER (PARTITION BY u ORDER BY {order}) <= {fragment.bounding.max_groups}"
        per_unit = f"SELECT * FROM ({per_unit}) AS s QUALIFY {limit}"
    most = fragment.bounding.max_rows
    bounded = ", ".join(f"SUM({_bounded(measure, most)}) AS {measure.name}" for measure in measures) or _GROUP
    return f"SELECT {_listed(keys)}{bounded} FROM ({per_unit}) AS p{_grouped(keys)}"


def _leaves_sql(fragment: Fragment, tree: Measure, keys: str, secret: str) -> str:
    """One histogram: for each group a list of the bins with rows in them, and how many."""
    bounding = fragment.bounding
    rows = f"SELECT * FROM ({fragment.relation}) AS r WHERE {tree.input} IS NOT NULL"
    if bounding.form != "none":
        order = f"HASH(u, {tree.input}, '{secret}'), {tree.input}"
        limit = f"ROW_NUMBER() OVER (PARTITION BY u{_also(keys)} ORDER BY {order}) <= {bounding.max_rows}"
        if bounding.form == "clip_and_limit":
            order = f"HASH(u, {keys}, '{secret}'), {keys}"
            limit += f" AND DENSE_RANK() OVER (PARTITION BY u ORDER BY {order}) <= {bounding.max_groups}"
        rows = f"{rows} QUALIFY {limit}"
    bins = f"{_listed(keys)}{tree.input}"
    counted = f"SELECT {bins} AS leaf, COUNT(*) AS n FROM ({rows}) AS b GROUP BY {bins}"
    return f"SELECT {_listed(keys)}LIST({{'leaf': leaf, 'n': n}}) AS leaves FROM ({counted}) AS c{_grouped(keys)}"


def _joined(fragment: Fragment, tree: Measure, sql: str) -> str:
    tests = [f"s.{key.name} IS NOT DISTINCT FROM {tree.name}.{key.name}" for key in fragment.keys] or ["TRUE"]
    return f" LEFT JOIN ({sql}) AS {tree.name} ON {' AND '.join(tests)}"


def _sums(fragment: Fragment) -> list[Measure]:
    return [measure for measure in fragment.measures if measure.kind != "tree"]


_GROUP = "TRUE AS present"  # a group that has rows


def _per_unit(fragment: Fragment, keys: str) -> str:
    sums = "".join(f", {_total(measure)} AS {_own(measure.name)}" for measure in _sums(fragment))
    units = f"u{_also(keys)}"
    return f"SELECT {units}{sums} FROM ({fragment.relation}) AS r GROUP BY {units}"


def _total(measure: Measure) -> str:
    return f"{measure.kind.upper()}({measure.input or '*'})"


def _bounded(measure: Measure, max_rows: int) -> str:
    """One unit's share of a group."""
    name = _own(measure.name)
    if measure.kind == "count":
        return f"LEAST({name}, {max_rows})"
    if measure.weight is not None:
        rows = _own(measure.weight)
        return f"CASE WHEN {rows} > {max_rows} THEN {name} * {max_rows} // {rows} ELSE {name} END"
    low, high = max_rows * min(measure.low, 0), max_rows * max(measure.high, 0)
    return f"CASE WHEN {name} < {low} THEN {low} WHEN {name} > {high} THEN {high} ELSE {name} END"


def _own(measure: str) -> str:
    """The column of one unit's own sum."""
    return f"u_{measure}"


def _also(keys: str) -> str:
    return f", {keys}" if keys else ""


def _listed(keys: str) -> str:
    return f"{keys}, " if keys else ""


def _grouped(keys: str) -> str:
    return f" GROUP BY {keys}" if keys else ""
