"""Accuracy first: the least ε with which counts and sums err as little as a researcher asks.

The standard error of a column that is linear in the measures is known before anything is released: it is that of the
noise, over all nodes that add to a cell. So coordinator and node find the same ε, by bisection on the numbers of three
digits, where the error is that of the very plan that the ε gives. The same accuracy asked twice is the same release.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from privacy.block_planner import PlannedBlock, Shape, plan_block
from privacy.errors import RequestRefused
from privacy.fragment import MERGED, Fragment
from privacy.linear import Form
from privacy.noise import variance
from privacy.request import Options, Request

_DIGITS = 900  # numbers of three digits: 100 to 999
_LEAST_EXPONENT = -8
_PLACES = _DIGITS * 15 + 1  # from 1e-6 to 1e9
_MOST_SETS = 62  # of cells, a bit each in an int64


@dataclass(frozen=True)
class Accurate:
    """A request with the ε that it needs, and what a reader of the answer must know about that."""

    request: Request
    notes: tuple[str, ...] = ()


def names_accuracy(options: Options) -> bool:
    """Whether a researcher says how large an error may be."""
    named = (options.max_standard_error, options.max_relative_error, options.expected_rows)
    return any(size is not None for size in named)


def accurate(shape: Shape, request: Request) -> Accurate:
    """`request` with the least ε, of what it allows, that is as accurate as it asks.

    Raises:
        RequestRefused: all that it allows is not enough, or what it asks has no meaning for this query.
    """
    if not names_accuracy(request.options):
        return Accurate(request)
    most = _most_error(request.options)
    _check(shape, request.options)

    def enough(place: int) -> bool:
        try:
            return _worst(shape, request, _epsilon(place))[0] <= most
        except RequestRefused:  # so small an ε that no group could be shown
            return False

    allowed = bisect_right(range(_PLACES), request.epsilon, key=_epsilon)
    reached, column = _worst(shape, request, request.epsilon)
    if reached > most:
        needed = bisect_left(range(_PLACES), True, lo=allowed, key=enough)
        more = f", or allow epsilon = {_epsilon(needed):g}" if needed < _PLACES else ""
        best = f"{_rounded_up(reached):g}"
        raise RequestRefused(
            f"With all of ε = {request.epsilon:g} the standard error of `{column}` is still {best}; "
            f"at most {most:g} is asked for.",
            remedy=f"Ask for {best}{more}. Fewer columns, and lower max_rows and max_groups, err less.",
        )
    found = bisect_left(range(allowed), True, key=enough)
    epsilon = _epsilon(found) if found < allowed else request.epsilon
    return Accurate(request.model_copy(update={"epsilon": epsilon}), (_note(shape, epsilon, most),))


def _epsilon(place: int) -> float:
    """The number of three digits at `place`, counted from the least."""
    exponent, digits = divmod(place, _DIGITS)
    return float(f"{digits + 100}e{exponent + _LEAST_EXPONENT}")


def _most_error(options: Options) -> float:
    found = [options.max_standard_error] if options.max_standard_error is not None else []
    if options.max_relative_error is None:
        if options.expected_rows is not None:
            raise RequestRefused("`expected_rows` is given without `max_relative_error`.", remedy="Name both.")
    else:
        if options.expected_rows is None:
            raise RequestRefused(
                "`max_relative_error` needs a size to be relative to, and no data are looked at for it.",
                remedy="Say how large a count you expect: expected_rows = 1000; or name max_standard_error.",
            )
        found.append(options.max_relative_error * options.expected_rows)
    return min(found)


def _linear(shape: Shape) -> dict[str, Form]:
    """By column of the answer, how the noise shows in it; without those whose error hangs on their value."""
    return {column.name: column.linear for column in shape.fitted.cut.rest.columns if column.linear is not None}


def _check(shape: Shape, options: Options) -> None:
    columns = _linear(shape)
    if not columns:
        raise RequestRefused(
            "The query shows no count and no sum, so no ε can be said to be accurate enough.",
            remedy="Show COUNT(*) too: an average's error is what `explain` predicts, divided by the rows behind it.",
        )
    if shape.fitted.cut.grouping_sets:
        raise RequestRefused(
            "Totals err otherwise than their parts, so one accuracy for several levels has no meaning.",
            remedy="Ask for one level, without ROLLUP, CUBE and GROUPING SETS; or name epsilon alone.",
        )
    counts = {measure.name for measure in shape.fitted.cut.measures if measure.kind in ("count", "units")}
    other = next((name for name, form in columns.items() if not {measure for measure, _ in form} <= counts), None)
    if options.max_relative_error is not None and other is not None:
        raise RequestRefused(
            f"`max_relative_error` is about counts, and `{other}` is a sum, whose size `expected_rows` does not say.",
            remedy="Name max_standard_error, in the unit of the sum; or ask for counts and sums apart.",
        )


def _worst(shape: Shape, request: Request, epsilon: float) -> tuple[float, str]:
    """The greatest predicted standard error of a linear column, and which it is."""
    planned = plan_block(shape, MERGED, request.model_copy(update={"epsilon": epsilon}))
    return max((error, name) for name, error in column_errors(planned).items())


def column_errors(planned: PlannedBlock) -> dict[str, float]:
    """By linear column of the answer, its predicted standard error over all nodes, in the cell where it is greatest."""
    fragments = planned.block.fragments
    together = _together(fragments)
    found: dict[str, float] = {}
    for column in planned.cut.rest.columns:
        if column.linear is not None:
            by_province = {name: _variance(fragment, dict(column.linear)) for name, fragment in fragments.items()}
            found[column.name] = math.sqrt(max(math.fsum(map(by_province.__getitem__, names)) for names in together))
    return found


def _variance(fragment: Fragment, form: Mapping[str, float]) -> float:
    """Of one node's noise of Σ coefficient × measure; a pair's two measures are uncorrelated (privacy/pairs.py)."""
    return math.fsum(
        form.get(measure.name, 0.0) ** 2 * variance(measure.mechanism, measure.scale) for measure in fragment.measures
    )


def _together(fragments: Mapping[str, Fragment]) -> list[list[str]]:
    """The sets of provinces that add to one cell, each once."""
    tables = {fragment.cells_digest: fragment.cells for fragment in fragments.values()}
    if len(tables) == 1 or len(tables) > _MOST_SETS:
        return [list(fragments)]
    tagged = [
        table.append_column("tag", pa.array([1 << place] * table.num_rows, pa.int64()))
        for place, table in enumerate(tables.values())
    ]
    keys = [name for name in tagged[0].column_names if name != "tag"]
    masks = pa.concat_tables(tagged).group_by(keys).aggregate([("tag", "sum")]).column("tag_sum").unique().to_pylist()
    places = {digest: place for place, digest in enumerate(tables)}
    return [
        [name for name, fragment in fragments.items() if mask >> places[fragment.cells_digest] & 1]
        for mask in sorted(masks)
    ]


def _rounded_up(error: float) -> float:
    """To three digits, so that it can be asked for."""
    step = 10.0 ** (math.floor(math.log10(error)) - 2) if error > 0 else 1.0
    return math.ceil(error / step) * step


def _note(shape: Shape, epsilon: float, most: float) -> str:
    columns = _linear(shape)
    others = [column.name for column in shape.fitted.cut.rest.columns if column.noisy and column.name not in columns]
    beside = f" It says nothing of {_listed(others)}." if others else ""
    return f"ε = {epsilon:g} is the least that keeps the standard error of {_listed(columns)} within {most:g}.{beside}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
