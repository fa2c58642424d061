"""Accuracy first: the least ε with which the columns of an answer err as little as a researcher asks.

How much a column errs is predicted before anything is released (privacy/prediction.py), over all nodes and in the row
that errs most. So coordinator and node find the same ε, on the numbers of three digits, where the error is that of the
very plan that the ε gives. The same accuracy asked twice is the same release.

Errors fall as ε grows, but for where the planner changes its mind, from Gaussian noise to Laplace say: there a column
may come to err more. So the search goes from one such place to the next (`_first`), and what it finds is the least.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from privacy.errors import RequestRefused
from privacy.prediction import Predicted, Prediction
from privacy.request import Options, Request, by_column
from privacy.slopes import Column

_DIGITS = 900  # numbers of three digits: 100 to 999
_LEAST_EXPONENT = -8
_PLACES = _DIGITS * 15 + 1  # from 1e-6 to 1e9
_MANY_ROWS = 1e9  # more than anybody expects


@dataclass(frozen=True)
class Accurate:
    """A request with the ε that it needs, and what a reader of the answer must know about that."""

    request: Request
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Goal:
    """How much one column may err.

    Attributes:
        place: of the column in the answer.
        absolute, relative: its error, and that as a part of a count of the expected rows; ∞ where nothing is asked.
        by_rows: whether its error hangs on the rows behind it.
    """

    name: str
    place: int
    absolute: float
    relative: float
    by_rows: bool


@dataclass(frozen=True)
class _Reached:
    """How far a goal is from what is asked: its error, what it may be, and what part of that it is."""

    share: float
    goal: _Goal
    error: float
    most: float


def names_accuracy(options: Options) -> bool:
    """Whether a researcher says how large an error may be."""
    named = (options.max_standard_error, options.max_relative_error, options.expected_rows)
    return any(size is not None for size in named)


def accurate(names: Sequence[str], request: Request, prediction: Prediction) -> Accurate:
    """`request` with the least ε, of what it allows, that is as accurate as it asks.

    Args:
        names: of the answer's columns.

    Raises:
        RequestRefused: all that it allows is not enough, or what it asks has no meaning for this query.
    """
    options = request.options
    if not names_accuracy(options):
        return Accurate(request)
    goals, rows = _goals(names, options, prediction), options.expected_rows
    known: dict[float, Predicted | None] = {request.epsilon: prediction.of(request, rows)}

    def at(epsilon: float) -> Predicted | None:
        if epsilon not in known:
            known[epsilon] = _tried(prediction, request.model_copy(update={"epsilon": epsilon}), rows)
        return known[epsilon]

    def enough(epsilon: float) -> bool:
        found = at(epsilon)
        return found is not None and _farthest(goals, found, rows).share <= 1

    def choices(epsilon: float) -> Hashable:
        found = at(epsilon)
        return None if found is None else found.choices

    places = [*range(bisect_right(range(_PLACES), request.epsilon, key=_epsilon))]
    if not enough(request.epsilon):
        needed = bisect_left(range(_PLACES), True, lo=len(places), key=lambda place: enough(_epsilon(place)))
        reached = at(request.epsilon)
        assert reached is not None
        raise _out_of_reach(request, _farthest(goals, reached, rows), _epsilon(needed) if needed < _PLACES else None)
    epsilon = _first([*map(_epsilon, places), request.epsilon], enough, choices)
    found = at(epsilon)
    assert found is not None
    note = _note(names, epsilon, goals, found, rows)
    return Accurate(request.model_copy(update={"epsilon": epsilon}), (note,))


def _epsilon(place: int) -> float:
    """The number of three digits at `place`, counted from the least."""
    exponent, digits = divmod(place, _DIGITS)
    return float(f"{digits + 100}e{exponent + _LEAST_EXPONENT}")


def _tried(prediction: Prediction, request: Request, rows: float | None) -> Predicted | None:
    """None for so small an ε that no group could be shown."""
    try:
        return prediction.of(request, rows)
    except RequestRefused:
        return None


def _first(epsilons: Sequence[float], enough: Callable[[float], bool], choices: Callable[[float], Hashable]) -> float:
    """The least of `epsilons`, which rise, that is enough; the last one is.

    Those with the same choices lie together, and among them `enough` turns from false to true at most once.
    """
    begin, end = 0, len(epsilons) - 1
    while (own := choices(epsilons[begin])) != choices(epsilons[end]):
        change = bisect_left(epsilons, True, lo=begin, hi=end, key=lambda epsilon: choices(epsilon) != own)
        if enough(epsilons[change - 1]):
            end = change - 1
        else:
            begin = change
    return epsilons[bisect_left(epsilons, True, lo=begin, hi=end, key=enough)]


def _farthest(goals: Sequence[_Goal], predicted: Predicted, rows: float | None) -> _Reached:
    """The goal that is farthest from reached, in the level where it is."""
    found = []
    for level in predicted.levels:
        for goal in goals:
            most, error = min(goal.absolute, goal.relative * (rows or 1) * level.holds), level.columns[goal.place].error
            found.append(_Reached(error / most, goal, error, most))
    return max(found, key=lambda reached: reached.share)


# What is asked.


def _goals(names: Sequence[str], options: Options, prediction: Prediction) -> list[_Goal]:
    if prediction.has_open_totals:
        raise RequestRefused(
            "Totals of groups that nobody can list err by how many groups are shown, which nobody knows beforehand.",
            remedy="Leave ROLLUP, CUBE and GROUPING SETS out, or group by keys with a public domain.",
        )
    absolute, relative = by_column(options.max_standard_error), by_column(options.max_relative_error)
    rows = options.expected_rows
    if not absolute and not relative:
        raise _rows_alone()
    for name in (*absolute, *relative):
        if name and name not in names:
            raise RequestRefused(
                f"There is no column `{name}` to be accurate.", remedy=f"Columns are {_listed(names)}."
            )
    if relative and rows is None:
        raise RequestRefused(
            "`max_relative_error` needs a size to be relative to, and no data are looked at for it.",
            remedy="Say how large a count you expect: expected_rows = 1000; or name max_standard_error.",
        )
    counted = prediction.without_noise(None)
    expected = counted if rows is None else prediction.without_noise(rows)
    goals = []
    for place, name in enumerate(names):
        most = _absolute(name, place, absolute, expected, prediction)
        share = _relative(name, counted[place], relative)
        if min(most, share) < math.inf:
            goals.append(_Goal(name, place, most, share, math.isinf(counted[place].error)))
    if not goals:
        raise _nothing_to_reach(names, counted, prediction)
    tells = any(column.error > known.error for column, known in zip(counted, expected, strict=True))
    if rows is not None and not relative and not tells:
        raise _rows_alone()
    return goals


def _rows_alone() -> RequestRefused:
    return RequestRefused(
        "`expected_rows` is given without `max_relative_error`, and without an average whose error it could tell.",
        remedy="Name both, or leave it out.",
    )


def _absolute(
    name: str, place: int, most: Mapping[str, float], expected: Sequence[Column], prediction: Prediction
) -> float:
    """The most that a column may err; ∞ where nothing is asked of it, or can be said."""
    column = expected[place]
    if name in most and name:
        if not column.kinds:
            raise RequestRefused(f"`{name}` has no noise, so it does not err.", remedy="Name a column with noise.")
        if math.isinf(column.error):
            raise _unforeseen(name, place, prediction)
    elif not column.kinds or math.isinf(column.error):
        return math.inf
    return min((limit for named, limit in most.items() if named in ("", name)), default=math.inf)


def _relative(name: str, column: Column, most: Mapping[str, float]) -> float:
    """The same as a share of a count; `column` is what is known of it without any expected rows."""
    limit = min((limit for named, limit in most.items() if named in ("", name)), default=math.inf)
    sums = math.isfinite(column.error) and column.kinds
    if limit == math.inf or (name not in most and not sums):
        return math.inf
    if not sums or column.kinds != {"count"}:
        what = "a sum, whose size `expected_rows` does not say" if sums else "none"
        raise RequestRefused(
            f"`max_relative_error` is about counts, and `{name}` is {what}.",
            remedy="Name max_standard_error, in the unit of the column; or the columns that it is for: "
            "max_relative_error = {'n': 0.05}.",
        )
    return limit


def _unforeseen(name: str, place: int, prediction: Prediction) -> RequestRefused:
    if math.isfinite(prediction.without_noise(_MANY_ROWS)[place].error):
        return RequestRefused(
            f"The error of `{name}` hangs on how many rows are behind it, and no data are looked at for that.",
            remedy="Say how many you expect in a group: expected_rows = 1000. Groups with fewer err more.",
        )
    return RequestRefused(
        f"No error of `{name}` can be told beforehand: it hangs on the data, as those of quantiles, standard "
        "deviations, correlations and windows over answers do.",
        remedy="Name columns that are counts, sums, averages or variances; or name epsilon alone: "
        "the answer has error bars.",
    )


def _nothing_to_reach(names: Sequence[str], counted: Sequence[Column], prediction: Prediction) -> RequestRefused:
    noisy = [place for place, column in enumerate(counted) if column.kinds]
    many = prediction.without_noise(_MANY_ROWS)
    by_rows = next((names[place] for place in noisy if math.isfinite(many[place].error)), None)
    if by_rows is not None:
        return RequestRefused(
            f"The query shows no count and no sum, and the error of `{by_rows}` hangs on how many rows are behind it.",
            remedy="Say how many you expect in a group: expected_rows = 1000; or show COUNT(*) too.",
        )
    return RequestRefused(
        f"The query shows no count and no sum, and the error of {_listed(names[place] for place in noisy)} hangs on "
        "the data: no ε can be said to be accurate enough.",
        remedy="Show COUNT(*) too, or name epsilon alone: the answer has error bars.",
    )


# What is said.


def _out_of_reach(request: Request, reached: _Reached, needed: float | None) -> RequestRefused:
    goal = reached.goal
    spent = f"With all of ε = {request.epsilon:g}"
    if math.isinf(reached.share):
        rows = f"{request.options.expected_rows:g}" if request.options.expected_rows is not None else "the"
        more = f"Allow epsilon = {needed:g}, or expect" if needed is not None else "Expect"
        return RequestRefused(
            f"{spent} the error of `{goal.name}` cannot be told: what it is divided by errs by more than a tenth of "
            f"{rows} expected rows.",
            remedy=f"{more} more rows in a group. Fewer columns, and lower max_rows and max_groups, err less.",
        )
    best = f"{_rounded_up(reached.error):g}"
    more = f", or allow epsilon = {needed:g}" if needed is not None else ""
    return RequestRefused(
        f"{spent} the standard error of `{goal.name}` is still {best}; at most {reached.most:g} is asked for.",
        remedy=f"Ask for {best}{more}. Fewer columns, and lower max_rows and max_groups, err less.",
    )


def _rounded_up(error: float) -> float:
    """To three digits, so that it can be asked for."""
    step = 10.0 ** (math.floor(math.log10(error)) - 2) if error > 0 else 1.0
    return math.ceil(error / step) * step


def _note(
    names: Sequence[str], epsilon: float, goals: Sequence[_Goal], predicted: Predicted, rows: float | None
) -> str:
    alike: dict[float, list[str]] = {}
    for goal in goals:
        alike.setdefault(min(goal.absolute, goal.relative * (rows or 1)), []).append(goal.name)
    kept = " and of ".join(f"{_listed(those)} within {most:g}" for most, those in alike.items())
    by_rows = any(goal.by_rows for goal in goals)
    behind = f", where {rows:g} rows are expected in a group" if by_rows else ""
    said = f"ε = {epsilon:g} is the least that keeps the standard error of {kept}{behind}."
    asked, columns = {goal.place for goal in goals}, predicted.levels[0].columns
    others = [name for place, name in enumerate(names) if columns[place].kinds and place not in asked]
    if others:
        said += f" It says nothing of {_listed(others)}."
    if len(goals) > 1:
        said += f" `{_farthest(goals, predicted, rows).goal.name}` needs the most."
    return said


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
