"""weir: SQL over records that may not leave their province, answered with error bars.

>>> import weir
>>> with weir.up("examples/panel") as con:          # or: con = weir.connect("localhost:50050")
...     answer = con.sql("SELECT year, COUNT(*) AS n FROM panel GROUP BY year", epsilon=0.5)
...     answer.df(), answer.interval()

Errors are `weir.WeirError` and its subclasses (privacy/errors.py draws the tree).
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from privacy.errors import (
        BoundsRefused,
        BudgetRefused,
        ConfigError,
        ConstructRefused,
        DataError,
        DomainRefused,
        InternalError,
        LedgerError,
        MismatchRefused,
        NameRefused,
        QueryRefused,
        RequestRefused,
        RowsRefused,
        SyntaxRefused,
        UnavailableError,
        WeirError,
    )
    from weir.answer import Answer
    from weir.connection import Connection, connect
    from weir.explanation import Explanation
    from weir.federation import Federation, up

__all__ = [
    "Answer",
    "BoundsRefused",
    "BudgetRefused",
    "ConfigError",
    "Connection",
    "ConstructRefused",
    "DataError",
    "DomainRefused",
    "Explanation",
    "Federation",
    "InternalError",
    "LedgerError",
    "MismatchRefused",
    "NameRefused",
    "QueryRefused",
    "RequestRefused",
    "RowsRefused",
    "SyntaxRefused",
    "UnavailableError",
    "WeirError",
    "connect",
    "up",
]

# Imported at first use: `weir --help` and each daemon start without the client's libraries.
_HOMES = {
    "Answer": "weir.answer",
    "Connection": "weir.connection",
    "Explanation": "weir.explanation",
    "Federation": "weir.federation",
    "connect": "weir.connection",
    "up": "weir.federation",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'weir' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "privacy.errors")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
