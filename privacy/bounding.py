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

Where a threshold decides on groups, their distinct units are counted, of those that keep the group: a unit adds 1 to at
most `max_groups` counts. Groups that fewer than `least` units keep are left out, so those that all drop always are.

Large tables: the same integers at half the cost or less
    A unit with no more than min(`max_rows`, `max_groups`) rows in all is changed by none of these limits. So a node of
    large tables sums all rows in one scan, and adds (bounded − own) for the other units alone, the heavy ones; equal
    to the integer, so the argument above holds as it is. Heavy are units whose HASH is that of more rows than the
    least limit: where two units share a hash, both go the long way round, which changes nothing. The hash 0 is always
    among them and nothing is looked up by the unit itself, so that the engine does the same work whether or not
    anybody is heavy: it could skip a join with nothing, or blocks of rows outside the range of what it looks for.

Prepared snapshots: the same integers from sums of each unit that are ready (privacy/unit_sums.py)
"""

from __future__ import annotations

from collections.abc import Sequence

from privacy.fragment import Fragment, Measure
from privacy.unit_sums import Ready, UnitSums


def bounded_sql(fragment: Fragment, *, secret: str, large: bool = False, stored: Sequence[UnitSums] = ()) -> str:
    """SQL (DuckDB dialect) of the exact, bounded sums of each group that has rows: keys, then for each measure one
    integer, or a list of (leaf, n) of the bins that rows are in.

    Args:
        secret: hexadecimal; the node's own, so that nobody outside can aim at which groups are dropped.
        large: for tables of millions of rows; on small ones planning the longer statement takes more than it saves.
        stored: what the snapshot holds ready.
    """
    keys = ", ".join(key.name for key in fragment.keys)
    ready, bounded = Ready(fragment, stored), fragment.bounding.form != "none"
    heavy = _with_heavy(fragment, ready) if large and bounded else ""
    sql = _sums_sql(fragment, keys, secret, ready.per_unit() if bounded else None, heavy)
    trees = [measure for measure in fragment.measures if measure.kind == "tree"]
    if not trees:
        return sql
    parts = ((tree, _leaves_sql(fragment, tree, keys, secret, heavy)) for tree in trees)
    joins = "".join(_joined(fragment, tree, part) for tree, part in parts)
    leaves = ", ".join(f"{tree.name}.leaves AS {tree.name}" for tree in trees)
    return f"SELECT s.*, {leaves} FROM ({sql}) AS s{joins}"


def _sums_sql(fragment: Fragment, keys: str, secret: str, ready: str | None, heavy: str) -> str:
    """Counts and sums of every group that has rows; where there are none to sum, just the groups.

    A group stays even where every unit drops it: whether others' histograms count must not hang on it.
    """
    measures = _sums(fragment)
    totals = ", ".join(f"{_total(measure, fragment)} AS {measure.name}" for measure in measures)
    every = f"SELECT {_listed(keys)}{totals or _GROUP} FROM ({fragment.relation}) AS r{_grouped(keys)}"
    if fragment.bounding.form == "none" or not measures:
        return f"{every}{_having(fragment)}"
    # Rows do not tell how many units there are.
    by_unit = fragment.threshold is not None or any(measure.kind == "units" for measure in measures)
    if ready is not None or not heavy or by_unit:
        shares = ", ".join(f"SUM({share}) AS {name}" for name, share in _shares(fragment).items())
        per_unit = ready or _per_unit(fragment, keys, secret)
        return f"SELECT {_listed(keys)}{shares} FROM ({per_unit}) AS p{_grouped(keys)}{_having(fragment)}"
    per_unit = _per_unit(fragment, keys, secret, where=f" WHERE {_IS_HEAVY}")
    changes = ", ".join(f"{share} - {_own(name)} AS {name}" for name, share in _shares(fragment).items())
    both = f"{every} UNION ALL SELECT {_listed(keys)}{changes} FROM ({per_unit}) AS p"
    sums = ", ".join(f"SUM({measure.name}) AS {measure.name}" for measure in measures)
    return f"{heavy}SELECT {_listed(keys)}{sums} FROM ({both}) AS b{_grouped(keys)}"


_IS_HEAVY = 'HASH(u) IN (SELECT unit FROM "#heavy")'  # no table of a catalog can have that name


def _with_heavy(fragment: Fragment, ready: Ready) -> str:
    """The table `#heavy` of the units that some limit may touch, as hashes."""
    bounding = fragment.bounding
    limited = bounding.form == "clip_and_limit"
    least = min(bounding.max_rows, bounding.max_groups) if limited else bounding.max_rows
    units = ready.units_with_more_rows(least)
    if units is None:
        units = f"SELECT HASH(u) AS unit FROM ({fragment.relation}) AS r GROUP BY unit HAVING COUNT(*) > {least}"
    return f'WITH "#heavy" AS MATERIALIZED ({units} UNION ALL SELECT 0) '


def _leaves_sql(fragment: Fragment, tree: Measure, keys: str, secret: str, heavy: str) -> str:
    """One histogram: for each group a list of the bins with rows in them, and how many."""
    bounding = fragment.bounding
    rows = f"SELECT * FROM ({fragment.relation}) AS r WHERE {tree.input} IS NOT NULL"
    if bounding.form != "none":
        order = f"HASH(u, {tree.input}, '{secret}'), {tree.input}"
        limit = f"ROW_NUMBER() OVER (PARTITION BY u{_also(keys)} ORDER BY {order}) <= {bounding.max_rows}"
        if bounding.form == "clip_and_limit":
            order = _order_of_groups(keys, secret)
            limit += f" AND DENSE_RANK() OVER (PARTITION BY u ORDER BY {order}) <= {bounding.max_groups}"
        if heavy:
            light = f"{rows} AND NOT {_IS_HEAVY}"
            rows = f"{light} UNION ALL SELECT * FROM ({rows} AND {_IS_HEAVY}) AS h QUALIFY {limit}"
        else:
            rows = f"{rows} QUALIFY {limit}"
    bins = f"{_listed(keys)}{tree.input}"
    counted = f"SELECT {bins} AS leaf, COUNT(*) AS n FROM ({rows}) AS b GROUP BY {bins}"
    listed = f"{_listed(keys)}LIST({{'leaf': leaf, 'n': n}}) AS leaves"
    return f"{heavy}SELECT {listed} FROM ({counted}) AS c{_grouped(keys)}"


def _joined(fragment: Fragment, tree: Measure, sql: str) -> str:
    tests = [f"s.{key.name} IS NOT DISTINCT FROM {tree.name}.{key.name}" for key in fragment.keys] or ["TRUE"]
    return f" LEFT JOIN ({sql}) AS {tree.name} ON {' AND '.join(tests)}"


def _sums(fragment: Fragment) -> list[Measure]:
    return [measure for measure in fragment.finest if measure.kind != "tree"]


_GROUP = "COUNT(*) > 0 AS present"  # one row for each group that has rows, or one in all


def _per_unit(fragment: Fragment, keys: str, secret: str, *, where: str = "") -> str:
    """One row a unit and group: the unit's own sums, and whether it is one of the groups that count."""
    own = [measure for measure in _sums(fragment) if measure.kind != "units" or measure.input is not None]
    sums = "".join(f", {_aggregate(measure)} AS {_own(measure.name)}" for measure in own)
    units = f"u{_also(keys)}"
    per_unit = f"SELECT {units}{sums} FROM ({fragment.relation}) AS r{where} GROUP BY {units}"
    if fragment.bounding.form != "clip_and_limit":
        return per_unit
    order = _order_of_groups(keys, secret)
    kept = f"ROW_NUMBER() OVER (PARTITION BY u ORDER BY {order}) <= {fragment.bounding.max_groups}"
    return f"SELECT *, {kept} AS kept FROM ({per_unit}) AS s"


