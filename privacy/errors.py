"""Every error that weir shows to a person, in one tree.

WeirError
├── RequestRefused            the request itself: ε, options, expiry, versions
├── QueryRefused              the SQL
│   ├── SyntaxRefused         it does not parse
│   ├── NameRefused           unknown table or column
│   ├── ConstructRefused      a construct, function or clause outside the allow-list
│   ├── RowsRefused           it returns rows or identifiers, not aggregates
│   ├── DomainRefused         a group key without a public domain, or too many cells
│   └── BoundsRefused         a value whose bounds cannot be inferred
├── BudgetRefused             the privacy budget does not cover it
├── MismatchRefused           catalog, planner version or fragments differ between daemons
├── ConfigError               a TOML file: catalog, node or coordinator
├── DataError                 local data that does not meet the regional standard
├── LedgerError               a node's journal is not what the node wrote
├── UnavailableError          a daemon cannot be reached, or too few nodes answered
└── InternalError             a fault of weir's own; says nothing about data

Messages may speak of the SQL, the catalog and the configuration. They never speak of data.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

ERROR_KEY = "weir-error-bin"  # of gRPC's trailing metadata: the error, as `WeirError.to_json` writes it


@dataclass(frozen=True)
class Position:
    """A place in the SQL or in a file: 1-based line and column."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


class WeirError(Exception):
    """Base of the tree: what was wrong, where, and what to do instead.

    Args:
        message: what was wrong, in one sentence.
        remedy: what to write or do instead, in one sentence.
        position: where in the SQL, if it is about the SQL.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, remedy: str = "", position: Position | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.position = position

    def __str__(self) -> str:
        where = f" ({self.position})" if self.position else ""
        remedy = f"\n  → {self.remedy}" if self.remedy else ""
        return f"{self.message}{where}{remedy}"

    def to_json(self) -> str:
        """The form in which an error crosses the wire."""
        place = [self.position.line, self.position.column] if self.position else None
        return json.dumps({"code": self.code, "message": self.message, "remedy": self.remedy, "position": place})

    @staticmethod
    def from_json(text: str) -> WeirError:
        """The error that `to_json` wrote; an unknown code becomes an InternalError."""
        fields = json.loads(text)
        kind = _BY_CODE.get(fields["code"], InternalError)
        place = Position(*fields["position"]) if fields["position"] else None
        return kind(fields["message"], remedy=fields["remedy"], position=place)


class RequestRefused(WeirError):
    code = "request"


class QueryRefused(WeirError):
    code = "query"


class SyntaxRefused(QueryRefused):
    code = "query.syntax"


class NameRefused(QueryRefused):
    code = "query.name"


class ConstructRefused(QueryRefused):
    code = "query.construct"


class RowsRefused(QueryRefused):
    code = "query.rows"


class DomainRefused(QueryRefused):
    code = "query.domain"


class BoundsRefused(QueryRefused):
    code = "query.bounds"


class BudgetRefused(WeirError):
    code = "budget"


class MismatchRefused(WeirError):
    code = "mismatch"


class ConfigError(WeirError):
    code = "config"


class DataError(WeirError):
    code = "data"


class LedgerError(WeirError):
    code = "ledger"


class UnavailableError(WeirError):
    code = "unavailable"


class InternalError(WeirError):
    code = "internal"


def _tree(kind: type[WeirError]) -> dict[str, type[WeirError]]:
    found = {kind.code: kind}
    for child in kind.__subclasses__():
        found |= _tree(child)
    return found


_BY_CODE = _tree(WeirError)
