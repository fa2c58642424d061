import json
import math

import pytest

from privacy.noise import laplace_variance
from protos.weir.v1 import fragment_pb2
from tests.weir.fake_coordinator import explanation, plan
from weir.explanation import ThresholdPlan
from weir.wire import explanation_from


def test_predicted_errors_follow_the_noise() -> None:
    found = explanation_from(explanation(), "SELECT 1")
    count, mean = found.nodes[0].measures
    assert count.standard_error == pytest.approx(math.sqrt(laplace_variance(88.0)))
    # Released as distances of at most 500.00 from the middle, so the count's noise weighs at most 500.00.
    own, weight = laplace_variance(4_400_000.0), laplace_variance(88.0)
    assert mean.standard_error == pytest.approx(0.01 * math.sqrt(own + 50_000**2 * weight))
    assert mean.scale == pytest.approx(44_000)
    merged = found.merged_standard_errors
    assert merged is not None
    assert merged["COUNT(*)"] == pytest.approx(math.sqrt(2) * count.standard_error)


def test_nodes_that_answer_different_groups_are_not_merged() -> None:
    nodes = [plan("shanghai", digest="a" * 64), plan("jiangsu", digest="b" * 64)]
    found = explanation_from(explanation(nodes=nodes), "SELECT 1")
    assert found.merged_standard_errors is None
    assert "region" not in repr(found).split("Predicted")[1].splitlines()[2]


def test_the_text_tells_cost_error_reason_and_sql() -> None:
    text = repr(explanation_from(explanation(), "SELECT 1"))
    assert "Cost: ε = 0.5 for the region; 0.25 at each node" in text
    assert "COUNT(*)" in text
    assert "± 180" in text
    assert "± 120,000 / n" in text
    assert "A person may be in every group. At most 11 rows of one person count in a group." in text
    assert "SQL at shanghai (alike at jiangsu)" in text
    assert text.count("GROUP BY") == 1
    assert "FROM merged" in text


def test_a_threshold_stands_where_the_number_of_groups_would() -> None:
    node = plan("shanghai")
    node.fragment.cell_count = 0
    node.fragment.threshold.CopyFrom(
        fragment_pb2.Threshold(measure="m0", above=1322, least=60, delta=2.5e-10, most_groups=50_000)
    )
    found = explanation_from(explanation(nodes=[node, plan("jiangsu")]), "SELECT 1")
    assert found.nodes[0].threshold == ThresholdPlan(1322, 60, 2.5e-10, 50_000)
    assert found.nodes[1].threshold is None
    text = " ".join(repr(found).split())
    assert "with > 1,322 persons" in text
    assert "shows those with more than 1,322 persons, counted with noise; δ = 2.5e-10 at each node" in text
    assert "1,322" in found._repr_html_()
    assert found.to_dict()["nodes"][0]["threshold"]["above"] == 1322


def test_what_was_released_before_is_free() -> None:
    nodes = [plan("shanghai", released=True), plan("jiangsu", released=True)]
    text = repr(explanation_from(explanation(nodes=nodes), "SELECT 1"))
    assert "Cost: Nothing: released before" in text
    assert "0 (released before)" in text


def test_no_node_that_answers_can_be_explained_too() -> None:
    assert "Cost" in repr(explanation_from(explanation(nodes=[]), "SELECT 1"))


def test_a_dialect_that_cannot_be_read_is_shown_as_it_is() -> None:
    node = plan("shanghai")
    node.prepared.engine_sql = "SELECT ((( from"
    assert "SELECT ((( from" in repr(explanation_from(explanation(nodes=[node]), "SELECT 1"))


def test_json_has_the_fragments_whole() -> None:
    found = json.loads(json.dumps(explanation_from(explanation(), "SELECT 1").to_dict()))
    assert found["nodes"][0]["relation"].startswith("SELECT person_id AS u")
    assert found["nodes"][0]["measures"][0]["label"] == "COUNT(*)"
    assert found["epsilon_per_node"] == 0.25
    assert set(found["merged_standard_errors"]) == {"COUNT(*)", "AVG(visits.cost)"}


def test_html_folds_the_sql_away_and_escapes_it() -> None:
    node = plan("shanghai")
    node.prepared.engine_sql = "SELECT 1 WHERE a < 2"
    html = explanation_from(explanation(nodes=[node]), "SELECT 1")._repr_html_()
    assert "<details>" in html
    assert "a &lt; 2" in html
