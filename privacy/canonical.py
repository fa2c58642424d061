"""One spelling for relations that are the same: what a release is known by in the ledgers must not depend on style.

Before: `SELECT v.cost AS x0 FROM visits AS v WHERE ('F' = v.sex) AND (v.age > 30 AND 'F' = v.sex)`
After:  `SELECT v.cost AS x0 FROM visits AS v WHERE v.age > 30 AND v.sex = 'F'`

Tables go by names that do not depend on the researcher's (privacy/rows/relation.py).

Sound because every part is in total form: no order of evaluation can raise an error, and AND, OR and comparisons give
the same truth value, NULL included, in any order.
"""

from __future__ import annotations

from sqlglot import exp

from privacy.dialect import DUCKDB

_TURNED: dict[type[exp.Expr], type[exp.Binary]] = {
    exp.EQ: exp.EQ,
    exp.NEQ: exp.NEQ,
    exp.NullSafeEQ: exp.NullSafeEQ,
    exp.NullSafeNEQ: exp.NullSafeNEQ,
    exp.LT: exp.GT,
    exp.LTE: exp.GTE,
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
}


def canonical(query: exp.Expr) -> exp.Expr:
    """`query`, changed in place, so that conditions have one order."""
    for node in reversed(list(query.walk(bfs=True))):  # operands before what holds them
        if type(node) in _TURNED:
            _turn(node)
        elif isinstance(node, exp.And | exp.Or) and not isinstance(_holder(node), type(node)):
            node.replace(_ordered(node))
        elif isinstance(node, exp.Where):
            node.set("this", node.this.unnest())
    return query


def is_ordered_by_text(node: exp.Expr) -> bool:
    """Whether `node` stands where `canonical` compares texts: other constants there could come in another order."""
    return node.find_ancestor(exp.And, exp.Or, *_TURNED) is not None


def _turn(node: exp.Expr) -> None:
    """`30 < age` → `age > 30`."""
    left, right = node.this, node.expression
    constants = _is_constant(left), _is_constant(right)
    if constants == (True, False) or (constants[0] == constants[1] and _text(right) < _text(left)):
        node.replace(_TURNED[type(node)](this=right, expression=left))


def _is_constant(node: exp.Expr) -> bool:
    return node.find(exp.Column) is None


def _text(node: exp.Expr) -> str:
    return node.sql(dialect=DUCKDB, copy=False)


def _holder(node: exp.Expr) -> exp.Expr | None:
    parent = node.parent
    while isinstance(parent, exp.Paren):
        parent = parent.parent
    return parent


def _ordered(node: exp.And | exp.Or) -> exp.Expr:
    """Its operands, through parentheses, once each and in the order of their texts."""
    operands = {_text(operand): operand for operand in _operands(node, type(node))}
    first, *others = (_enclosed(operands[text]) for text in sorted(operands))
    for other in others:
        first = type(node)(this=first, expression=other)
    return first


def _operands(node: exp.Expr, kind: type[exp.Expr]) -> list[exp.Expr]:
    found: list[exp.Expr] = []
    waiting = [node]
    while waiting:
        one = waiting.pop().unnest()
        if isinstance(one, kind):
            waiting += [one.expression, one.this]
        else:
            found.append(one)
    return found


def _enclosed(node: exp.Expr) -> exp.Expr:
    return exp.Paren(this=node) if isinstance(node, exp.Connector) else node
