import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.support.errors import GateError, LastLookError
from squeeze_onnx.workflows import recipe_run
from tests.conftest import RunCli
from tests.folders import snapshot
from tests.text_models import SPECIAL
from tests.tiny_encoder import WORDS, encoder_model, write_model_folder

RECIPE = """
model = "model"
output = "small"

[optimize]
method = "svd"
keep = {keep}

[validate]
task = "sst2"
data = "glue"
max_drop = {max_drop}
latency_rounds = 2

[package]
output = "small.zip"
licence = "Apache-2.0"
"""
CLS, SEP = 2, 3


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Return a folder with a tiny classifier and a dev set of 60 rows, all of which it gets right."""
    model = write_model_folder(tmp_path / "model", encoder_model(classifier=True))
    words = np.random.default_rng(0).integers(len(WORDS), size=(60, 5))
    ids = np.pad(words + len(SPECIAL), ((0, 0), (1, 1)), constant_values=((0, 0), (CLS, SEP)))
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    [logits] = open_session(model / "model.onnx").run(None, feeds)
    rows = [
        f"{' '.join(WORDS[word] for word in row)}\t{label}" for row, label in zip(words, logits.argmax(1), strict=True)
    ]
    (tmp_path / "glue" / "SST-2").mkdir(parents=True)
    (tmp_path / "glue" / "SST-2" / "dev.tsv").write_text("\n".join(["sentence\tlabel", *rows, ""]), encoding="utf-8")
    return tmp_path


def write_recipe(folder: Path, *, keep: float = 0.5, max_drop: float = 100) -> Path:
    path = folder / "squeeze.toml"
    path.write_text(RECIPE.format(keep=keep, max_drop=max_drop), encoding="utf-8")
    return path


def test_a_recipe_does_all_steps_and_says_so(run_cli: RunCli, work: Path) -> None:
    done = run_cli("run", write_recipe(work), "--json", "-", "--junit", work / "gates.xml")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert (report["format"], report["passed"]) == ("squeeze-onnx/run/1", True)
    assert report["optimization"] == json.loads((work / "small" / "report.json").read_text(encoding="utf-8"))
    assert report["validation"]["max_drop"] == 100
    assert report["bundle"]["path"] == str(work / "small.zip")
    assert ET.parse(work / "gates.xml").getroot().get("failures") == "0"


def test_the_bundle_tells_what_the_recipe_measured(call_cli: RunCli, work: Path) -> None:
    done = call_cli("run", write_recipe(work))
    assert f"Next: squeeze-onnx verify {work / 'small.zip'}" in done.stdout
    call_cli("verify", work / "small.zip", "--unpack", work / "device")
    manifest = json.loads((work / "device" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["licence"] == "Apache-2.0"
    assert manifest["measured"]["validation"]["task"] == "sst2"
    assert manifest["measured"]["optimization"]["method"] == "svd"


def test_a_gate_that_fails_is_status_1_and_packages_nothing(call_cli: RunCli, work: Path) -> None:
    done = call_cli(
        "run", write_recipe(work, keep=0.15, max_drop=0), "--junit", work / "gates.xml", "--json", work / "r.json"
    )
    report = json.loads((work / "r.json").read_text(encoding="utf-8"))
    assert report["validation"]["drop_points"] > 0
    assert done.returncode == 1
    assert report["bundle"] is None
    assert not (work / "small.zip").exists()
    assert (work / "small" / "report.html").exists()
    assert ET.parse(work / "gates.xml").getroot().get("failures") == "1"


def test_a_search_that_finds_nothing_is_told_in_junit_too(
    call_cli: RunCli, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_nothing(*_: object, **__: object) -> None:
        raise GateError("no model that is smaller passes")

    monkeypatch.setattr(recipe_run, "optimize_within", find_nothing)
    path = write_recipe(work)
    search = '[search]\ntask = "sst2"\ndata = "glue"\nmax_drop = 0\n'
    path.write_text(path.read_text(encoding="utf-8").replace("keep = 0.5", "") + search, encoding="utf-8")
    done = call_cli("run", path, "--junit", work / "gates.xml")
    assert (done.returncode, done.stdout) == (1, "")
    [failure] = ET.parse(work / "gates.xml").iter("failure")
    assert failure.get("message") == "no model that is smaller passes"


def test_a_model_that_does_not_answer_as_predicted_is_told_in_junit_too(
    call_cli: RunCli, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_it(*_: object, **__: object) -> None:
        raise LastLookError("rounding broke it")

    monkeypatch.setattr(recipe_run, "optimize", break_it)
    done = call_cli("run", write_recipe(work), "--junit", work / "gates.xml")
    assert (done.returncode, done.stdout) == (1, "")
    [case] = ET.parse(work / "gates.xml").iter("testcase")
    assert case.get("name") == "the model answers as predicted"
    assert [failure.get("message") for failure in case.iter("failure")] == ["rounding broke it"]


def test_what_is_there_stays_unless_forced(call_cli: RunCli, work: Path) -> None:
    recipe = write_recipe(work)
    assert call_cli("run", recipe, "--quiet").stdout == ""
    before = snapshot(work)
    refused = call_cli("run", recipe)
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert snapshot(work) == before
    assert call_cli("run", recipe, "--force").returncode == 0


def test_junit_without_a_gate_is_status_2(call_cli: RunCli, work: Path) -> None:
    path = work / "squeeze.toml"
    path.write_text('model = "model"\noutput = "small"\n', encoding="utf-8")
    for command in (("run", path), ("validate", work / "model", work / "model")):
        done = call_cli(*command, "--junit", work / "gates.xml")
        assert done.returncode == 2
        assert "--junit tells of gates" in done.stderr


def test_optimize_and_validate_write_the_same_for_a_machine(call_cli: RunCli, work: Path) -> None:
    done = call_cli("optimize", work / "model", "-o", work / "small", "--method", "svd", "--json", "-")
    assert json.loads(done.stdout) == json.loads((work / "small" / "report.json").read_text(encoding="utf-8"))
    gate = ("--task", "sst2", "--data", work / "glue", "--max-drop", "100", "--junit", work / "gates.xml", "--quiet")
    assert call_cli("validate", work / "model", work / "small", *gate).returncode == 0
    assert ET.parse(work / "gates.xml").getroot().get("tests") == "1"


def test_a_recipe_of_saved_inputs_reads_them_in_every_step(call_cli: RunCli, tmp_path: Path) -> None:
    """Of a model that reads other than text there are no texts to calibrate on, none to compare answers to, none to ask."""
    (write_model_folder(tmp_path / "model", encoder_model(classifier=True)) / "tokenizer.json").unlink()
    ids = np.random.default_rng(0).integers(len(SPECIAL), len(SPECIAL) + len(WORDS), (24, 6))
    np.savez(tmp_path / "inputs.npz", input_ids=ids, attention_mask=np.ones_like(ids))
    (tmp_path / "squeeze.toml").write_text(
        'model = "model"\noutput = "small"\n[optimize]\nmethod = "whiten"\nkeep = 0.5\nrefit = false\nsimulations = 1\n'
        '[calibration]\nsource = "inputs.npz"\n[validate]\ndata = "inputs.npz"\nlatency_rounds = 1\n'
        '[package]\noutput = "bundle"\ndata = "inputs.npz"\n',
        encoding="utf-8",
    )
    done = call_cli("run", tmp_path / "squeeze.toml")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing was scored: saved inputs have no labels." in done.stdout
    assert np.load(tmp_path / "bundle" / "example.npz")["input_ids"].tolist() == ids[:1].tolist()
