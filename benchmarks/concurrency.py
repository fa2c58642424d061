"""Many clients at once against four nodes, and the same statements on the nodes' engines alone.

    python -m benchmarks.concurrency --rows 1000000

In each round all clients ask a question that nobody asked before. Then the SQL that the nodes ran for these questions
runs on the same engines in this process, as many statements at once as the nodes allow, and nothing else. Afterwards
the ledgers must show the sum of what was charged, to the last digit.
"""

from __future__ import annotations

import argparse
import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import weir
from benchmarks import machine
from benchmarks.regions import provinces_of, write_region
from benchmarks.report import Figure, Section, publish
from benchmarks.samples import Sample, timed
from node.config import NodeConfig, load_config
from node.data import ServedData
from node.engine import Engine
from node.exact import ATTO, NANO, Account, ExactCharge
from node.journal import entries, open_read_only
from node.serve import open_engine
from privacy.bounding import bounded_sql
from privacy.fragment import Fragment
from privacy.planner import Planner
from weir.asking import PROJECT, new_request

NODES, CLIENTS, EPSILON = 4, 64, 0.1
SQL = "SELECT kind, COUNT(*) AS n, AVG(cost) AS mean FROM visits WHERE cost > {n} / 1000 GROUP BY kind"
SECRET = "5ec2e7" * 10  # as long as a node's


def measure(*, rows: int, rounds: int, clients: int = CLIENTS) -> Section:
    """Throughput of both sides in turn, their ratio, and what the ledgers show.

    Args:
        rows: of each node.
    """
    before = machine.load()
    with TemporaryDirectory() as name, ExitStack() as held:
        folder = Path(name)
        _write(folder, rows)
        con = held.enter_context(weir.up(folder, start_timeout_s=300))
        engines = _Engines.open(folder, held)
        people = [held.enter_context(weir.connect(con.address)) for _ in range(clients)]
        fresh = itertools.count(1)
        asked: list[str] = []
        taken: dict[str, list[float]] = {"weir": [], "engines": []}
        charges: list[weir.Answer] = []
        for number in range(rounds + 1):
            questions = [SQL.format(n=next(fresh)) for _ in people]
            times = {
                "weir": timed(lambda now=tuple(questions): charges.extend(_all_at_once(people, now))),
                "engines": timed(partial(engines.run, engines.statements(questions))),
            }
            asked += questions
            for side in taken if number else ():  # the first round makes connections and fills the files' cache
                taken[side].append(times[side])
        _check_ledgers(folder, con, asked, charges)
    weir_s, engines_s = (Sample(tuple(taken[side])) for side in ("weir", "engines"))
    figures = (
        Figure(f"{clients} clients, a fresh question each: weir", "s", weir_s),
        Figure("the engines alone, the same statements", "s", engines_s),
        Figure("throughput over that of the engines alone", "×", engines_s.over(weir_s)),
        Figure("queries a second", "/s", clients / weir_s.median),
        Figure("ledgers: charges, all of them to the last nano-ε", "", float(len(asked) * NODES)),
    )
    title = f"concurrency: {clients} clients, {NODES} nodes of {rows:,} rows"
    return Section(f"concurrency-{NODES * rows}", title, figures, (before, machine.load()))


def _write(folder: Path, rows: int) -> None:
    write_region(folder, provinces=NODES, rows=rows, memory="1GB")
    nodes = "".join(f'{province} = "127.0.0.1:1"\n' for province in provinces_of(NODES))
    (folder / "coordinator.toml").write_text(
        f'catalog = "catalog.toml"\nlisten = "127.0.0.1:0"\ndeadline_s = 600\n[nodes]\n{nodes}'
    )


def _all_at_once(people: Sequence[weir.Connection], questions: Sequence[str]) -> list[weir.Answer]:
    """One question of each client; an error of any is an error."""
    start = threading.Barrier(len(people))

    def ask(con: weir.Connection, sql: str) -> weir.Answer:
        start.wait()
        answer = con.sql(sql, epsilon=EPSILON, delta=0, require_all=True)
        assert isinstance(answer, weir.Answer)
        return answer

    with ThreadPoolExecutor(len(people)) as pool:
        return list(pool.map(ask, people, questions))


