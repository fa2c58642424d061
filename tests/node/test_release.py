"""A release with every part that it talks to replaced, or real, as the test needs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pytest

from node.guard import Asked
from node.ledger import Ledger
from node.one_at_a_time import OneAtATime
from node.release import Releases, release_id
from node.snapshot import Snapshot
from privacy.bounding import bounded_sql
from privacy.errors import BudgetRefused, DataError, InternalError, RequestRefused, WeirError
from privacy.fragment import Fragment
from privacy.request import Request
from tests.node.makers import PURPOSE, asked, catalog, open_ledger, pure
from tests.node.test_guard import guard

SQL = "SELECT kind, COUNT(*) FROM visits GROUP BY kind"


@dataclass
class FakeEngine:
    """Counts its runs; fails as long as `broken`."""

    name: str = "fake 1"
    broken: bool = False
    runs: list[str] = field(default_factory=list)
    gate: Callable[[], None] = lambda: None

    def run(self, sql: str, *, long: bool = False) -> pa.Table:
        self.runs.append(sql)
        self.gate()
        if self.broken:
            raise InternalError("The node's engine could not finish the query.")
        return pa.table({"k0": ["inpatient"], "m0": [7]})


@dataclass
class FakeData:
    """Two snapshots: what it says now, and whether that is sound."""

    now: str = "snapshot-1"
    label: str = ""
    sound: bool = True

    def snapshot(self) -> Snapshot:
        return Snapshot(self.label or self.now, self.now)

    def verify(self, current: Snapshot) -> None:
        if not self.sound:
            raise DataError("This node's data do not meet the regional standard, so it answers nothing.")


def exact(fragment: Fragment, table: pa.Table) -> pa.Table:
    return table


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with contextlib.closing(open_ledger(tmp_path / "ledger", total=1.0)) as opened:
        yield opened


@pytest.fixture
def releases(ledger: Ledger) -> Releases:
    return Releases(
        guard=guard(),
        ledger=ledger,
        engine=FakeEngine(),
        data=FakeData(),
        bounded_sql=bounded_sql,
        noise=exact,
        one_at_a_time=OneAtATime(timeout_s=60),
    )


TWO = (
    "SELECT (SELECT COUNT(*) FROM visits WHERE kind = 'inpatient') - (SELECT COUNT(*) FROM visits WHERE age > 50) AS d"
)


def test_blocks_of_one_query_are_checked_together_so_that_none_is_charged_where_not_all_fit(
    releases: Releases, ledger: Ledger
) -> None:
    """Each of the two costs ε = 0.75 here, and 1 is left: either would fit alone."""
    first = asked(TWO, epsilon=3.0)
    assert first.fragment.epsilon == pytest.approx(0.75)
    generous = replace(releases, guard=guard(epsilon_per_query=10.0))
    for block in ("merged", "merged2"):
        with pytest.raises(BudgetRefused):
            generous.prepare(asked(TWO, epsilon=3.0, block=block))
    assert ledger.balance().total.epsilon_spent == 0


def test_a_query_limit_holds_for_all_blocks_together(releases: Releases) -> None:
    with pytest.raises(RequestRefused, match="one query may spend at most"):
        releases.prepare(asked(TWO, epsilon=5.0))  # 1.25 a block, 2.5 in all, of 2


def test_a_block_that_was_released_is_free_beside_one_that_was_not(releases: Releases, ledger: Ledger) -> None:
    releases.release(asked(TWO, epsilon=1.6))
    assert releases.prepare(asked(TWO, epsilon=1.6)).already_released
    assert not releases.prepare(asked(TWO, epsilon=1.6, block="merged2")).already_released
    releases.release(asked(TWO, epsilon=1.6, block="merged2"))
    assert ledger.balance().total.epsilon_spent == pytest.approx(0.8)


def test_a_release_is_charged_stored_and_the_same_again_free(releases: Releases) -> None:
    first, second = releases.release(asked(SQL)), releases.release(asked(SQL))
    assert (first.epsilon_charged, first.already_released) == (0.5, False)
    assert (second.epsilon_charged, second.already_released) == (0.0, True)
    assert first.release == second.release
    assert pa.ipc.open_stream(first.release).read_all().to_pydict() == {"k0": ["inpatient"], "m0": [7]}
    assert first.snapshot == "snapshot-1"
    assert second.budget.balance.total.epsilon_left == 0.5
    assert second.budget.epsilon_per_query == 2.0
    assert len(releases.engine.runs) == 1


def _as_explanation(query: Asked) -> Asked:
    return replace(query, request=Request.decode(query.request).model_copy(update={"explains": True}).encode())


@pytest.mark.parametrize("explained", [asked(f"EXPLAIN {SQL}"), _as_explanation(asked(SQL))], ids=["word", "field"])
def test_an_explain_is_prepared_and_never_released(releases: Releases, ledger: Ledger, explained: Asked) -> None:
    """Also where the release that it explains is in the ledger."""
    assert explained.fragment == asked(SQL).fragment
    assert not releases.prepare(explained).already_released
    with pytest.raises(RequestRefused, match="explanation") as refused:
        releases.release(explained)
    assert "without EXPLAIN" in refused.value.remedy
    assert (ledger.balance().total.epsilon_spent, releases.engine.runs) == (0, [])
    releases.release(asked(SQL))
    assert releases.prepare(explained).already_released
    assert releases.prepare(explained).stored is None
    with pytest.raises(RequestRefused, match="explanation"):
        releases.release(explained)


def test_other_data_are_another_release(releases: Releases) -> None:
    releases.release(asked(SQL))
    releases.data.now = "snapshot-2"
    assert releases.release(asked(SQL)).epsilon_charged == 0.5
    assert len(releases.engine.runs) == 2


def test_with_a_label_the_operator_says_what_are_other_data(releases: Releases) -> None:
    releases.data.label = "2026-Q3"
    first = releases.release(asked(SQL))
    releases.data.now = "snapshot-2"
    second = releases.release(asked(SQL))
    assert (first.snapshot, second.snapshot, second.already_released) == ("2026-Q3", "2026-Q3", True)
    releases.data.label = "2026-Q4"
    assert not releases.release(asked(SQL)).already_released


def test_with_a_label_too_a_query_during_which_files_change_gives_no_answer(releases: Releases) -> None:
    def change() -> None:
        releases.data.now = "snapshot-2"

    releases.data.label = "2026-Q3"
    releases.engine.gate = change
    with pytest.raises(DataError, match="changed while"):
        releases.release(asked(SQL))


def test_preparing_reads_nothing_and_charges_nothing(releases: Releases) -> None:
    prepared = releases.prepare(asked(SQL))
    assert not prepared.already_released
    assert prepared.engine == "fake 1"
    assert "SELECT" in prepared.engine_sql
    assert not releases.engine.runs
    assert prepared.budget.balance.total.epsilon_spent == 0
    releases.release(asked(SQL))
    assert releases.prepare(asked(SQL)).already_released


def test_preparing_what_was_released_gives_the_stored_answer(releases: Releases, ledger: Ledger) -> None:
    """The one that Release would give, free; nothing else goes with it."""
    assert releases.prepare(asked(SQL)).stored is None
    releases.release(asked(SQL))
    stored = releases.prepare(asked(SQL)).stored
    assert stored == releases.release(asked(SQL))
    assert stored is not None
    assert (stored.epsilon_charged, stored.already_released) == (0.0, True)
    assert releases.prepare(asked(SQL, epsilon=0.25)).stored is None
    releases.data.now = "snapshot-2"
    assert releases.prepare(asked(SQL)).stored is None
    assert len(releases.engine.runs) == 1
    assert ledger.balance().total.epsilon_spent == 0.5


def test_the_secret_goes_to_the_engine_and_to_nobody_else(releases: Releases, ledger: Ledger) -> None:
    limited = asked("SELECT DATE_TRUNC('month', day) AS month, COUNT(*) FROM visits GROUP BY month")
    assert limited.fragment.bounding.form == "clip_and_limit"
    assert ledger.secret not in releases.prepare(limited).engine_sql
    releases.release(limited)
    assert ledger.secret in releases.engine.runs[0]


def test_what_does_not_fit_is_refused_before_anything_runs(releases: Releases) -> None:
    releases.release(asked(SQL, epsilon=1.5))
    another = asked("SELECT COUNT(*) FROM visits", epsilon=1.0)
    for attempt in (releases.prepare, releases.release):
        with pytest.raises(BudgetRefused, match=r"0\.25 of 1 left"):
            attempt(another)
    assert releases.budget().balance.total.epsilon_spent == 0.75
    assert releases.release(asked(SQL, epsilon=1.5)).already_released  # a spent budget still answers what it bought


def test_refusals_charge_nothing(releases: Releases) -> None:
    with pytest.raises(RequestRefused):
        releases.release(asked(SQL, epsilon=5.0))
    releases.data.sound = False
    for attempt in (releases.prepare, releases.release):
        with pytest.raises(DataError):
            attempt(asked(SQL))
    assert releases.budget().balance.total.epsilon_spent == 0
    assert not releases.engine.runs


def test_a_failed_run_stays_charged_and_its_retry_is_free(releases: Releases) -> None:
    releases.engine.broken = True
    with pytest.raises(InternalError):
        releases.release(asked(SQL))
    assert releases.budget().balance.total.epsilon_spent == 0.5
    releases.engine.broken = False
    retry = releases.release(asked(SQL))
    assert (retry.epsilon_charged, retry.already_released) == (0.0, False)
    assert releases.budget().balance.total.epsilon_spent == 0.5


def test_data_that_change_while_the_engine_runs_give_no_answer(releases: Releases, ledger: Ledger) -> None:
    def change() -> None:
        releases.data.now = "snapshot-2"

    releases.engine.gate = change
    with pytest.raises(DataError, match="changed while"):
        releases.release(asked(SQL))
    fragment = asked(SQL).fragment
    old = release_id(fragment, snapshot="snapshot-1", catalog_digest=catalog().digest)
    assert ledger.reserve(old, charge=pure(0.5), purpose=PURPOSE).answer is None


def test_duplicates_at_once_run_once_and_get_the_same_bytes(releases: Releases) -> None:
    counter = iter(range(100))
    draws = replace(releases, noise=lambda fragment, table: table.append_column("draw", [[next(counter)]]))
    together = threading.Barrier(6)

    def one(_: int) -> tuple[bytes, float]:
        together.wait(timeout=60)
        released = draws.release(asked(SQL))
        return released.release, released.epsilon_charged

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(one, range(6)))
    assert len({answer for answer, _ in found}) == 1
    assert sorted(charged for _, charged in found) == [0, 0, 0, 0, 0, 0.5]
    assert len(releases.engine.runs) == 1


def test_the_identity_covers_fragment_snapshot_and_catalog() -> None:
    fragment = asked(SQL).fragment
    ids = {
        release_id(fragment, snapshot="a", catalog_digest="c"),
        release_id(fragment, snapshot="b", catalog_digest="c"),
        release_id(fragment, snapshot="a", catalog_digest="d"),
        release_id(asked(SQL, epsilon=0.5).fragment, snapshot="a", catalog_digest="c"),
        release_id(asked(SQL, province="west").fragment, snapshot="a", catalog_digest="c"),
        release_id(replace(fragment, cells_digest="x"), snapshot="a", catalog_digest="c"),
    }
    assert len(ids) == 6
    again = replace(asked(SQL).fragment, cells=pa.table({}))
    assert release_id(again, snapshot="a", catalog_digest="c") in ids


SPELLINGS = [
    "SELECT kind, COUNT(*), SUM(cost) FROM visits WHERE sex = 'F' AND (age > 30 OR cost < 5) GROUP BY kind",
    "select Kind as art, count(*) AS n, sum(Cost) total from VISITS where SEX='F' and (AGE>30 or COST<5) group by 1",
    "SELECT kind, COUNT(*), SUM(cost)\n  FROM visits -- of women\n WHERE ((cost < 5 OR age > 30) AND sex = 'F') GROUP BY kind",
    "SELECT v.kind, COUNT(1), SUM(v.cost) FROM visits AS v WHERE (5 > v.cost OR 30 < v.age) AND 'F' = v.sex GROUP BY v.kind",
]


def test_the_same_question_in_other_words_is_the_same_release(releases: Releases) -> None:
    answers = [releases.release(asked(sql)) for sql in SPELLINGS]
    assert [answer.epsilon_charged for answer in answers] == [0.5, 0, 0, 0]
    assert len({answer.release for answer in answers}) == 1
    assert len(releases.engine.runs) == 1
    assert releases.prepare(asked(SPELLINGS[2])).already_released


def test_other_words_at_once_run_once(releases: Releases) -> None:
    together = threading.Barrier(4)

    def one(sql: str) -> float:
        together.wait(timeout=60)
        return releases.release(asked(sql)).epsilon_charged

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(one, SPELLINGS)) == [0, 0, 0, 0.5]
    assert len(releases.engine.runs) == 1


def test_a_retry_in_other_words_after_a_lost_reply_is_free(releases: Releases) -> None:
    lost, retry = (releases.release(asked(sql)) for sql in SPELLINGS[1:3])
    assert (retry.release, retry.epsilon_charged) == (lost.release, 0.0)
    releases.engine.broken = True
    with pytest.raises(InternalError):
        releases.release(asked(SPELLINGS[0], epsilon=0.5))
    releases.engine.broken = False
    paid = releases.release(asked(SPELLINGS[3], epsilon=0.5))  # the charge of the first words pays for these
    assert (paid.epsilon_charged, paid.already_released) == (0.0, False)
    assert releases.budget().balance.total.epsilon_spent == 0.75


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT kind, COUNT(*), SUM(cost) FROM visits WHERE sex = 'M' AND (age > 30 OR cost < 5) GROUP BY kind",
        "SELECT kind, COUNT(*), SUM(cost) FROM visits WHERE sex = 'F' AND (age > 30 AND cost < 5) GROUP BY kind",
        "SELECT kind, COUNT(*), SUM(cost) FROM visits WHERE sex = 'F' AND (age < 30 OR cost < 5) GROUP BY kind",
        "SELECT kind, COUNT(*), SUM(age) FROM visits WHERE sex = 'F' AND (age > 30 OR cost < 5) GROUP BY kind",
    ],
)
def test_another_question_is_another_release(sql: str) -> None:
    ids = {release_id(asked(one).fragment, snapshot="s", catalog_digest="c") for one in (SPELLINGS[0], sql)}
    assert len(ids) == 2


def test_another_nonce_is_the_same_release(releases: Releases) -> None:
    releases.release(asked(SQL))
    later = asked(SQL, expires_unix_s=1_999_999_999)
    assert releases.release(later).already_released


def test_errors_are_typed(releases: Releases) -> None:
    with pytest.raises(WeirError):
        releases.release(replace(asked(SQL), catalog_digest=""))
