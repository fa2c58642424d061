"""How an answer looks: at a terminal and in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from weir.display import grid, missing_lines, note_lines
from weir.display_html import folded, missing_html, page, paragraph, table_html, with_error
from weir.number_format import Figure, epsilon_text, figure, guarantee_text, key_text, with_interval

if TYPE_CHECKING:
    from weir.answer import Answer, Charge

ROWS_SHOWN = 60


def answer_text(answer: Answer) -> RenderableType:
    """A table with `value ± standard error`, then what it cost, who is missing and the notes."""
    columns = _columns(answer)
    table = grid()
    numeric = [_right(answer, place) for place in range(len(columns))]
    for name, right in zip(answer.columns, numeric, strict=True):
        # Figures are aligned by `_aligned`: where rich aligns them it strips the spaces behind the points.
        table.add_column(Text(name, justify="right" if right else "left"), no_wrap=right)
    aligned = [_aligned(column) if right else _plain(column) for column, right in zip(columns, numeric, strict=True)]
    for row in zip(*aligned, strict=True):
        table.add_row(*row)
    more = [Text(_more(answer), style="dim")] if len(answer) > ROWS_SHOWN else []
    footer = Text(_guarantee(answer), style="dim")
    charges = Text("Charged: " + "; ".join(map(_charge, answer.charges)), style="dim")
    return Group(table, *more, footer, charges, *missing_lines(answer.missing), *note_lines(answer.notes))


def answer_html(answer: Answer) -> str:
    """The same as small HTML; under the pointer, the interval of a cell."""
    cells = zip(*_columns(answer), strict=True)
    rows = [[with_error(cell.value, cell.error, cell.interval) for cell in row] for row in cells]
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
    low, high = (table[:ROWS_SHOWN] for table in answer.interval_tables())
    found = []
    for place, name in enumerate(answer.columns):
        values, bars = rows.column(place).to_pylist(), errors.column(place).to_pylist()
        if name in noisy:
            ends = zip(low.column(place).to_pylist(), high.column(place).to_pylist(), strict=True)
            found.append(
                [
                    with_interval(figure(value, bar), value, bar, end)
                    for value, bar, end in zip(values, bars, ends, strict=True)
                ]
            )
        else:
            found.append([Figure(key_text(value)) for value in values])
    return found


def _right(answer: Answer, place: int) -> bool:
    import pyarrow.types as kinds

    kind = answer.arrow().schema.field(place).type
    return bool(kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind))


def _plain(column: list[Figure]) -> list[Text]:
    return [Text.assemble(cell.value, (f" {cell.error}" if cell.error else "", "dim")) for cell in column]


def _aligned(column: list[Figure]) -> list[Text]:
    """Cells of one width, so that decimal points and ± stand in line."""
    values = _on_the_point([cell.value for cell in column])
    errors = _on_the_point([cell.error.removeprefix("± ") for cell in column])
    found = []
    for cell, value, error in zip(column, values, errors, strict=True):
        sign = ("± " if cell.error else "  ") if any(errors) else ""
        found.append(Text.assemble(value, " " if sign else "", (sign + error, "dim")))
    return found


def _on_the_point(numbers: list[str]) -> list[str]:
    """Texts padded on both sides to one width, the decimal points in one column."""
    halves = [number.partition(".") for number in numbers]
    left = max((len(whole) for whole, _, _ in halves), default=0)
    right = max((len(point + fraction) for _, point, fraction in halves), default=0)
    return [whole.rjust(left) + (point + fraction).ljust(right) for whole, point, fraction in halves]


def _more(answer: Answer) -> str:
    return f"… {len(answer) - ROWS_SHOWN:,} more rows; .df() has them all."


def _guarantee(answer: Answer) -> str:
    whole = f"{guarantee_text(answer.epsilon, answer.delta)} for the region"
    if answer.span == 1:
        return f"{whole} (a person's records lie at one node)."
    each = epsilon_text(answer.epsilon_per_node)
    return f"{whole}, {each} at each node (a person's records may lie at up to {answer.span} nodes)."


def _charge(charge: Charge) -> str:
    left = f"{epsilon_text(charge.budget.epsilon_left)} left"
    if charge.already_released:
        return f"{charge.province} 0 (released before; {left})"
    return f"{charge.province} {epsilon_text(charge.epsilon_charged)} ({left})"
