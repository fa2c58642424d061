"""WITH DIFFERENTIAL_PRIVACY OPTIONS(…): what the SQL itself says that a query may cost.

The request that carries the SQL says it too, and is what a node is bound by. So the clause only tightens: of both, the
smaller holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.positions import position_of, shown
from privacy.request import MOST_DELTA, MOST_EPSILON, Limits, Options, Request, by_column


@dataclass(frozen=True)
class Clause:
    """Of each option what it asks for; None where the clause does not name it."""

    epsilon: float | None = None
    delta: float | None = None
    max_groups: int | None = None
    max_rows: int | None = None
    max_standard_error: Limits | None = None
    max_relative_error: Limits | None = None
    expected_rows: float | None = None

    def tightened(self, request: Request) -> Request:
        """`request` with the smaller of both in every place."""
        budget = {name: _smaller(getattr(request, name), getattr(self, name)) for name in ("epsilon", "delta")}
        limits = {name: _smaller_of_each(getattr(request.options, name), getattr(self, name)) for name in _LIMITS}
        return request.model_copy(update={**budget, "options": request.options.model_copy(update=limits)})


_LIMITS = [field.name for field in fields(Clause) if field.name in Options.model_fields]


@dataclass(frozen=True)
class _Option:
    """How an option is written, and which field of `Clause` it is."""

    field: str
    what: str
    example: str
    most: float = math.inf
    whole: bool = False
    may_be_zero: bool = False
    by_column: bool = False

    def value(self, item: exp.Expr) -> Limits | int:
        """What `item` says that it is.

        Raises:
            ConstructRefused: no literal, or out of range.
        """
        name, node = _name(item), item.expression
        if self.by_column and isinstance(node, exp.Struct):
            limits = _limits(node)
            if limits is not None:
                return limits
        number = _number(node)
        if math.isfinite(number) and (0 < number <= self.most or (self.may_be_zero and number == 0)):
            if not self.whole:
                return number
            if number.is_integer():
                return int(number)
        raise ConstructRefused(
            f"`{shown(item)}`: {name} is {self.what}",
            remedy=f"Write it out: OPTIONS({name} = {self.example}).",
            position=position_of(node) or position_of(item),
        )


_A_LIMIT = "a number above 0, or one for each of some columns, {'n': 50, 'mean': 2}"
_OPTIONS = {
    "epsilon": _Option("epsilon", f"a number above 0, at most {MOST_EPSILON:g}", "0.5", most=MOST_EPSILON),
    "delta": _Option("delta", f"a number from 0 to {MOST_DELTA:g}", "1e-9", most=MOST_DELTA, may_be_zero=True),
    "max_groups_contributed": _Option("max_groups", "a whole number from 1", "2", most=2**31, whole=True),
    "max_rows_contributed": _Option("max_rows", "a whole number from 1", "5", most=2**31, whole=True),
    "max_standard_error": _Option("max_standard_error", _A_LIMIT, "50", by_column=True),
    "max_relative_error": _Option("max_relative_error", _A_LIMIT, "0.05", by_column=True),
    "expected_rows": _Option("expected_rows", "a number above 0", "1000"),
}
# What other engines call it, or have beside it.
_ELSEWHERE = {
    "kappa": "Write max_groups_contributed.",
    "max_groups": "Write max_groups_contributed.",
    "max_rows": "Write max_rows_contributed.",
    "privacy_unit_column": "Leave it out: the catalog says whose privacy a table is about.",
    "min_privacy_units_per_group": "Leave it out: where nobody can list the groups, δ sets the least number of units.",
    "k_threshold": "Leave it out: where nobody can list the groups, δ sets the least number of units.",
    "group_selection_strategy": "Leave it out: groups that the catalog lists are all answered, of others those that "
    "enough units share.",
}


def read_clause(options: Sequence[exp.Expr]) -> Clause:
    """What the items of OPTIONS(…) say.

    Raises:
        ConstructRefused: an option that is unknown, stands twice, or has a value that it cannot have.
    """
    found: dict[str, Limits | int] = {}
    for item in options:
        name = _name(item)
        option = _OPTIONS.get(name)
        if option is None:
            raise ConstructRefused(
                f"`{name}` is no option of WITH DIFFERENTIAL_PRIVACY",
                remedy=_ELSEWHERE.get(name, f"Its options are {', '.join(_OPTIONS)}."),
                position=position_of(item),
            )
        if option.field in found:
            raise ConstructRefused(
                f"The option `{name}` stands twice", remedy="Write it once.", position=position_of(item)
            )
        found[option.field] = option.value(item)
    return Clause(**found)  # type: ignore[arg-type]  # `_Option.whole` says which are whole numbers


def _name(item: exp.Expr) -> str:
    """Of `name = value`, in any case of letters, as GoogleSQL has it."""
    if isinstance(item, exp.EQ) and isinstance(item.this, exp.Column) and not item.this.table:
        return item.this.name.lower()
    raise ConstructRefused(
        f"`{shown(item)}` is no option of WITH DIFFERENTIAL_PRIVACY",
        remedy="Write OPTIONS(name = value, …), for example OPTIONS(epsilon = 0.5).",
        position=position_of(item),
    )


def _number(node: exp.Expr) -> float:
    """NaN where it is no literal number; a negative one is none."""
    return float(node.name) if isinstance(node, exp.Literal) and not node.is_string else math.nan


def _limits(node: exp.Struct) -> dict[str, float] | None:
    """Of `{'n': 50, mean: 2}` the numbers; None where it is anything else."""
    named = [part for part in node.expressions if isinstance(part, exp.PropertyEQ)]
    limits = {part.this.name: _number(part.expression) for part in named}
    every = len(limits) == len(node.expressions) > 0 and all(limits)
    return limits if every and all(0 < limit < math.inf for limit in limits.values()) else None


def _smaller(first: float | None, second: float | None) -> float | None:
    return min((number for number in (first, second) if number is not None), default=None)


def _smaller_of_each(first: Limits | None, second: Limits | None) -> Limits | None:
    """The smaller of both; where one is by column, that of each column, and under no name that of every one."""
    if not isinstance(first, Mapping) and not isinstance(second, Mapping):
        return _smaller(first, second)
    one, other = by_column(first), by_column(second)
    return {name: min(limits[name] for limits in (one, other) if name in limits) for name in (*one, *other)}
