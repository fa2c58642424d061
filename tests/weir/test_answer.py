import csv
import datetime as dt
import io
import json
import sys

import matplotlib
import pyarrow as pa
import pytest

import weir
from privacy.errors import InternalError
from tests.weir.fake_coordinator import ERRORS, answer, ipc
from weir.export import to_dict, write_csv, write_json
from weir.wire import answer_from

matplotlib.use("agg")


def _answer(**columns: tuple[list[object], list[float | None]]) -> weir.Answer:
    rows = pa.table({name: values for name, (values, _) in columns.items()})
    errors = pa.table({name: pa.array(bars, pa.float64()) for name, (_, bars) in columns.items()})
    return answer_from(answer(rows, errors), "SELECT 1")


def test_values_and_standard_errors_have_one_shape() -> None:
    found = answer_from(answer(), "SELECT 1")
    assert found.noisy_columns == ("n", "mean_cost")
    assert found.standard_errors().shape == found.df().shape
    assert found.standard_errors()["n"].tolist() == [14.1, 14.1, 14.1]
    assert found.arrow().schema.field("n").type == pa.int64()
    assert len(found) == 3


def test_the_coordinators_mark_of_noisy_columns_holds_without_rows() -> None:
    rows = pa.table({"k": pa.array([], pa.string()), "n": pa.array([], pa.int64())})
    fields = [
        pa.field("k", pa.float64(), metadata={"noisy": "false"}),
        pa.field("n", pa.float64(), metadata={"noisy": "true"}),
    ]
    found = answer_from(answer(rows, pa.schema(fields).empty_table()), "SELECT 1")
    assert found.noisy_columns == ("n",)
    out = io.StringIO()
    write_csv(found, out)
    assert out.getvalue() == "k,n,n_se,n_low,n_high\n"


def test_the_repr_lines_up_points_and_says_the_cost() -> None:
    text = repr(answer_from(answer(), "SELECT 1"))
    lines = text.splitlines()
    assert lines[2].index("12,345 ± 14") + 3 == lines[3].index("987 ± 14")
    assert lines[2].index(".457 ± 0.035") == lines[3].index(".5   ± 2.1")
    assert "2,024" not in text
    assert "ε = 0.5 for the region, 0.25 at each node" in text
    assert "shanghai 0.25 (19.75 left); jiangsu 0 (released before; 19.75 left)" in text
    assert "Missing: anhui (did not answer in time)" in text
    assert "Note: A person with visits" in text


def test_a_person_at_one_node_costs_what_was_asked() -> None:
    text = repr(answer_from(answer(span=1), "SELECT 1"))
    assert "at one node" in text
    assert "at each node" not in text


def test_html_escapes_what_the_query_named() -> None:
    html = _answer(**{"<b>": (["<script>"], [None]), "n": ([1000], [3.0])})._repr_html_()
    assert "<script>" not in html
    assert "<b>" not in html
    assert '1,000 <span style="opacity:.6" title="95 %: 994 to 1,009">± 3.0</span>' in html
    assert "Missing: anhui" in html
    assert "traceback" not in html


def test_long_answers_are_cut_for_people_only() -> None:
    found = _answer(k=(list(range(100)), [None] * 100), n=([5.0] * 100, [1.0] * 100))
    assert "40 more rows" in repr(found)
    assert "40 more rows" in found._repr_html_()
    assert len(found.df()) == 100


def test_no_rows_and_no_noise_can_be_shown() -> None:
    assert "ε = 0.5" in repr(_answer(k=([], []), n=([], [])))
    assert "7" in repr(_answer(n=([7], [None])))


def _containers() -> weir.Answer:
    """As HISTOGRAM and lists of quantiles give them, and NULL where there are no rows."""
    rows = pa.table(
        {
            "sex": ["F", "M"],
            "n": [12, 7],
            "h": pa.array([[("a", 3), ("b", -1)], None], pa.map_(pa.string(), pa.int64())),
            "bins": pa.array([[(10.5, 2), (float("inf"), 1)], None], pa.map_(pa.float64(), pa.int64())),
            "days": pa.array([[(dt.date(2024, 3, 1), 5)], None], pa.map_(pa.date32(), pa.int64())),
            "q": pa.array([[1.5, float("nan")], None], pa.list_(pa.float64())),
            "long": pa.array([list(range(50)), []], pa.list_(pa.int64())),
        }
    )
    none = pa.nulls(2, pa.float64())
    errors = {name: pa.array([1.0, 1.0]) if name == "n" else none for name in rows.column_names}
    return answer_from(answer(rows, pa.table(errors)), "SELECT 1")


