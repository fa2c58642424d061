"""Five questions of a regional health office, answered by real daemons: `make demo`.

    python -m examples.demo [FOLDER]

Everything is made anew in build/demo (or in FOLDER, which must not exist): data, daemons and their ledgers.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.syntax import Syntax
from rich.text import Text

import weir
from examples.panel.prepare import copy_federation
from weir.demo_data import generate

BUILD = Path(__file__).parents[1] / "build" / "demo"
VISITS = 100_000
COLUMNS = 100

REAL_AND_GENERATED = (
    "Real: the German health panel rwm5yr, 19,609 person-years of 6,127 people, 1984–1988 (its split over four"
    f" nodes is ours). Generated: the Yangtze delta, {VISITS:,} insurance settlements in the proportions of"
    " published totals (docs/scenario.md)."
)
HOW_TO_READ = "Each number is noisy on purpose: ± is its standard error. ε is what the answer costs in privacy."

ASK_YOUR_OWN = """\
  .venv/bin/weir up {folder}/yangtze   # in one terminal; it says the coordinator's ADDRESS
  .venv/bin/weir query "SELECT sex, COUNT(*) FROM visits GROUP BY sex" --epsilon 1 --at ADDRESS"""


@dataclass(frozen=True)
class Question:
    """What the office asks, in words and in SQL.

    Attributes:
        options: for `Connection.sql`; `max_rows` counts fewer rows of a person, so that less noise is needed.
    """

    words: str
    sql: str
    epsilon: float
    options: dict[str, Any] = field(default_factory=dict)


PANEL = (
    Question(
        "How often do people see a doctor in a year, and how many do at all? (More than 20 visits count as 20.)",
        """\
SELECT year, COUNT(*) AS people, AVG(LEAST(docvis, 20)) AS doctor_visits,
       AVG(CASE WHEN docvis > 0 THEN 1 ELSE 0 END) AS share_seen
FROM panel GROUP BY year ORDER BY year""",
        epsilon=2,
        options={"max_rows": 1},  # a person has one row in a year: nothing is cut
    ),
    Question(
        "Did older people need more care than younger ones, in 1988?",
        """\
SELECT CASE WHEN age >= 55 THEN '55 to 64' WHEN age >= 40 THEN '40 to 54'
            ELSE '25 to 39' END AS age_group,
       AVG(LEAST(docvis, 20)) AS doctor_visits,
       AVG(CASE WHEN hospvis > 0 THEN 1 ELSE 0 END) AS share_in_hospital
FROM panel WHERE year = 1988 GROUP BY age_group ORDER BY age_group""",
        epsilon=2,
        options={"max_rows": 1, "max_groups": 1},  # nor here: one year, one age
    ),
)

YANGTZE = (
    Question(
        "Where are residents treated outside their home province? The six largest flows.",
        """\
SELECT home_province, province AS treated_in, COUNT(*) AS settlements
FROM visits WHERE away
GROUP BY home_province, province HAVING COUNT(*) > 100
ORDER BY settlements DESC LIMIT 6""",
        epsilon=2,
    ),
    Question(
        "What share of settlements are hospital stays in each province, and what does a settlement cost, in yuan?"
        " (More than 10,000 count as 10,000.)",
        """\
SELECT province, AVG(CASE WHEN kind = 'inpatient' THEN 1 ELSE 0 END) AS share_inpatient,
       AVG(LEAST(cost, 10000)) AS mean_cost
FROM visits GROUP BY province ORDER BY mean_cost DESC""",
        epsilon=2,
    ),
    Question(
        "How long does a settlement away from home take, and is it getting faster?",
        """\
SELECT YEAR(visit_date) AS year, AVG(settle_days) AS days,
       AVG(CASE WHEN settle_days <= 3 THEN 100 ELSE 0 END) AS percent_within_3_days
FROM visits WHERE away GROUP BY year ORDER BY year""",
        epsilon=2,
        options={"max_rows": 4},
    ),
)


def main(folder: Path) -> int:
    """Prepare, ask, print; 0 when every question was answered."""
    console = Console(highlight=False)
    console.width = min(COLUMNS, console.width) if console.is_terminal else COLUMNS
    console.print(Text(REAL_AND_GENERATED))
    console.print(Text(HOW_TO_READ), Text(""), sep="\n")
    try:
        copy_federation(folder / "panel")
        _ask(console, "The German health panel: real people", folder / "panel", PANEL, first=1)
        generate(folder / "yangtze", visits=VISITS)
        _ask(console, "The Yangtze delta: generated", folder / "yangtze", YANGTZE, first=1 + len(PANEL))
    except weir.WeirError as fault:
        console.print(Text(str(fault), style="red"))
        return 1
    console.print(Text("\nNow ask your own:", style="bold"))
    console.print(Text(ASK_YOUR_OWN.format(folder=os.path.relpath(folder))))
    return 0


def _ask(console: Console, title: str, folder: Path, questions: tuple[Question, ...], *, first: int) -> None:
    console.print(Rule(title, align="left"))
    before = time.monotonic()
    with weir.up(folder) as con:
        assert con.federation is not None
        daemons = {**con.federation.nodes, "coordinator": con.address}
        places = ", ".join(f"{name} at {address}" for name, address in daemons.items())
        console.print(Text(f"Five processes, started in {time.monotonic() - before:.1f} s: {places}."))
        for number, question in enumerate(questions, start=first):
            _answer(console, con, number, question)
        console.print(Text("\nWhat each province has left to spend:", style="bold"), con.budget())


def _answer(console: Console, con: weir.Connection, number: int, question: Question) -> None:
    console.print(Text(f"\n{number}. {question.words}", style="bold"))
    console.print(Padding(Syntax(question.sql, "sql", theme="ansi_dark", background_color="default"), (0, 0, 0, 3)))
    console.print(con.sql(question.sql, epsilon=question.epsilon, **question.options))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        shutil.rmtree(BUILD, ignore_errors=True)
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else BUILD))
