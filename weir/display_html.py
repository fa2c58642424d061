"""Small HTML: what a notebook shows."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weir.budget import Missing

_GREY = "opacity:.6"  # grey on white paper as on black
_RED = "color:#c62828;font-weight:600"


class Markup(str):
    """Text that is HTML already."""


def page(*parts: str) -> str:
    """One output cell."""
    return f'<div class="weir">{"".join(parts)}</div>'


def table_html(header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Container[int] = ()) -> str:
    """A table.

    Args:
        rows: text, escaped here, or `Markup`.
        right: numbers of the columns that hold numbers.
    """
    head = _row("th", header, right)
    body = "".join(_row("td", row, right) for row in rows)
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def with_error(value: str, error: str, hint: str = "") -> Markup:
    """A value, its `± …` in grey; the hint is shown under the pointer."""
    if not error:
        return Markup(escape(value))
    title = f' title="{escape(hint)}"' if hint else ""
    return Markup(f'{escape(value)} <span style="{_GREY}"{title}>{escape(error)}</span>')


def paragraph(text: str, *, grey: bool = True) -> str:
    """A line under the table."""
    style = _GREY if grey else ""
    inner = text if isinstance(text, Markup) else escape(text)
    return f'<p style="margin:.2em 0;font-size:90%;{style}">{inner}</p>'


def code(text: str) -> str:
    """SQL as it is."""
    return f'<pre style="white-space:pre-wrap;margin:.2em 0;font-size:90%">{escape(text)}</pre>'


def folded(summary: str, *parts: str) -> str:
    """Parts that open at a click."""
    return f"<details><summary>{escape(summary)}</summary>{''.join(parts)}</details>"


def missing_html(missing: Iterable[Missing]) -> list[str]:
    """One line in red words a province that did not answer."""
    return [
        paragraph(
            Markup(f'<span style="{_RED}">Missing: {escape(gone.province)}</span> ({escape(gone.reason)})'), grey=False
        )
        for gone in missing
    ]


def _row(tag: str, cells: Sequence[str], right: Container[int]) -> str:
    return "<tr>" + "".join(_cell(tag, cell, place in right) for place, cell in enumerate(cells)) + "</tr>"


def _cell(tag: str, cell: str, right: bool) -> str:
    inner = cell if isinstance(cell, Markup) else escape(cell)
    align = "right;font-variant-numeric:tabular-nums" if right else "left"
    return f'<{tag} style="text-align:{align}">{inner}</{tag}>'
