"""How an answer looks: at a terminal and in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from weir.display import grid, missing_lines, note_lines
from weir.display_html import folded, missing_html, page, paragraph, table_html, with_error
from weir.number_format import Figure, epsilon_text, figure, key_text

if TYPE_CHECKING:
    from weir.answer import Answer, Charge

ROWS_SHOWN = 60


def answer_text(answer: Answer) -> RenderableType:
    """A table with `value ± standard error`, then what it cost, who is missing and the notes."""
    columns = _columns(answer)
    headers = [f">{name}" if _right(answer, place) else name for place, name in enumerate(answer.columns)]
    table = grid(*headers)
    aligned = [_aligned(column) for column in columns]
    for row in zip(*aligned, strict=True):
        table.add_row(*row)
    more = [Text(_more(answer), style="dim")] if len(answer) > ROWS_SHOWN else []
    footer = Text(_guarantee(answer), style="dim")
    charges = Text("Charged: " + "; ".join(map(_charge, answer.charges)), style="dim")
    return Group(table, *more, footer, charges, *missing_lines(answer.missing), *note_lines(answer.notes))


def answer_html(answer: Answer) -> str:
    """The same as small HTML."""
    rows = [[with_error(cell.value, cell.error) for cell in row] for row in zip(*_columns(answer), strict=True)]
    right = {place for place in range(len(answer.columns)) if _right(answer, place)}
    return page(
        table_html(answer.columns, rows, right=right),
        *([paragraph(_more(answer))] if len(answer) > ROWS_SHOWN else []),
        *missing_html(answer.missing),
        paragraph(_guarantee(answer)),
        folded("What each province charged", *(paragraph(_charge(charge)) for charge in answer.charges)),
        *(paragraph(f"Note: {note}") for note in answer.notes),
    )


def _columns(answer: Answer) -> list[list[Figure]]:
    """The shown cells, one list a column."""
    rows, errors, noisy = answer.arrow()[:ROWS_SHOWN], answer.error_table()[:ROWS_SHOWN], answer.noisy_columns
    found = []
    for place, name in enumerate(answer.columns):
        values, bars = rows.column(place).to_pylist(), errors.column(place).to_pylist()
        if name in noisy:
            found.append([figure(value, bar) for value, bar in zip(values, bars, strict=True)])
        else:
            found.append([Figure(key_text(value)) for value in values])
    return found


def _right(answer: Answer, place: int) -> bool:
    import pyarrow.types as kinds

    kind = answer.arrow().schema.field(place).type
    return bool(kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind))


def _aligned(column: list[Figure]) -> list[Text]:
    """Cells padded so that decimal points and ± stand in line."""
    if not any(cell.error for cell in column):
        return [Text(cell.value) for cell in column]
    value_width = max(len(cell.value.partition(".")[2]) for cell in column)
    error_width = max(len(cell.error.partition(".")[2]) for cell in column)
    whole_width = max(len(cell.error.partition(".")[0]) for cell in column)
    found = []
    for cell in column:
        whole, _, fraction = cell.error.partition(".")
        error = whole[:2] + whole[2:].rjust(whole_width - 2) + _fraction(fraction, error_width) if cell.error else ""
        value = cell.value.partition(".")[0] + _fraction(cell.value.partition(".")[2], value_width)
        width = whole_width + (error_width + 1 if error_width else 0)
        found.append(Text.assemble(value, " ", (error.ljust(width), "dim")))
    return found


def _fraction(digits: str, width: int) -> str:
    if not width:
        return ""
    return (f".{digits}" if digits else "").ljust(width + 1)


def _more(answer: Answer) -> str:
    return f"… {len(answer) - ROWS_SHOWN:,} more rows; .df() has them all."


def _guarantee(answer: Answer) -> str:
    whole = f"ε = {epsilon_text(answer.epsilon)} for the region"
    if answer.span == 1:
        return f"{whole} (a person's records lie at one node)."
    each = epsilon_text(answer.epsilon_per_node)
    return f"{whole}, {each} at each node (a person's records may lie at up to {answer.span} nodes)."


def _charge(charge: Charge) -> str:
    left = f"{epsilon_text(charge.budget.epsilon_left)} left"
    if charge.already_released:
        return f"{charge.province} 0 (released before; {left})"
    return f"{charge.province} {epsilon_text(charge.epsilon_charged)} ({left})"
