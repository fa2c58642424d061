"""Whether an answer without noise is the plain one."""

import datetime as dt
from typing import Protocol

import numpy as np
import pandas as pd
import sqlglot

ROUNDING = 0.02  # of the declared grids, in a sum of rounded values


class Answered(Protocol):
    """What is looked at of a `weir.Answer`."""

    @property
    def notes(self) -> tuple[str, ...]: ...

    def df(self) -> pd.DataFrame: ...

    def standard_errors(self) -> pd.DataFrame: ...


def assert_same_answer(answer: Answered, plain: pd.DataFrame, sql: str) -> None:
    """Equal to rounding, bins of quantiles and ten standard errors on the plain answer's rows; groups that no row has are 0 or NULL.

    The order of a column that is ordered by counts; ties may come in any order.
    """
    ours, errors = answer.df(), answer.standard_errors()
    assert len(ours.columns) == len(plain.columns)
    bins = max(
        (float(note.rpartition(" ")[2].rstrip(".")) for note in answer.notes if "bins of width" in note), default=0.0
    )
    keys = [place for place in range(len(ours.columns)) if errors.iloc[:, place].isna().all()]
    found = {_key(row, keys): row for row in _rows(ours)}
    tolerance = {_key(row, keys): error for row, error in zip(_rows(ours), _rows(errors), strict=True)}
    wanted = {_key(row, keys): row for row in _rows(plain)}
    if len(found) < len(ours):  # the answer leaves its keys out: no row can be told from another
        assert len(keys) == len(ours.columns)
        assert sorted(map(repr, _rows(ours))) == sorted(map(repr, _rows(plain)))
        return
    for key, row in found.items():
        if key not in wanted:
            values = [(value, tolerance[key][place]) for place, value in enumerate(row) if place not in keys]
            assert all(value is None or _close(value, 0, error, 0.0) for value, error in values), row
    assert wanted.keys() <= found.keys()
    for key, row in wanted.items():
        for place in set(range(len(row))) - set(keys):
            assert _close(found[key][place], row[place], tolerance[key][place], bins), (key, found[key], row)
    if sqlglot.parse_one(sql, dialect="duckdb").args.get("order") is not None and keys:
        _assert_same_order(list(found), list(wanted), wanted, keys)


def _assert_same_order(
    ours: list[tuple[object, ...]],
    theirs: list[tuple[object, ...]],
    rows: dict[tuple[object, ...], list[object]],
    keys: list[int],
) -> None:
    """Where the two orders differ, the rows that changed places are equal in some column that is no key."""
    ours = [key for key in ours if key in rows]
    for mine, other in zip(ours, theirs, strict=True):
        if mine != other:
            values = set(range(len(rows[mine]))) - set(keys)
            assert any(rows[mine][place] == rows[other][place] for place in values), (mine, other)


def _close(ours: object, theirs: object, error: object, bins: float) -> bool:
    if not isinstance(ours, int | float) or not isinstance(theirs, int | float):
        return ours == theirs
    slack = bins + ROUNDING + 1e-6 * abs(theirs) + 10 * (error if isinstance(error, int | float) else 0)
    return abs(ours - theirs) <= slack


def _rows(frame: pd.DataFrame) -> list[list[object]]:
    return [[_plain(value) for value in row] for row in frame.itertuples(index=False)]


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return tuple((_plain(key), _plain(count)) for key, count in value.items())
    if isinstance(value, list | np.ndarray):
        return tuple(map(_plain, value))
    if pd.isna(value):
        return None
    if isinstance(value, dt.date):  # pandas has dates as times, but not as keys of a dict
        return pd.Timestamp(value).isoformat()
    return value.item() if hasattr(value, "item") else value


def _key(row: list[object], keys: list[int]) -> tuple[object, ...]:
    return tuple(row[place] for place in keys)
