"""The search for the smallest model that passes a gate, on an encoder whose dense rank correlation is 1."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from squeeze_onnx.compress.calibration_source import CalibrationConfig, calibration_rows
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.data.readers import Texts
from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.evaluate.validation import validate
from squeeze_onnx.support.errors import DataError, GateError, OptionError, OutputError
from squeeze_onnx.workflows.gate import FEWEST_ROWS, GateConfig
from squeeze_onnx.workflows.search import optimize_within
from tests.folders import snapshot
from tests.graded_pairs import GradedPair, graded_pairs, write_split
from tests.tiny_encoder import write_model_folder

SVD = OptimizeConfig(method="svd", simulations=1)
OPTIMIZED_FILES = {"model.onnx", "plan.json", "report.json", "report.html", "tokenizer.json", "config.json"}

Search = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_folder(tmp_path_factory.mktemp("search") / "model")


@pytest.fixture(scope="module")
def pairs(model: Path) -> list[GradedPair]:
    return graded_pairs(model, 400)


@pytest.fixture(scope="module")
def data(model: Path, pairs: list[GradedPair]) -> Path:
    """Return a folder whose 150 rows to train on lie closer together than the 250 of its dev split: they are harder to rank."""
    for name, rows in (("train", pairs[50:350:2]), ("dev", pairs[:50] + pairs[51:350:2] + pairs[350:])):
        write_split(model.with_name("glue"), name, rows)
    return model.with_name("glue")


@pytest.fixture(scope="module")
def uneven(model: Path, pairs: list[GradedPair]) -> Path:
    """Return a folder whose dev split is a little harder than its train split."""
    for name, rows in (("train", pairs[0::2]), ("dev", pairs[1::2])):
        write_split(model.with_name("uneven"), name, rows)
    return model.with_name("uneven")


@pytest.fixture
def search(model: Path, tmp_path: Path) -> Search:
    """Search with ``data`` and ``max_drop`` into ``tmp_path / "out"``."""

    def run(data: Path, max_drop: float, config: OptimizeConfig = SVD, **options: Any) -> dict[str, Any]:
        return optimize_within(model, tmp_path / "out", GateConfig(max_drop, "stsb", data), config, **options)

    return run


def keeps(stage: dict[str, Any]) -> list[float]:
    return [point["keep"] for point in stage["points"]]


class TestOut:
    def test_is_a_whole_model_folder_that_drops_as_the_report_says(
        self, search: Search, model: Path, data: Path, tmp_path: Path
    ) -> None:
        report = search(data, 20)
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        assert {path.name for path in (tmp_path / "out").iterdir()} == OPTIMIZED_FILES
        assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8")) == report
        validation = validate(model, tmp_path / "out", ValidateConfig(task="stsb", data=data, latency_rounds=1))
        found = report["search"]["gate"]["points"][-1]
        judged = validation.to_json()
        assert found["drop_points"] == judged["drop_points"] <= 20
        assert found["drop_interval"] == judged["drop_interval"]
        assert found["metric"] == judged["metrics"]["spearman"]["candidate"]
        assert found["bytes"] == report["size"]["optimized_bytes"] == judged["size"]["candidate_bytes"]
        assert found["keep"] == report["budget"]["keep"] == report["config"]["keep"]

    def test_shows_the_search_to_people(self, search: Search, data: Path, tmp_path: Path) -> None:
        report = search(data, 20)
        page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
        assert "searched on 150 rows of the train split (baseline 1.0000)" in " ".join(page.split())
        stages = report["search"]["selection"], report["search"]["gate"]
        assert page.count("passed</td>") + page.count("too much</td>") == sum(len(stage["points"]) for stage in stages)

    def test_is_not_written_if_nothing_passes(self, search: Search, data: Path, tmp_path: Path) -> None:
        heard: list[float] = []
        with pytest.raises(
            GateError, match=r"passes `max_drop` 0: with `keep` 0\.98 spearman still drops by \d+\.\d\d"
        ):
            search(data, 0, tell=lambda evaluator, point: heard.append(point.keep))
        assert heard[-2:] == [0.98, 0.98]  # on the train split, and on the dev split all the same
        assert not list(tmp_path.iterdir())

    def test_replaces_nothing_without_force(self, search: Search, data: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "model.onnx").touch()
        record = {"format": "squeeze-onnx/report/1", "written": ["model.onnx"]}
        (tmp_path / "out" / "report.json").write_text(json.dumps(record), encoding="utf-8")
        before = snapshot(tmp_path)
        with pytest.raises(OutputError, match="`force`"):
            search(data, 20)
        with pytest.raises(GateError):
            search(data, 0, force=True)
        assert snapshot(tmp_path) == before


class TestSearch:
    def test_bisects_on_the_train_split_and_looks_at_the_dev_split_once(self, search: Search, data: Path) -> None:
        heard: list[tuple[str, dict[str, Any]]] = []
        report = search(
            data, 30, tell=lambda evaluator, point: heard.append((evaluator.rows.split.name, point.to_json()))
        )
        selection, gate = report["search"]["selection"], report["search"]["gate"]
        assert heard == [("train", point) for point in selection["points"]] + [
            ("validation", point) for point in gate["points"]
        ]
        assert {key: report["search"][key] for key in ("task", "primary_metric", "max_drop")} == {
            "task": "stsb",
            "primary_metric": "spearman",
            "max_drop": 30,
        }
        assert (selection["split"], selection["rows"], gate["split"], gate["rows"]) == ("train", 150, "validation", 250)
        assert selection["baseline"] == pytest.approx(1)
        assert gate["baseline"] == pytest.approx(1)
        assert 4 <= len(selection["points"]) <= 6
        assert keeps(gate) == [min(point["keep"] for point in selection["points"] if point["passed"])]
        for point in selection["points"]:
            assert point["passed"] == (point["drop_points"] <= 30)
            assert point["drop_interval"][0] <= point["drop_points"] <= point["drop_interval"][1]
        ordered = sorted(selection["points"], key=lambda point: point["keep"])
        assert all(first["bytes"] <= second["bytes"] for first, second in pairwise(ordered))

    def test_takes_a_larger_model_where_the_dev_split_is_harder_and_lists_every_look(
        self, search: Search, uneven: Path
    ) -> None:
        report = search(uneven, 20)
        selection, gate = report["search"]["selection"], report["search"]["gate"]
        assert keeps(gate)[0] == min(point["keep"] for point in selection["points"] if point["passed"])
        assert [point["passed"] for point in gate["points"]] == [False] * (len(gate["points"]) - 1) + [True]
        steps = [round((second - first) / 0.02) for first, second in pairwise(keeps(gate))]
        assert len(steps) > 1
        assert steps[:-1] == [2**number for number in range(len(steps) - 1)]
        assert report["budget"]["keep"] == keeps(gate)[-1]

    def test_says_so_if_it_had_to_search_the_dev_split(
        self, search: Search, pairs: list[GradedPair], tmp_path: Path
    ) -> None:
        write_split(tmp_path / "glue", "dev", pairs[::4])
        found = search(tmp_path / "glue", 20)["search"]
        assert found["selection"]["split"] == found["gate"]["split"] == "validation"
        assert keeps(found["gate"])[0] in keeps(found["selection"])

    def test_reads_no_row_that_calibration_read(
        self, search: Search, data: Path, pairs: list[GradedPair], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calibration = CalibrationConfig("glue:stsb", data, rows=40)
        seen: set[Texts] = set()
        config = OptimizeConfig(simulations=1)
        report = search(
            data, 20, config, calibration=calibration, tell=lambda evaluator, _: seen.update(evaluator.rows.texts)
        )
        assert report["method"] == "whiten"
        assert report["certificate"]["measured"]["worst"] >= report["certificate"]["measured"]["mean"] > 0
        assert report["search"]["selection"]["rows"] == 110
        assert not seen & set(calibration_rows(calibration))
        assert seen <= {pair.texts for pair in pairs}

    def test_of_a_method_without_data_reads_no_calibration(self, search: Search, data: Path) -> None:
        report = search(data, 20, calibration=CalibrationConfig("glue:stsb", data, rows=150))
        assert report["search"]["selection"]["rows"] == 150

    def test_finds_the_same_with_a_cache_that_a_budget_filled(
        self, search: Search, model: Path, data: Path, tmp_path: Path
    ) -> None:
        first = search(data, 20, cache=tmp_path / "cache")
        [file] = (tmp_path / "cache").iterdir()
        written = (tmp_path / "out" / "model.onnx").read_bytes()
        again = search(data, 20, cache=tmp_path / "cache", force=True)
        assert list((tmp_path / "cache").iterdir()) == [file]
        assert "calibration" in first["timing"]
        assert not {"rewrite", "save"} & first["timing"].keys(), "they are parts of the search"
        assert "calibration" not in again["timing"]
        assert again["search"] == first["search"]
        assert (tmp_path / "out" / "model.onnx").read_bytes() == written

    def test_leaves_out_budgets_that_the_floors_do_not_fit_in(self, search: Search, data: Path) -> None:
        calibration = CalibrationConfig("glue:stsb", data, rows=40)
        config = OptimizeConfig(simulations=1, floor={"all": 0.5})
        report = search(data, 100, config, calibration=calibration)
        assert keeps(report["search"]["gate"]) == [0.5]
        kept = report["size"]["kept_eligible_parameters"] / report["size"]["eligible_parameters"]
        assert kept == pytest.approx(0.5, abs=0.02)

    def test_leaves_out_budgets_that_rank_one_does_not_fit_in(self, search: Search, data: Path) -> None:
        report = search(data, 100)
        # In the tiny encoder rank 1 takes 64 of 1024 and 96 of 2048 parameters.
        assert keeps(report["search"]["gate"]) == [0.06]
        assert {site["rank"] for site in report["sites"]} == {1}


class TestBadInput:
    @pytest.mark.parametrize(
        "options",
        [{"keep": 0.5}, {"preset": "paper-ffn", "method": "auto"}, {"rank_rule": "fixed=2"}],
        ids=["keep", "preset", "rank rule"],
    )
    def test_a_second_budget_is_refused(self, search: Search, data: Path, options: dict[str, Any]) -> None:
        with pytest.raises(
            OptionError, match="`max_drop` finds the budget itself; leave out `keep`, `preset` and `rank_rule`"
        ):
            search(data, 1, replace(SVD, **options))

    def test_too_few_rows_to_search_on_are_refused(
        self, search: Search, data: Path, tmp_path: Path, pairs: list[GradedPair]
    ) -> None:
        calibration = CalibrationConfig("glue:stsb", data, rows=150 - FEWEST_ROWS + 1)
        with pytest.raises(
            OptionError, match=r"train split of stsb has 99 rows that calibration .* `calibration_rows`"
        ):
            search(data, 1, OptimizeConfig(simulations=1), calibration=calibration)
        assert not list(tmp_path.iterdir())

    def test_a_task_without_dev_split_is_refused(self, search: Search, tmp_path: Path, pairs: list[GradedPair]) -> None:
        write_split(tmp_path / "glue", "train", pairs)
        with pytest.raises(DataError, match="has no validation split of stsb"):
            search(tmp_path / "glue", 1)

    @pytest.mark.parametrize("points", [-1.0, float("nan")])
    def test_a_drop_is_no_number_of_points(self, points: float) -> None:
        with pytest.raises(OptionError, match="`max_drop` is a number of points, 0 or more"):
            GateConfig(points, "stsb", ".")

    def test_a_gate_needs_a_task_and_its_data(self) -> None:
        with pytest.raises(OptionError, match="name the task with `task`"):
            GateConfig(1, None, None)
        with pytest.raises(OptionError, match="`task` stsb needs `data`"):
            GateConfig(1, "stsb", None)
        with pytest.raises(OptionError, match="`task` is one of"):
            GateConfig(1, "imdb", ".")

    def test_a_budget_that_nothing_fits_in_is_refused(self, search: Search, data: Path, tmp_path: Path) -> None:
        calibration = CalibrationConfig("glue:stsb", data, rows=40)
        config = OptimizeConfig(simulations=1, floor={"all": 1.0})
        with pytest.raises(OptionError, match=r"`keep` 0\.98 is too little: with the floors asked for"):
            search(data, 30, config, calibration=calibration)
        assert not list(tmp_path.iterdir())
