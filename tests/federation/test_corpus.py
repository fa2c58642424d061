"""The corpus through real daemons: what is answered equals plain DuckDB when noise vanishes; attacks are refused free."""

import json
import math
from typing import Any

import duckdb
import pandas as pd
import pytest

import weir
from tests.federation.compare import assert_same_answer
from tests.federation.corpus_federation import CORPUS

LEGIT = [json.loads(line) for line in (CORPUS / "legit.jsonl").read_text().splitlines()]
ATTACKS = [json.loads(line) for line in (CORPUS / "attacks.jsonl").read_text().splitlines()]

EPSILON = 1e6


@pytest.mark.parametrize("entry", LEGIT, ids=lambda entry: entry["id"])
def test_answered(rich: weir.Connection, by_node: duckdb.DuckDBPyConnection, entry: dict[str, str]) -> None:
    answer = rich.sql(entry["sql"], epsilon=EPSILON)
    assert_same_answer(answer, by_node.sql(entry["sql"]).df(), entry["sql"])
    assert not answer.missing


def _spent(connection: weir.Connection) -> dict[str, float]:
    return {budget.province: budget.epsilon_spent for budget in connection.budget().nodes}


def test_refused_attacks_charge_nothing(rich: weir.Connection) -> None:
    before = _spent(rich)
    for attack in ATTACKS:
        if attack["expect"] == "refuse":
            with pytest.raises(weir.QueryRefused):
                rich.sql(attack["sql"], epsilon=1.0)
    assert _spent(rich) == before


def test_bounded_attacks_have_the_same_outcome_with_and_without_the_person(
    rich: weir.Connection, union: duckdb.DuckDBPyConnection
) -> None:
    """Refusals come from the planner, which sees no data; what is planned is answered in every federation."""
    for attack in ATTACKS:
        if attack["expect"] != "bounded":
            continue
        try:
            answer = rich.sql(attack["sql"], epsilon=1.0)
        except weir.QueryRefused:
            continue
        # Keys without a public list are shown only where enough persons share them, which may be nowhere.
        assert len(answer.df()) > 0 or any("counted with noise" in note for note in answer.notes)
        assert all(math.isfinite(value) for value in _numbers(answer.df()))


def _numbers(frame: pd.DataFrame) -> list[Any]:
    numbers = frame.select_dtypes("number")
    return [value for column in numbers for value in numbers[column].dropna()]
