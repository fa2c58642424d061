"""How long the corpus queries take to plan, from text to fragments, and from the planner's memory."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from benchmarks import machine
from benchmarks.report import Figure, Section
from benchmarks.samples import samples, timed
from privacy.catalog import parse_catalog
from privacy.errors import QueryRefused
from privacy.planner import Planner
from privacy.request import Request
from tests.federation.corpus_federation import CORPUS, HERE

CATALOG = HERE / "corpus_catalog.toml"


def measure(*, rounds: int, corpus: Path = CORPUS) -> Section:
    """Each query of the corpus, `rounds` times by a planner that has seen none, and once more by the same.

    Args:
        corpus: the folder with legit.jsonl and attacks.jsonl.
    """
    before = machine.load()
    catalog = parse_catalog(CATALOG.read_text(encoding="utf-8"), source=CATALOG.name)
    names = ("answered, by a new planner", "answered, with another ε", "answered, known", "refused")
    taken: dict[str, list[float]] = {name: [] for name in names}
    for request in _requests(corpus):
        for _ in range(rounds):
            planner = Planner(catalog)
            first, second = (timed(partial(_planned, planner, request)) for _ in range(2))
            other = request.model_copy(update={"epsilon": request.epsilon / 2})
            third = timed(partial(_planned, planner, other))
            if _planned(planner, request):
                taken["answered, by a new planner"].append(first)
                taken["answered, with another ε"].append(third)
                taken["answered, known"].append(second)
            else:
                taken["refused"].append(first)
    figures = tuple(Figure(name, "ms", sample) for name, sample in samples(taken).items())
    return Section("planning", "planning: the queries of the corpus", figures, (before, machine.load()))


def _requests(corpus: Path) -> list[Request]:
    entries = [
        json.loads(line)
        for name in ("legit.jsonl", "attacks.jsonl")
        for line in (corpus / name).read_text(encoding="utf-8").splitlines()
    ]
    return [Request.new(entry["sql"], epsilon=1.0, nonce="0" * 32, expires_unix_s=2**40) for entry in entries]


def _planned(planner: Planner, request: Request) -> bool:
    try:
        planner.plan(request)
    except QueryRefused:
        return False
    return True
