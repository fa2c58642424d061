"""Advice on limits: what is cut is what bounding cuts, and no other candidate errs less."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.advice import CANDIDATES, Limits, advise
from node.config import load_config
from node.data import prepare_view
from node.engine import Engine
from privacy.bounding import bounded_sql
from privacy.errors import ConfigError
from privacy.planner import Planner
from privacy.request import Request
from tests.node.makers import Folder, make_folder
from weir.cli.app import app

MANY = """
SELECT (i * i) % 37 AS person_id, (i % 90)::INTEGER AS age, ['F', 'M'][1 + ((i * i) % 37) % 2] AS sex,
    (i % 1000)::DOUBLE AS cost, DATE '2023-01-01' + (i % 40)::INTEGER AS day,
    ['inpatient', 'outpatient'][1 + i % 2] AS kind FROM range(3000) t(i)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return make_folder(tmp_path / "advised", visits=MANY)


def cut_by_bounding(folder: Folder, key: str, limits: Limits) -> float:
    config = load_config(folder.config)
    options = {"max_rows": limits.max_rows, "max_groups": limits.max_groups}
    request = Request.new(
        f"SELECT {key}, COUNT(*) FROM visits GROUP BY {key}",
        epsilon=1.0,
        nonce="0" * 32,
        expires_unix_s=0,
        options=options,
    )
    fragment = Planner(config.catalog).plan(request).asked["east"]["merged"]
    with contextlib.closing(Engine.open(config)) as engine:
        prepare_view(engine, config.sources["visits"], config.catalog.private_tables["visits"])
        kept = sum(map(int, engine.run(bounded_sql(fragment, secret="00")).column("m0").to_pylist()))
    return 1 - kept / 3000


@pytest.mark.parametrize("key", ["kind", "sex", "day"])
def test_what_is_cut_is_what_bounding_cuts(folder: Folder, key: str) -> None:
    (advice,) = advise(folder.config, epsilon=1.0, table="visits", keys=[key])
    assert advice.now.max_rows == 3
    # Which groups are kept is by another hash; people are much alike here, so shares are as well.
    assert advice.now.cut == pytest.approx(cut_by_bounding(folder, key, advice.now), abs=0.02)


def test_the_best_errs_least(folder: Folder) -> None:
    (little, _), (much, _) = (_by_day(folder, epsilon) for epsilon in (0.01, 1000.0))
    assert little.max_rows * little.max_groups < much.max_rows * much.max_groups
    assert (much.cut, little.error > much.error) == (0.0, True)
    assert little.max_rows in CANDIDATES
    assert little.noise < little.error


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 10.0])
def test_noise_is_what_the_planner_predicts(folder: Folder, epsilon: float) -> None:
    (advice,) = advise(folder.config, epsilon=epsilon, keys=["day"])
    request = Request.new(
        "SELECT day, COUNT(*) FROM visits GROUP BY day", epsilon=epsilon, nonce="0" * 32, expires_unix_s=0
    )
    (measure,) = Planner(load_config(folder.config).catalog).plan(request).asked["east"]["merged"].measures
    factor = 1.0 if measure.mechanism == "gaussian" else math.sqrt(2)
    assert advice.now.noise == pytest.approx(factor * measure.scale, rel=1e-3)


def _by_day(folder: Folder, epsilon: float) -> tuple[Limits, Limits]:
    (advice,) = advise(folder.config, epsilon=epsilon, keys=["day"])
    assert advice.best.error <= advice.now.error
    assert advice.groups == 40
    return advice.best, advice.now


def test_usual_keys(folder: Folder) -> None:
    with folder.config.open("a") as file:
        file.write('[snapshots]\nfolder = "s"\n[snapshots.sums.visits]\nkeys = [["day", "kind"]]\n')
    assert [advice.keys for advice in advise(folder.config, epsilon=1.0)] == [(), ("day", "kind"), ("sex",), ("kind",)]


@pytest.mark.parametrize(("table", "keys"), [("residents", []), ("firms", []), ("visits", ["colour"])])
def test_what_cannot_be_advised_on_is_said(folder: Folder, table: str, keys: list[str]) -> None:
    with pytest.raises(ConfigError):
        advise(folder.config, epsilon=1.0, table=table, keys=keys)


def test_the_operator_sees_a_table_and_a_warning(folder: Folder) -> None:
    shown = CliRunner().invoke(app, ["node", "advise", "--config", str(folder.config), "--key", "day"])
    assert shown.exit_code == 0, shown.output
    assert "least error" in shown.output
    assert "must not leave this node" in shown.output
