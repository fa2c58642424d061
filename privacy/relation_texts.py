"""The SQL of one block's relation, as the node of each province gets it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from privacy.canonical import canonical, is_ordered_by_text
from privacy.dialect import DUCKDB
from privacy.open_keys import open_form
from privacy.rows.source import in_province, is_province

if TYPE_CHECKING:
    from privacy.fragment import Bounding
    from privacy.split import Split

_ANY = "<province>"  # stands for the name of a province; made longer until no text of the query holds it


@dataclass(frozen=True)
class RelationTexts:
    """Of one split. A region may have hundreds of provinces, so what differs in the name alone is written once.

    Attributes:
        templates: by columns, the text with a mark in the place of the name, and the mark; None where the name decides
            on the order of conditions, so that each province has a text of its own.
    """

    cut: Split
    templates: dict[tuple[str, ...], tuple[str, str] | None] = field(default_factory=dict)

    def sql(self, province: str, bounding: Bounding) -> str:
        items = self._items(bounding)
        names = tuple(items)
        if names not in self.templates:
            self.templates[names] = _template(self.cut.relation.query(items))
        template = self.templates[names]
        if template is None:
            return _text(self.cut.relation.query(items), province)
        text, mark = template
        return text.replace(_literal(mark), _literal(province))

    def _items(self, bounding: Bounding) -> dict[str, exp.Expr]:
        cut, items = self.cut, dict[str, exp.Expr]()
        # Without bounding nobody asks for the unit, unless units are counted that have several rows.
        counted = cut.decides or any(measure.kind == "units" for measure in cut.measures)
        if bounding.form != "none" or (counted and bounding.max_rows > 1):
            items["u"] = cut.relation.unit
        for key in cut.keys:
            items[key.name] = open_form(key.reading.sql, key.reading.facts.type) if cut.decides else key.reading.sql
        items |= {column.name: column.sql for column in cut.inputs}
        return items or {"one": exp.Literal.number(1)}


def _template(query: exp.Query) -> tuple[str, str] | None:
    if any(is_province(column) and is_ordered_by_text(column) for column in query.find_all(exp.Column)):
        return None
    mark, written = _ANY, query.sql(dialect=DUCKDB)
    while mark in written:
        mark += ">"
    return _text(query, mark), mark


def _text(query: exp.Query, province: str) -> str:
    """`query`, which is changed in place, in the one spelling that a release is known by."""
    return canonical(in_province(query, province)).sql(dialect=DUCKDB, copy=False)


def _literal(text: str) -> str:
    return exp.Literal.string(text).sql(dialect=DUCKDB)
