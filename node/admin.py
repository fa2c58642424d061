"""What an operator may do to the budgets of a running node: each act is a signed entry of its journal, with a reason.

The daemon takes in new entries at the beginning of each of its own transactions: an act holds from the next query on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from node.books import Books
from node.config import load_ledger_place
from node.exact import NANO, rounded_down
from node.journal import Journal, open_read_only
from node.ledger import key_path
from node.periods import period
from node.signing import load_key
from privacy.errors import ConfigError

_LONGEST_REASON = 500  # characters


def raise_budget(
    config: Path, *, epsilon: float, reason: str, project: str | None = None, this_period: bool = False
) -> str:
    """Add `epsilon` to what node.toml gives: in all, or to `project`, or for this period alone.

    Returns:
        What the budget is now, in a sentence.

    Raises:
        ConfigError: there is no such budget or no ledger yet, or the arguments make no sense.
        LedgerError: the journal is not what the node wrote.
    """
    more = rounded_down(epsilon, NANO) if 0 < epsilon <= 1e9 else 0
    if more <= 0:
        raise ConfigError("`--epsilon`: it must be a positive number.", remedy="Budgets are lowered in node.toml.")
    if project is not None and this_period:
        raise ConfigError("`--project` and `--this-period` are different budgets.", remedy="Raise one at a time.")
    with _journal(config) as journal, journal.transaction() as books:
        budget, name, limit_nano = _budget(books, project, this_period, journal.now_ms())
        raised = {"action": "raise", "budget": budget, "name": name, "epsilon_nano": more}
        journal.append("admin", raised | {"reason": _checked(reason)})
    whose = {"total": "The total", "period": f"The budget for {name}", "project": f"The budget of project `{name}`"}
    return f"{whose[budget]} is ε = {(limit_nano + more) / NANO:g} now."


def freeze(config: Path, *, reason: str) -> str:
    """Stop all spending: only what was answered before is answered. Raises: as `raise_budget`."""
    _act(config, "freeze", reason)
    return "The node spends nothing any more, until it is thawed."


def thaw(config: Path, *, reason: str) -> str:
    """Allow spending again. Raises: as `raise_budget`."""
    _act(config, "thaw", reason)
    return "The node spends again, within its budgets."


def _act(config: Path, action: str, reason: str) -> None:
    with _journal(config) as journal, journal.transaction():
        journal.append("admin", {"action": action, "reason": _checked(reason)})


@contextlib.contextmanager
def _journal(config: Path) -> Iterator[Journal]:
    place = load_ledger_place(config)
    open_read_only(place.ledger).close()  # there must be one: commands make none
    key = load_key(key_path(place.ledger, place.signing_key))
    with contextlib.closing(Journal(place.ledger, province=place.province, key=key, clock=time.time)) as journal:
        yield journal


def _budget(books: Books, project: str | None, this_period: bool, time_ms: int) -> tuple[str, str, int]:
    """Kind, name and limit of the budget that is meant."""
    length = books.policy.period_length
    if this_period and length is not None:
        kind, name = "period", period(time_ms, length).name
    elif this_period:
        raise ConfigError("The node has no budget for periods.", remedy="Give it one: [budget.period] in node.toml.")
    else:
        kind, name = ("total", "") if project is None else ("project", project)
    for line in books.lines(project, time_ms):
        if (line.kind, line.name) == (kind, name):
            return kind, name, line.limit_nano
    raise ConfigError(f"Project `{name}` has no budget of its own.", remedy="Give it one in node.toml.")


def _checked(reason: str) -> str:
    if not reason.strip() or len(reason) > _LONGEST_REASON or not reason.isprintable():
        raise ConfigError(f"`--reason`: one line of at most {_LONGEST_REASON} characters.", remedy="Say why.")
    return reason
