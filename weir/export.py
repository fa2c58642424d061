"""Answers for machines: plain values, JSON, CSV."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weir.answer import Answer


def receipt(answer: Answer) -> dict[str, Any]:
    """What was asked, guaranteed and charged."""
    return {
        "sql": answer.sql,
        "epsilon": answer.epsilon,
        "delta": answer.delta,
        "epsilon_per_node": answer.epsilon_per_node,
        "span": answer.span,
        "charges": [asdict(charge) for charge in answer.charges],
        "missing": [asdict(gone) for gone in answer.missing],
        "notes": list(answer.notes),
    }


def to_dict(answer: Answer) -> dict[str, Any]:
    """Rows, standard errors and the ends of intervals as lists of objects, and the receipt."""
    low, high = answer.interval_tables()
    return {
        "columns": list(answer.columns),
        "noisy_columns": list(answer.noisy_columns),
        "rows": _records(answer.arrow()),
        "standard_errors": _records(answer.error_table()),
        "low": _records(low),
        "high": _records(high),
        **receipt(answer),
    }


def write_json(content: Any, out: IO[str]) -> None:
    """Indented JSON, Chinese as it is, dates in ISO form."""
    out.write(json.dumps(content, ensure_ascii=False, indent=2, default=str, allow_nan=False) + "\n")


def write_csv(answer: Answer, out: IO[str]) -> None:
    """One line a row; behind each noisy column `<name>` its `<name>_se`, `<name>_low` and `<name>_high`."""
    noisy = set(answer.noisy_columns)
    low, high = answer.interval_tables()
    header: list[str] = []
    columns: list[list[object]] = []
    for place, name in enumerate(answer.columns):
        header.append(name)
        columns.append(_values(answer.arrow().column(place)))
        if name in noisy:
            for ending, table in (("se", answer.error_table()), ("low", low), ("high", high)):
                header.append(f"{name}_{ending}")
                columns.append(_values(table.column(place)))
    columns = [[_text(value) for value in column] for column in columns]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(zip(*columns, strict=True))


def _text(value: object) -> object:
    """A list or MAP as JSON, in one field."""
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else value


def _records(table: Any) -> list[dict[str, object]]:
    names = table.column_names
    columns = [_values(table.column(place)) for place in range(table.num_columns)]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(column: Any) -> list[object]:
    """Python values; not-a-number and infinity, which JSON cannot hold, become None."""
    return [_value(value) for value in column.to_pylist()]


def _value(value: Any) -> object:
    """A list as it is; a MAP, which Arrow gives as a list of pairs, with texts as keys, as JSON has it."""
    if isinstance(value, list):
        if any(isinstance(item, tuple) for item in value):
            return {key if isinstance(key, str) else str(key): _value(item) for key, item in value}
        return [_value(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
