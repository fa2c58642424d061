"""Two nodes that differ by one person, and what a release may show of the difference."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pyarrow as pa

from node.guard import Asked
from node.release import Released
from privacy.catalog import Catalog, parse_catalog
from privacy.dense import dense
from privacy.errors import QueryRefused, WeirError
from privacy.fragment import MERGED, Fragment, Measure, Threshold
from privacy.pairs import apart
from privacy.planner import Planner
from privacy.request import Request
from tests.attacks.local_node import LocalNode, local_node

_ROUNDING = 1 + 1e-9


@dataclass(frozen=True)
class Neighbours:
    """The node of one province with and without one person's rows.

    Attributes:
        planner: what coordinator and node share.
    """

    catalog: Catalog
    planner: Planner
    province: str
    with_person: LocalNode
    without: LocalNode

    def assert_refused(self, sql: str) -> str:
        """`sql` is refused in the planner and at both nodes, with the same text and for nothing; returns the text."""
        before = self.spent
        request = Request.new(sql, epsilon=1.0, nonce="0" * 32, expires_unix_s=2**40)
        texts = {_refusal(self.planner.plan, request)}
        forged = self.asked("SELECT COUNT(*) FROM visits").fragment
        asked = Asked(request.encode(), MERGED, forged, self.catalog.digest)
        for node in (self.with_person, self.without):
            texts |= {_refusal(node.releases.prepare, asked), _refusal(node.release, asked)}
        assert len(texts) == 1, texts
        assert self.spent == before
        return texts.pop()

    def assert_bounded(
        self, sql: str, *, epsilon: float = 1.0, delta: float = 1e-9, release: bool = True, **options: int
    ) -> bool:
        """`sql` is refused, or answered by both nodes alike and with statistics that differ as little as declared.

        Args:
            release: also through guard, ledger and noise.

        Returns:
            whether it is answered.
        """
        request = Request.new(
            sql, epsilon=epsilon, delta=delta, nonce="0" * 32, expires_unix_s=2**40, options=dict(options)
        )
        try:
            fragments = self.planner.plan(request).blocks[0].fragments
        except QueryRefused:
            self.assert_refused(sql)
            return False
        different = {replace(fragment, province=""): fragment for fragment in fragments.values()}
        for fragment in different.values():
            one, other = self.with_person.exact(fragment), self.without.exact(fragment)
            assert_within(fragment, one, other)
            if release and fragment.bounding.form != "none":  # nodes of large tables come to the same numbers
                for node, small in ((self.with_person, one), (self.without, other)):
                    wide = _over(fragment, small)
                    assert _sums(wide, node.exact(fragment, large=True)) == _sums(wide, small)
        if release and self.province in fragments:
            self._assert_released_alike(Asked(request.encode(), MERGED, fragments[self.province], self.catalog.digest))
        return True

    def answers(self, sql: str) -> bool:
        """Whether `sql` is answered at all."""
        try:
            self.planner.plan(Request.new(sql, epsilon=1.0, nonce="0" * 32, expires_unix_s=2**40))
        except QueryRefused:
            return False
        return True

    def _assert_released_alike(self, asked: Asked) -> None:
        replies = [node.release(asked) for node in (self.with_person, self.without)]
        assert len({(reply.epsilon_charged, reply.already_released) for reply in replies}) == 1
        assert self.spent[0] == self.spent[1] > 0
        one, other = (table_of(reply) for reply in replies)
        assert one.schema == other.schema
        if asked.fragment.threshold is None:  # else the groups are part of what is noisy
            keys = [key.name for key in asked.fragment.keys]
            assert one.select(keys) == other.select(keys)

    def asked(self, sql: str, *, epsilon: float = 1.0, **fields: object) -> Asked:
        """What an honest coordinator sends."""
        request = Request.new(sql, epsilon=epsilon, nonce="0" * 32, expires_unix_s=2**40, **fields)  # type: ignore[arg-type]
        fragment = self.planner.plan(request).blocks[0].fragments[self.province]
        return Asked(request.encode(), MERGED, fragment, self.catalog.digest)

    @property
    def spent(self) -> tuple[float, float]:
        return self.with_person.epsilon_spent, self.without.epsilon_spent


@contextlib.contextmanager
def neighbours(
    folder: Path,
    catalog: str,
    with_person: Mapping[str, pa.Table | bytes],
    without: Mapping[str, pa.Table | bytes],
    *,
    province: str,
) -> Iterator[Neighbours]:
    standard, planner = _planner(catalog)
    with (
        local_node(folder / "with", catalog, with_person, province=province) as one,
        local_node(folder / "without", catalog, without, province=province) as other,
    ):
        yield Neighbours(standard, planner, province, one, other)


@cache
def _planner(catalog: str) -> tuple[Catalog, Planner]:
    standard = parse_catalog(catalog, source="catalog.toml")
    return standard, Planner(standard)


def table_of(released: Released) -> pa.Table:
    return pa.ipc.open_stream(released.release).read_all()


def assert_within(fragment: Fragment, one: pa.Table, other: pa.Table) -> None:
    """The exact statistics, dense over the cells, differ by no more than declared: each measure and all together."""
    sums = _common(fragment, fragment.threshold, one, other) if fragment.threshold is not None else (one, other)
    loss, moved = 0.0, dict[str, list[int]]()
    with_person, without = (_sums(_over(fragment, sums[0]), table) for table in sums)
    for measure in fragment.measures:
        both = with_person[measure.name], without[measure.name]
        changes = [ours - theirs for ours, theirs in zip(*both, strict=True)]
        l1, l2 = sum(map(abs, changes)), math.sqrt(sum(change**2 for change in changes))
        assert l1 <= measure.sensitivity, (measure, l1)
        assert l2 <= measure.sensitivity_l2 * _ROUNDING, (measure, l2)
        moved[measure.name] = changes
        if measure.scale and measure.mechanism != "laplace_pair":
            loss += l1 / measure.scale if measure.mechanism == "laplace" else (l2 / measure.scale) ** 2 / 2
    loss += sum(_loss_of_pair(fragment, total, moved) for total in fragment.measures)
    assert loss <= (fragment.charge.epsilon + fragment.charge.rho) * _ROUNDING


def _sums(fragment: Fragment, exact: pa.Table) -> dict[str, list[int]]:
    """By measure."""
    return {name: vector.tolist() for name, vector in dense(fragment, exact).items()}


def _loss_of_pair(fragment: Fragment, total: Measure, moved: Mapping[str, list[int]]) -> float:
    """What a count and a centred sum that have their noise together spend on such a change (privacy/pairs.py)."""
    if total.mechanism != "laplace_pair" or total.weight is None:
        return 0.0
    count = next(measure for measure in fragment.measures if measure.name == total.weight)
    parts = apart(moved[count.name], moved[total.name], total.low, total.high)
    return sum(map(abs, parts)) / ((total.high - total.low) * count.scale)


def _over(fragment: Fragment, groups: pa.Table) -> Fragment:
    """`fragment` with the groups of a result as its cells, where it has no list of its own."""
    if fragment.threshold is None:
        return fragment
    cells = groups.select([key.name for key in fragment.keys])
    return replace(fragment, cells=cells, cell_count=cells.num_rows)


def _common(fragment: Fragment, threshold: Threshold, one: pa.Table, other: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The groups that are looked at with and without the person.

    Those that are looked at with the person alone are as many as one person may touch, and as small as can be: the
    threshold's δ is for them (test_thresholds.py). None is looked at only without.
    """
    keys = [key.name for key in fragment.keys]
    groups = [list(zip(*(table.column(key).to_pylist() for key in keys), strict=True)) for table in (one, other)]
    known = [{repr(group) for group in side} for side in groups]  # by their texts: NaN is not itself
    assert known[1] <= known[0]
    own = [repr(group) not in known[1] for group in groups[0]]
    assert sum(own) <= fragment.bounding.max_groups
    counts = one.filter(pa.array(own, pa.bool_())).column(threshold.measure).to_pylist()
    assert all(int(count) == threshold.least for count in counts)
    return one.filter(pa.array([not mine for mine in own], pa.bool_())), other


def _refusal(attempt: Callable[..., object], asked: object) -> str:
    """The text of the typed refusal that `attempt` must raise."""
    try:
        attempt(asked)
    except QueryRefused as refused:
        return json.dumps([refused.code, str(refused)])
    except WeirError as other:
        raise AssertionError(f"refused as {type(other).__name__}") from other
    raise AssertionError("not refused")