@dataclass(frozen=True)
class _Engines:
    """The engines of the nodes, opened once more in this process, over the same files with the same settings."""

    configs: Mapping[str, NodeConfig]
    engines: Mapping[str, Engine]
    planner: Planner

    @staticmethod
    def open(folder: Path, held: ExitStack) -> _Engines:
        configs = {name: load_config(folder / "nodes" / f"{name}.toml") for name in provinces_of(NODES)}
        engines = {name: held.enter_context(closing(open_engine(config))) for name, config in configs.items()}
        for name, config in configs.items():
            ServedData(engines[name], config, secret=SECRET).verify_first()  # makes the views
        return _Engines(configs, engines, Planner(configs[provinces_of(NODES)[0]].catalog))

    def statements(self, questions: Sequence[str]) -> dict[str, list[str]]:
        """By province, what its node runs for them."""
        found: dict[str, list[str]] = {name: [] for name in self.engines}
        for sql in questions:
            for name, fragment in _fragments(self.planner, sql):
                large = self.configs[name].engine.large_tables
                found[name].append(bounded_sql(fragment, secret=SECRET, large=large))
        return found

    def run(self, statements: Mapping[str, Sequence[str]]) -> None:
        """All of them, as many at once as each node allows."""
        with ExitStack() as held:
            running = [
                held.enter_context(ThreadPoolExecutor(self.configs[name].engine.concurrent_queries)).map(
                    self.engines[name].run, sqls
                )
                for name, sqls in statements.items()
            ]
            for results in running:
                list(results)


def _fragments(planner: Planner, sql: str) -> Iterator[tuple[str, Fragment]]:
    request = new_request(sql, epsilon=EPSILON, delta=0, project=PROJECT)
    for name, blocks in planner.plan(request).asked.items():
        for fragment in blocks.values():
            yield name, fragment


def _check_ledgers(folder: Path, con: weir.Connection, asked: Sequence[str], answers: Sequence[weir.Answer]) -> None:
    """Each node's journal, what it says of its budget, and the answers' receipts: all as planned, in whole nano-ε."""
    planner = Planner(load_config(folder / "nodes" / f"{provinces_of(NODES)[0]}.toml").catalog)
    planned = dict.fromkeys(provinces_of(NODES), Account())
    for sql in asked:
        for name, fragment in _fragments(planner, sql):
            planned[name] = planned[name].plus(ExactCharge.of(fragment.charge))
    budgets = {budget.province: budget for budget in con.budget().nodes}
    for name, account in planned.items():
        with closing(open_read_only(folder / "state" / f"{name}.ledger")) as journal:
            charged = [entry.content for entry in entries(journal) if entry.kind == "charged"]
        noted = Account()
        for content in charged:
            noted = noted.plus(ExactCharge(content["epsilon_nano"], content["rho_pico"], content["delta_atto"]))
        receipts = [charge for answer in answers for charge in answer.charges if charge.province == name]
        told = sum(round(charge.epsilon_charged * NANO) for charge in receipts)
        shown = round(budgets[name].epsilon_spent * NANO)
        composed = account.epsilon_nano_at(round(budgets[name].delta_total * ATTO))
        assert len(charged) == len(receipts) == len(asked), f"{name}: {len(charged)} charges, {len(asked)} questions"
        assert noted == account, f"{name}: the journal has {noted}, planned was {account}"
        assert told == account.epsilon_nano, f"{name}: receipts of {told} nano-ε for {account.epsilon_nano}"
        assert shown == composed, f"{name}: the ledger shows {shown} nano-ε, the charges come to {composed}"


def main() -> None:
    """Measure one size, print it, and write it beside the other results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.concurrency", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each node")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    given = parser.parse_args()
    publish(measure(rows=given.rows, rounds=given.rounds, clients=given.clients))


if __name__ == "__main__":
    main()
