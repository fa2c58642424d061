"""How long a query becomes once it is planned: aliases stand for what they name, and some forms repeat an operand.

`SELECT a + a AS b, b + b AS c, …` doubles with each alias, `CLAMP(CLAMP(…))` triples with each call: a short text could
keep every daemon busy for hours.
"""

from __future__ import annotations

from sqlglot import exp

from privacy.errors import ConstructRefused
from privacy.positions import position_of

MOST_COPIES = 2_000  # of parts of the query
_TIMES: dict[type[exp.Expr], int] = {exp.Anonymous: 3, exp.Ln: 2, exp.Sqrt: 2}  # an operand stands in the total form


def refuse_growth(statement: exp.Expr) -> None:
    """Refuse a query that would become too long.

    Raises:
        ConstructRefused: it would.
    """
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
