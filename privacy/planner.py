"""Request → plan: the pure function that coordinator and node both run (design.md §4, steps 2–4)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from sqlglot import exp

from privacy.accuracy import accurate
from privacy.binding import Names, bind
from privacy.block_planner import BlockPlanner, PlannedBlock, Shape
from privacy.blocks import Around, is_one_block, read_blocks
from privacy.catalog import Catalog
from privacy.compound import AboveBlock, compound_rest
from privacy.errors import RequestRefused, SyntaxRefused
from privacy.fragment import MERGED, Plan
from privacy.parsing import Written, parse
from privacy.pivot import without_pivot
from privacy.positions import shown
from privacy.prediction import Prediction
from privacy.remembered import Remembered
from privacy.request import Options, Request
from privacy.sharing import plan_blocks

_REMEMBERED, _REMEMBERED_BYTES = 128, 2**26
_BYTES_A_CHARACTER = 1_000  # of SQL, that its trees take
_Asked = tuple[str, float, str]  # SQL, δ, options: all that a reading depends on


@dataclass(frozen=True)
class _Reading:
    """A query that is read and cut, whatever ε is.

    Attributes:
        names: of the answer's columns.
        shapes: of its blocks.
        around: what is around the blocks; None where the whole query is one.
    """

    written: Written
    names: tuple[str, ...]
    shapes: dict[str, Shape]
    around: Around | None


class Planner:
    """Plans requests against one catalog. Thread-safe; the same request gives the same plan on every machine.

    What took long is remembered by the text as it is written: the plan, which a node needs to prepare and to release,
    and the reading, which the same query with another ε needs. Literals are a part of the text: bounds hang on them.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._names = Names(catalog)
        self._blocks = BlockPlanner(catalog)
        self._readings: Remembered[_Asked, _Reading] = Remembered(_REMEMBERED, _REMEMBERED_BYTES, _reading_bytes)
        self._plans: Remembered[tuple[_Asked, float, bool], Plan] = Remembered(
            _REMEMBERED, _REMEMBERED_BYTES, _plan_bytes
        )

    def plan(self, request: Request) -> Plan:
        """Fragments for every province that has rows to contribute, and the rest.

        Raises:
            QueryRefused: with the construct, its position and what to write instead.
        """
        asked = request.sql, request.delta, request.options.model_dump_json()  # nonce and expiry change no plan
        try:
            return self._plans.get(
                (asked, request.epsilon, request.explains),
                lambda: self._planned(request, self._readings.get(asked, lambda: self._read(request))),
            )
        except RecursionError:
            raise SyntaxRefused("The query is nested too deeply.", remedy="Write it with fewer parentheses.") from None

    def _read(self, request: Request) -> _Reading:
        written = parse(request.sql)
        request = written.clause.tightened(request)
        options, delta = request.options, request.delta
        query = without_pivot(written.query, self._catalog)
        assert isinstance(query, exp.Query)
        names = () if query.is_star or query.find(exp.Columns) else _names(query)  # as they are written
        bound = bind(query, self._names)
        names = names or _names(bound)
        if is_one_block(bound, self._catalog):
            assert isinstance(bound, exp.Select)
            return _Reading(written, names, {MERGED: self._blocks.shape(bound, names, options, delta=delta)}, None)
        around = read_blocks(bound, self._catalog)
        _check_compound(options)
        shapes = {
            name: self._blocks.shape(block, tuple(block.named_selects), options, delta=delta)
            for name, block in around.blocks.items()
        }
        return _Reading(written, names, shapes, around)

    def _planned(self, request: Request, reading: _Reading) -> Plan:
        written, shapes, around = reading.written, reading.shapes, reading.around
        explains, request = written.explains or request.explains, written.clause.tightened(request)
        needed = accurate(reading.names, request, Prediction(around, shapes, partial(plan_blocks, shapes)))
        planned = plan_blocks(shapes, needed.request)
        notes = (*needed.notes, *dict.fromkeys(note for one in planned.values() for note in one.notes))
        blocks = tuple(one.block for one in planned.values())
        if around is None:
            return Plan(blocks, next(iter(planned.values())).cut.rest, notes, explains)
        above = {name: _above(one) for name, one in planned.items()}
        return Plan(blocks, compound_rest(around, above, reading.names), notes, explains)


def _check_compound(options: Options) -> None:
    if options.weights:
        raise RequestRefused(
            "`weights` are for queries that aggregate once", remedy="Leave them out, or ask several queries."
        )


def _reading_bytes(asked: _Asked, reading: _Reading) -> int:
    return _BYTES_A_CHARACTER * len(asked[0]) + sum(shape.cells_bytes for shape in reading.shapes.values())


def _plan_bytes(asked: tuple[_Asked, float, bool], plan: Plan) -> int:
    fragments = (fragment for block in plan.blocks for fragment in block.fragments.values())
    sizes: dict[str, int] = {fragment.cells_digest: fragment.cells.nbytes for fragment in fragments}
    return _BYTES_A_CHARACTER * len(asked[0][0]) + sum(sizes.values())


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
