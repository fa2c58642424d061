"""Request → plan: the pure function that coordinator and node both run (design.md §4, steps 2–4)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from threading import Lock

from sqlglot import exp

from privacy.accuracy import accurate, names_accuracy
from privacy.binding import bind
from privacy.block_planner import BlockPlanner, PlannedBlock, plan_block
from privacy.blocks import Around, is_one_block, read_blocks
from privacy.calibration import WITHIN
from privacy.catalog import Catalog
from privacy.compound import AboveBlock, compound_rest
from privacy.errors import RequestRefused, SyntaxRefused
from privacy.fragment import MERGED, Plan
from privacy.parsing import parse
from privacy.pivot import without_pivot
from privacy.positions import shown
from privacy.request import Request

_REMEMBERED = 64  # plans; each holds its cells


class Planner:
    """Plans requests against one catalog. Thread-safe; the same request gives the same plan on every machine."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._blocks = BlockPlanner(catalog)
        self._plans: OrderedDict[tuple[str, float, float, str, bool], Plan] = OrderedDict()
        self._lock = Lock()

    def plan(self, request: Request) -> Plan:
        """Fragments for every province that has rows to contribute, and the rest.

        Raises:
            QueryRefused: with the construct, its position and what to write instead.
        """
        # A node plans each request twice, to prepare and to release; the nonce and the expiry change no plan.
        identity = (request.sql, request.epsilon, request.delta, request.options.model_dump_json(), request.explains)
        with self._lock:
            if identity in self._plans:
                self._plans.move_to_end(identity)
                return self._plans[identity]
        plan = self._planned(request)
        with self._lock:
            self._plans[identity] = plan
            if len(self._plans) > _REMEMBERED:
                self._plans.popitem(last=False)
        return plan

    def _planned(self, request: Request) -> Plan:
        try:
            written = parse(request.sql)
            plan = self._of_query(written.query, written.clause.tightened(request))
            return replace(plan, explains=written.explains or request.explains)
        except RecursionError:
            raise SyntaxRefused("The query is nested too deeply.", remedy="Write it with fewer parentheses.") from None

    def _of_query(self, statement: exp.Expr, request: Request) -> Plan:
        query = without_pivot(statement, self._catalog)
        assert isinstance(query, exp.Query)
        bound = bind(query, self._catalog)
        names = _names(bound if query.is_star or query.find(exp.Columns) else query)
        if is_one_block(bound, self._catalog):
            assert isinstance(bound, exp.Select)
            shape = self._blocks.shape(bound, names, request)
            needed = accurate(shape, request)
            only = plan_block(shape, MERGED, needed.request)
            return Plan((only.block,), only.cut.rest, (*needed.notes, *only.notes))
        return self._compound(read_blocks(bound, self._catalog), names, request)

    def _compound(self, around: Around, names: tuple[str, ...], request: Request) -> Plan:
        """Blocks whose budgets add up to that of the request, and what is computed from them."""
        if request.options.weights:
            raise RequestRefused(
                "`weights` are for queries that aggregate once", remedy="Leave them out, or ask several queries."
            )
        if names_accuracy(request.options):
            raise RequestRefused(
                "An accuracy can be asked of queries that aggregate once, and of this one only ε can be named.",
                remedy="Ask the aggregates as queries of their own; `explain` predicts the errors here too.",
            )
        shapes = {
            name: self._blocks.shape(block, tuple(block.named_selects), request)
            for name, block in around.blocks.items()
        }
        whole = sum(shape.difficulty for shape in shapes.values())
        planned: dict[str, PlannedBlock] = {}
        for number, (name, shape) in enumerate(shapes.items(), start=1):
            share = (shape.difficulty / whole if whole else 1 / len(shapes)) * WITHIN
            own = request.model_copy(update={"epsilon": request.epsilon * share, "delta": request.delta * share})
            planned[name] = plan_block(shape, f"{MERGED}{number}" if number > 1 else MERGED, own)
        above = {name: _above(one) for name, one in planned.items()}
        notes = tuple(dict.fromkeys(note for one in planned.values() for note in one.notes))
        return Plan(tuple(one.block for one in planned.values()), compound_rest(around, above, names), notes)


def _above(planned: PlannedBlock) -> AboveBlock:
    block, cut = planned.block, planned.cut
    noisy = {column.name: is_noisy for column, is_noisy in zip(cut.rest.columns, cut.noisy, strict=True)}
    return AboveBlock(cut.above, block.name, block.simulated_name, noisy)


def _names(query: exp.Query) -> tuple[str, ...]:
    """Names of the answer's columns: alias, column name, or the text as written; made distinct."""
    found: list[str] = []
    for item in query.selects:
        name = item.alias_or_name if item.alias or isinstance(item, exp.Column) else shown(item)
        taken = found.count(name)
        number = 1
        while taken and f"{name}_{number}" in found:
            number += 1
        found.append(f"{name}_{number}" if taken else name)
    return tuple(found)
