"""The regional standard as a person browses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from privacy.catalog import Catalog, Description, PrivateTable, PublicTable, Value
from privacy.errors import NameRefused
from weir.number_format import key_text

if TYPE_CHECKING:
    from rich.console import RenderableType

_VALUES_SHOWN = 6
_HEADER = ("column", "type", "values", "description", "说明")


@dataclass(frozen=True, repr=False)
class CatalogView:
    """Tables and columns with their bounds, domains and limits; all of it is public.

    >>> con.catalog().table("visits")

    Attributes:
        catalog: the standard itself.
        shown: names of the tables that this view shows.
    """

    catalog: Catalog
    shown: tuple[str, ...]

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables."""
        return self.shown

    def table(self, name: str) -> CatalogView:
        """One table of it.

        Raises:
            NameRefused: there is none of that name.
        """
        if name not in self.catalog.tables:
            raise NameRefused(f"There is no table `{name}`.", remedy=f"Tables are: {', '.join(self.catalog.tables)}.")
        return CatalogView(self.catalog, (name,))

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the standard, with its digest."""
        content = self.catalog.model_dump(mode="json", exclude_none=True)
        content["tables"] = {name: content["tables"][name] for name in self.shown}
        return {**content, "digest": self.catalog.digest}

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        region = self.catalog.region
        parts: list[RenderableType] = [
            Text(f"{region.name} {region.version}: {_both(region.description)}", style="bold"),
            Text(f"Provinces: {', '.join(region.provinces)}. Catalog digest {self.catalog.digest[:12]}…", style="dim"),
        ]
        for name in self.shown:
            parts += self._table_text(name)
        return Group(*parts)

    def _table_text(self, name: str) -> list[RenderableType]:
        from rich.text import Text

        from weir.display import grid

        table = self.catalog.tables[name]
        heading = Text.assemble("\n", (name, "bold cyan"), f"  {_both(table.description)}")
        rows = grid(*_HEADER)
        for column in _column_rows(self.catalog, table):
            rows.add_row(*map(Text, column))
        return [heading, Text(_limits(self.catalog, table), style="dim"), rows]

    def __repr__(self) -> str:
        from weir.display import as_text

        return as_text(self, width=120)

    def _repr_html_(self) -> str:
        from weir.display_html import folded, page, paragraph, table_html

        region = self.catalog.region
        parts = [paragraph(f"{region.name} {region.version}: {_both(region.description)}", grey=False)]
        for name in self.shown:
            table = self.catalog.tables[name]
            body = table_html(_HEADER, _column_rows(self.catalog, table))
            parts.append(folded(f"{name}: {_both(table.description)}", paragraph(_limits(self.catalog, table)), body))
        return page(*parts)


def _both(description: Description) -> str:
    return f"{description.en} · {description.zh}"


def _limits(catalog: Catalog, table: PrivateTable | PublicTable) -> str:
    if isinstance(table, PublicTable):
        return f"public, {len(table.rows):,} rows"
    span = catalog.span(table)
    where = "one node" if span == 1 else f"up to {span} nodes"
    held = f"private: protects each {table.unit} (`{table.unit_column}`), who may have records at {where}"
    if table.rows_per_unit == 1:
        return f"{held}, one row each"
    if table.rows_per_unit is not None:
        return f"{held}, at most {table.rows_per_unit:,} rows each at a node"
    return f"{held}; at most {table.max_rows:,} rows count in a group, and {table.max_groups:,} groups at a node"


def _column_rows(catalog: Catalog, table: PrivateTable | PublicTable) -> list[tuple[str, ...]]:
    unit = table.unit_column if isinstance(table, PrivateTable) else None
    return [
        (
            name,
            column.type,
            "identifies the unit; never shown" if name == unit else _values(catalog, table, name),
            column.description.en,
            column.description.zh,
        )
        for name, column in table.columns.items()
    ]


def _values(catalog: Catalog, table: PrivateTable | PublicTable, name: str) -> str:
    """Bounds or domain, shortened."""
    column = table.columns[name]
    null = ", or NULL" if column.nullable else ""
    if column.bounds is not None:
        low, high = (f"{end:.15g}" for end in column.bounds)
        grid = f", in steps of {column.grid:g}" if column.grid is not None else ""
        return f"{low} – {high}{grid}{null}"
    if column.range is not None:
        return f"{column.range[0]} – {column.range[1]}{null}"
    domain = [value for value in _domain(catalog, table, name) if value is not None]
    if not domain:
        return null.removeprefix(", or ")
    shown = ", ".join(key_text(value) for value in domain[:_VALUES_SHOWN])
    more = f", … ({len(domain):,} values)" if len(domain) > _VALUES_SHOWN else ""
    source = f" from {column.references}" if column.references is not None else ""
    return f"{shown}{more}{source}{null}"


def _domain(catalog: Catalog, table: PrivateTable | PublicTable, name: str) -> tuple[Value, ...]:
    found = catalog.domain(table.columns[name])
    if found is None and isinstance(table, PublicTable):
        return tuple(dict.fromkeys(table.values(name)))
    return found or ()
