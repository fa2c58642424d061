from __future__ import annotations

import io
import json
from dataclasses import replace

from protos.weir.v1 import coordinator_pb2, node_pb2
from weir import wire
from weir.budget import Budget, Budgets, BudgetShare
from weir.export import write_json

PERIOD = BudgetShare("period", "2026-Q3", 5.0, 1.5, 3.5, "2026-10-01")
PROJECT = BudgetShare("project", "ageing-2026", 3.0, 0.5, 2.5)
NODE = Budget("shanghai", 20.0, 1.5, 18.5, 2.0, delta_total=1e-6, rho_spent=0.01, shares=(PERIOD, PROJECT))


def test_every_budget_has_a_line() -> None:
    for text in (repr(Budgets((NODE,))), Budgets((NODE,))._repr_html_()):
        for word in (
            "shanghai",
            "in all",
            "2026-Q3, anew 2026-10-01",
            "project ageing-2026",
            "18.5",
            "1e-06",
        ):
            assert word in text
        assert "frozen" not in text
    assert "in all (frozen)" in repr(Budgets((replace(NODE, frozen=True),)))


def test_it_comes_over_the_wire_and_goes_into_json() -> None:
    shares = [node_pb2.BudgetShare(**vars(share)) for share in NODE.shares]
    message = node_pb2.Budget(**(vars(NODE) | {"shares": shares}))
    assert wire.budgets_from(coordinator_pb2.BudgetsReply(budgets=[message])).nodes == (NODE,)


def test_a_delta_that_is_spent_is_said_and_is_no_number() -> None:
    message = node_pb2.Budget(province="anhui", epsilon_spent=float("inf"))
    budgets = wire.budgets_from(coordinator_pb2.BudgetsReply(budgets=[message]))
    assert "over δ" in repr(budgets)
    out = io.StringIO()
    write_json(budgets.to_dict(), out)
    assert json.loads(out.getvalue())["nodes"][0]["epsilon_spent"] is None