def test_lists_and_maps_can_be_shown() -> None:
    found = _containers()
    for text in (repr(found), found._repr_html_()):
        for shown in ("{a: 3, b: -1}", "10.5: 2", "2024-03-01: 5", "… 10 more]", "[]"):
            assert shown in " ".join(text.split())
    assert found.noisy_columns == ("n",)


def test_a_map_is_a_dict_in_pandas() -> None:
    frame = _containers().df()
    assert frame["h"].tolist() == [{"a": 3, "b": -1}, None]
    assert frame["q"][0][0] == 1.5
    assert list(_containers().interval().columns)[1:4] == ["n", "n_low", "n_high"]


def test_lists_and_maps_are_exported_as_json() -> None:
    out = io.StringIO()
    write_json(to_dict(_containers()), out)
    first, second = json.loads(out.getvalue())["rows"]
    assert first["h"] == {"a": 3, "b": -1}
    assert first["bins"] == {"10.5": 2, "inf": 1}
    assert first["days"] == {"2024-03-01": 5}
    assert first["q"] == [1.5, None]
    assert second["h"] is None
    out = io.StringIO()
    write_csv(_containers(), out)
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert json.loads(rows[0]["h"]) == {"a": 3, "b": -1}
    assert rows[1]["h"] == ""


def test_a_plot_leaves_lists_and_maps_out() -> None:
    axes = _containers().plot()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["F", "M"]
    for columns in ({"y": "h"}, {"x": "q"}):
        with pytest.raises(weir.RequestRefused, match="cannot be drawn"):
            _containers().plot(**columns)


def test_intervals_are_the_coordinators() -> None:
    found = answer_from(answer(), "SELECT 1").interval()
    assert list(found.columns) == [
        "kind",
        "year",
        "n",
        "n_low",
        "n_high",
        "mean_cost",
        "mean_cost_low",
        "mean_cost_high",
    ]
    assert found["n_low"].tolist() == pytest.approx([12345 - 28.2, 987 - 28.2, 3 - 28.2])
    assert found["n_high"].tolist() == pytest.approx([12345 + 42.3, 987 + 42.3, 3 + 42.3])
    assert found["mean_cost_low"].isna().tolist() == [False, False, True]


def test_an_interval_may_stand_beside_columns_of_one_name() -> None:
    rows, errors = pa.table([[1], [2]], names=["n", "n"]), pa.table([[0.5], [0.25]], names=["n", "n"])
    found = answer_from(answer(rows, errors), "SELECT 1").interval()
    assert list(found.columns) == ["n", "n_low", "n_high", "n", "n_low", "n_high"]
    assert found.iloc[0].tolist() == [1, 0, 2.5, 2, 1.5, 2.75]


def test_an_answer_whose_error_bars_do_not_fit_is_refused() -> None:
    whole = answer()
    whole.low = b""
    with pytest.raises(InternalError, match="not Arrow"):
        answer_from(whole, "SELECT 1")
    whole.low = ipc(ERRORS.slice(1))
    with pytest.raises(InternalError, match="does not fit"):
        answer_from(whole, "SELECT 1")


def test_a_plot_has_bars_and_error_bars() -> None:
    axes = answer_from(answer(), "SELECT 1").plot(y="n")
    assert [bar.get_height() for bar in axes.patches] == [12345, 987, 3]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "outpatient · 2023",
        "inpatient · 2024",
        "– · 2024",
    ]
    assert axes.get_ylabel() == "n"
    low, high = axes.containers[0].lines[2][0].get_segments()[1][:, 1]
    assert (low, high) == pytest.approx((987 - 28.2, 987 + 42.3))


def test_dates_make_a_line() -> None:
    days: list[object] = [dt.date(2024, 1, 1), dt.date(2024, 2, 1)]
    axes = _answer(month=(days, [None, None]), n=([1, 2], [1.0, 1.0])).plot(x="month", y="n")
    assert len(axes.lines) >= 1
    assert not axes.patches


def test_plots_refuse_what_they_cannot_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    found = answer_from(answer(), "SELECT 1")
    with pytest.raises(weir.RequestRefused, match="no column `year_`"):
        found.plot(x="year_")
    with pytest.raises(weir.RequestRefused, match="Several rows"):
        found.plot(x="year")
    with pytest.raises(weir.RequestRefused, match="nothing to draw"):
        _answer(n=([1.0], [1.0])).plot()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(weir.RequestRefused, match="matplotlib"):
        found.plot()
