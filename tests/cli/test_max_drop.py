"""``optimize --max-drop``: what a user sees of the search, and the exit status."""

import json
from itertools import islice
from pathlib import Path

import pytest

from squeeze_onnx.cli.search_lines import search_verdict
from tests.conftest import RunCli
from tests.folders import snapshot
from tests.graded_pairs import graded_pairs, write_split
from tests.reference import minilm_l6
from tests.tiny_encoder import write_model_folder

GATE = ("--method", "svd", "--task", "stsb")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_folder(tmp_path_factory.mktemp("max_drop") / "model")


@pytest.fixture(scope="module")
def data(model: Path) -> Path:
    """Return a folder whose dev split the squeezed encoder ranks a little worse than its train split."""
    pairs = graded_pairs(model, 400)
    for name, rows in (("train", pairs[0::2]), ("dev", pairs[1::2])):
        write_split(model.with_name("glue"), name, rows)
    return model.with_name("glue")


def test_shows_every_model_that_is_tried_and_says_what_the_gate_saw(
    run_cli: RunCli, model: Path, data: Path, tmp_path: Path
) -> None:
    before = snapshot(model.parent)
    done = run_cli("optimize", model, "-o", tmp_path / "out", *GATE, "--data", data, "--max-drop", "20")
    assert (done.returncode, done.stderr) == (0, "")
    assert snapshot(model.parent) == before
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    tried = [(stage, point) for stage in ("selection", "gate") for point in report["search"][stage]["points"]]
    assert [point["passed"] for stage, point in tried if stage == "gate"] == [False, False, False, True]
    for line, (stage, point) in zip(done.stdout.splitlines(), tried, strict=False):
        assert line.startswith(f"{report['search'][stage]['split']:<10}  keep {point['keep']:.2f}  ")
        assert f"spearman {point['metric']:.4f} (dense 1.0000)  drop {point['drop_points']:+6.2f} points" in line
        assert line.endswith("passed" if point["passed"] else "too much")
    last = tried[-1][1]
    assert f"on 200 rows of the validation split spearman drops by {last['drop_points']:.2f} points" in done.stdout
    assert "searched on 200 rows of the train split, and raised 3 times because the gate failed." in done.stdout
    assert f"Next: squeeze-onnx validate {model} {tmp_path / 'out'} --task stsb --data {data}" in done.stdout


def test_a_gate_that_nothing_passes_is_exit_status_one_and_no_file(
    call_cli: RunCli, model: Path, data: Path, tmp_path: Path
) -> None:
    done = call_cli("optimize", model, "-o", tmp_path / "out", *GATE, "--data", data, "--max-drop", "0")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "squeeze-onnx: error: no model that is smaller passes --max-drop 0: with --keep 0.98 "
    )
    assert done.stderr.count("\n") == 1
    assert {line[-8:] for line in done.stdout.splitlines()} == {"too much"}
    assert not list(tmp_path.iterdir())


def test_says_that_it_searched_the_dev_split_if_there_is_no_other(
    call_cli: RunCli, model: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "STS-B").mkdir()
    (tmp_path / "STS-B" / "dev.tsv").write_bytes((data / "STS-B" / "dev.tsv").read_bytes())
    done = call_cli("optimize", model, "-o", tmp_path / "out", *GATE, "--data", tmp_path, "--max-drop", "20", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = call_cli("optimize", model, "-o", tmp_path / "out", *GATE, "--data", tmp_path, "--max-drop", "20", "--force")
    assert "searched on these very rows, for there is no train split: trust it less" in done.stdout


def test_a_metric_that_rises_is_not_said_to_drop() -> None:
    point = {"drop_points": -0.25, "drop_interval": [-1.72, 1.23]}
    selection, gate = ({"split": split, "rows": rows, "points": [point]} for split, rows in (("train", 9), ("dev", 4)))
    search = {"primary_metric": "accuracy", "max_drop": 1.0, "selection": selection, "gate": gate}
    assert search_verdict(search) == (
        "Passed: on 4 rows of the dev split accuracy rises by 0.25 points (95 % interval of the drop -1.72 … +1.23); "
        "1 allowed, which lies within it: more rows would tell. The budget was searched on 9 rows of the train split."
    )


def test_a_cache_serves_the_search_and_any_budget_after_it(
    call_cli: RunCli, model: Path, data: Path, tmp_path: Path
) -> None:
    options = ("--cache", tmp_path / "cache", "--task", "stsb", "--data", data, "--calibration-rows", "50")
    done = call_cli("optimize", model, "-o", tmp_path / "searched", *options, "--max-drop", "20")
    assert done.returncode == 0, done.stderr
    for name, cache in (("cached", options), ("anew", options[2:])):
        done = call_cli("optimize", model, "-o", tmp_path / name, *cache, "--keep", "0.4")
        assert done.returncode == 0, done.stderr
    timing = json.loads((tmp_path / "cached" / "report.json").read_text(encoding="utf-8"))["timing"]
    assert not set(timing) & {"calibration", "neurons", "spectra", "sensitivity"}
    assert (tmp_path / "cached" / "model.onnx").read_bytes() == (tmp_path / "anew" / "model.onnx").read_bytes()
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.slow
def test_a_real_encoder_within_four_points(run_cli: RunCli, model_cache: Path, glue: Path, tmp_path: Path) -> None:
    model, data = minilm_l6(model_cache), tmp_path / "STS-B"
    attention = ("--exclude", "ffn_in", "--exclude", "ffn_out", "--no-refit")
    data.mkdir()
    for name in ("train.tsv", "dev.tsv"):
        with (glue / "STS-B" / name).open(encoding="utf-8") as lines:
            (data / name).write_text("".join(islice(lines, 121)), encoding="utf-8")
    done = run_cli("optimize", model, "-o", tmp_path / "out", *GATE, "--data", tmp_path, "--max-drop", "4", *attention)
    assert done.returncode == 0, done.stderr
    options = ("--task", "stsb", "--data", tmp_path, "--max-drop", "4", "--json", "-")
    done = run_cli("validate", model, tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["search"]["gate"]["points"][-1]["drop_points"] == json.loads(done.stdout)["drop_points"]
    assert report["size"]["optimized_bytes"] < report["size"]["baseline_bytes"]