def _order_of_groups(keys: str, secret: str) -> str:
    """By which a unit's groups are kept; ties fall back to the keys, so that the choice is the same each time."""
    return f"HASH(u, {keys}, '{secret}'), {keys}"


def _shares(fragment: Fragment) -> dict[str, str]:
    """By measure, what counts of one unit's own sum in a group."""
    shares = {measure.name: _bounded(measure, fragment.bounding.max_rows) for measure in _sums(fragment)}
    return {name: _where_kept(share, fragment) for name, share in shares.items()}


def _where_kept(share: str, fragment: Fragment) -> str:
    return f"CASE WHEN kept THEN {share} ELSE 0 END" if fragment.bounding.form == "clip_and_limit" else share


def _total(measure: Measure, fragment: Fragment) -> str:
    return _units(fragment, measure.input) if measure.kind == "units" else _aggregate(measure)


def _aggregate(measure: Measure) -> str:
    return f"{'SUM' if measure.kind == 'sum' else 'COUNT'}({measure.input or '*'})"


def _units(fragment: Fragment, counted: str | None = None) -> str:
    """The distinct units of a group that count in it, or those with a row where `counted` is not NULL."""
    if fragment.bounding.form != "none":
        return f"SUM({_where_kept('1', fragment)})"
    # Each has one row, unless joins multiply rows.
    if fragment.bounding.max_rows == 1:
        return f"COUNT({counted or '*'})"
    return f"COUNT(DISTINCT {f'CASE WHEN {counted} IS NOT NULL THEN u END' if counted else 'u'})"


def _having(fragment: Fragment) -> str:
    """Leaves out the groups of too few units, which no threshold may let pass (privacy/thresholds.py)."""
    return f" HAVING {_units(fragment)} >= {fragment.threshold.least}" if fragment.threshold is not None else ""


def _bounded(measure: Measure, max_rows: int) -> str:
    """One unit's share of a group."""
    name = _own(measure.name)
    if measure.kind == "units":
        return "1" if measure.input is None else f"LEAST({name}, 1)"
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
