"""What the pages draw: every number is the report's."""

from collections.abc import Mapping
from typing import Any

import pytest

from squeeze_onnx.report.charts import NO_LAYER, analysis_charts, optimization_charts, validation_charts
from tests.report.conftest import Report


def site(optimization: Report, **changed: Any) -> Report:
    return {**optimization["sites"][0], **changed}


def test_the_map_has_a_cell_for_every_layer_and_role(optimization: Report) -> None:
    drawn = optimization_charts(optimization)["charts"]["map"]
    assert drawn["roles"] == ["query", "key", "value", "attention output", "ffn in", "ffn out"]
    assert drawn["layers"] == ["layer 0", "layer 1"]
    assert {cell["place"] for cell in drawn["cells"]} == {(role, layer) for role in range(6) for layer in range(2)}
    for cell in drawn["cells"]:
        found = optimization["sites"][cell["site"]]
        assert (found["role"].replace("_", " "), found["layer"]) == (drawn["roles"][cell["place"][0]], cell["place"][1])
        assert cell["share"] == found["kept_parameters"] / (found["shape"][0] * found["shape"][1])


def test_sites_of_one_cell_are_averaged_and_unknown_roles_come_last(optimization: Report) -> None:
    same = {"layer": None, "role": "made up", "shape": [10, 10]}
    sites = [site(optimization, kept_parameters=kept, **same) for kept in (20, 60)] + optimization["sites"]
    drawn = optimization_charts(optimization | {"sites": sites})["charts"]["map"]
    assert (drawn["roles"][-1], drawn["layers"][-1]) == ("made up", NO_LAYER)
    assert drawn["cells"][0] == {"place": (6, 2), "share": 0.4, "label": "2 sites", "site": 0}


@pytest.mark.parametrize(
    ("changed", "label"),
    [
        ({"treatment": "factored", "rank": 7, "kept_shape": None}, "rank 7"),
        ({"treatment": "sliced", "rank": None, "kept_shape": [3, 4]}, "3 × 4"),
        ({"treatment": "dense", "rank": None, "kept_shape": None}, "dense"),
    ],
)
def test_a_cell_says_what_stands_there(optimization: Report, changed: Report, label: str) -> None:
    report = optimization | {"sites": [site(optimization, **changed)]}
    assert optimization_charts(report)["charts"]["map"]["cells"][0]["label"] == label


def test_the_predicted_frontier_has_the_chosen_budget(optimization: Report) -> None:
    drawn = optimization_charts(optimization)["charts"]["frontier"]
    points = optimization["frontier"]["points"]
    assert [point["y"] for point in drawn["series"][0]["points"]] == [point["damage"] for point in points]
    assert [point["label"] for point in drawn["chosen"]] == ["keep 0.5"]
    assert "frontier" not in optimization_charts(optimization | {"frontier": None})["charts"]


def test_a_search_is_drawn_as_it_was_measured(optimization: Report, search: Mapping[str, Any]) -> None:
    drawn = optimization_charts(optimization | {"search": search})["charts"]["frontier"]
    assert [(point["x"], point["y"]) for point in drawn["series"][0]["points"]] == [(3.0, 1.25), (3.0, 0.75)]
    assert drawn["chosen"] == [{"x": 3.0, "y": 0.75, "label": "keep 0.52", "interval": [0.5, 2.0]}]
    assert drawn["limit"] == 1.0


def test_only_a_site_of_lower_rank_has_a_cut(optimization: Report) -> None:
    for drawn, found in zip(optimization_charts(optimization)["sites"], optimization["sites"], strict=True):
        assert drawn["histogram"] == found["spectrum"]["histogram"]
        assert [mark["at"] for mark in drawn["marks"]] == ([found["spectrum"]["cut"]] if found["rank"] else [])


def test_an_analysis_is_scaled_to_its_largest_share(analysis: Report) -> None:
    drawn = analysis_charts(analysis)["charts"]["map"]
    assert drawn["top"] == max(cell["share"] for cell in drawn["cells"]) or drawn["top"] == 1
    assert {tuple(each["marks"]) for each in analysis_charts(analysis)["sites"]} == {()}


def test_a_validation_draws_drops_latency_and_robustness(validation: Report) -> None:
    drawn = validation_charts(validation)["charts"]
    assert set(drawn) == {"drops-0", "latency-0", "likeness-0", "perturbed-0"}
    assert drawn["drops-0"]["rows"][0] == {
        "name": "accuracy",
        "value": validation["metrics"]["accuracy"]["drop_points"],
        "interval": validation["metrics"]["accuracy"]["drop_interval"],
    }
    assert drawn["drops-0"]["limit"] == 10
    latency = validation["latency"]["cpu"]
    assert drawn["latency-0"]["series"][1]["values"] == [latency["candidate"]["p50_ms"], latency["candidate"]["p95_ms"]]
