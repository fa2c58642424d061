"""How long a query becomes once it is planned, and how long it makes a row's texts.

Aliases stand for what they name, and some forms repeat an operand: `SELECT a + a AS b, b + b AS c, …` doubles with each
alias, `CLAMP(CLAMP(…))` triples with each call. A short text could keep every daemon busy for hours. And one person's
long text, joined to itself a thousand times, would take so much time or memory that it shows.
"""

from __future__ import annotations

import math

from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.positions import position_of, shown

MOST_COPIES = 2_000  # of parts of the query
MAX_CONCATENATIONS = 16
_TIMES: dict[type[exp.Expr], int] = {
    exp.Anonymous: 3,
    exp.Ln: 2,
    exp.Log: 2,
    exp.Sqrt: 2,
}  # an operand stands in the total form


def refuse_growth(statement: exp.Expr) -> None:
    """Refuse a query that would become too long.

    Raises:
        ConstructRefused: it would, or its texts.
    """
    _refuse_long_texts(statement)
    for select in statement.find_all(exp.Select):
        sizes: dict[str, int] = {}
        for item in select.expressions:
            node = item.unalias()
            grown = _grown(node, sizes)
            _check(node, grown)
            if item.alias:
                sizes[item.alias.lower()] = grown
        clauses = [select.args.get(name) for name in ("where", "group", "having", "qualify", "order")]
        for clause in (*clauses, *(join.args.get("on") for join in select.args.get("joins", []))):
            if clause is not None:
                _check(clause, _grown(clause, sizes))


def _refuse_long_texts(statement: exp.Expr) -> None:
    joining = [node for node in statement.walk() if isinstance(node, _JOINING)]
    times = sum(map(_doublings, joining))
    if times > MAX_CONCATENATIONS:
        raise ConstructRefused(
            f"`{shown(joining[0])}` and its like would join texts {times} times; a query may do so "
            f"{MAX_CONCATENATIONS} times",
            remedy="Group by the columns themselves instead of their joined texts.",
            position=position_of(joining[0]),
        )


_JOINING = (exp.DPipe, exp.Concat, exp.ConcatWs, exp.Replace, exp.RegexpReplace)


def _doublings(node: exp.Expr) -> int:
    """How often a form may double the length of a text, from above."""
    if isinstance(node, exp.Concat | exp.ConcatWs):
        return max(1, len(node.expressions) - 1)
    if isinstance(node, exp.Replace | exp.RegexpReplace):
        every = isinstance(node, exp.RegexpReplace)  # it may match between any two letters
        sought = 1 if every else len(node.expression.name)
        new = len(node.args["replacement"].name) + every if node.args.get("replacement") is not None else 0
        return max(1, math.ceil(math.log2(max(1, new / max(1, sought)))))
    return 1


def _check(node: exp.Expr, grown: int) -> None:
    if grown - sum(1 for _ in node.walk()) > MOST_COPIES:
        raise ConstructRefused(
            "This expression becomes too long, because it repeats its parts",
            remedy="Compute the parts in a sub-query, or nest fewer CLAMPs, CASEs and aliases of aliases.",
            position=position_of(node),
        )


def _grown(node: exp.Expr, sizes: dict[str, int]) -> int:
    """How many nodes it becomes; sub-queries are looked at by themselves."""
    if isinstance(node, exp.Column):
        return sizes.get(node.name.lower(), 1) if not node.table else 1
    if isinstance(node, exp.Query):
        return 1
    operand = node.this if isinstance(node, exp.Case) else None
    total = 1
    for child in node.iter_expressions():
        times = len(node.args["ifs"]) if child is operand else _TIMES.get(type(node), 1)
        total += times * _grown(child, sizes)
    return total
