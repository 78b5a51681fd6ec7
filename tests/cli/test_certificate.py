"""``optimize`` with calibration data certifies what it wrote, as a user sees it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from tests.conftest import RunCli
from tests.tiny_encoder import WORDS, encoder_model, write_model_folder
from tests.tiny_models import matmul_model, write

CONFIG: dict[str, Any] = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "no", "1": "yes"}}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate")
    write_model_folder(folder / "classifier", encoder_model(classifier=True), **CONFIG)
    write_model_folder(folder / "encoder")
    rng = np.random.default_rng(0)
    sentences = [" ".join(rng.choice(WORDS, size)) for size in rng.integers(3, 12, 40)]
    (folder / "text").write_text("\n".join(sentences), encoding="utf-8")
    return folder


def certificate_of(out: Path) -> Any:
    return json.loads((out / "report.json").read_text(encoding="utf-8"))["certificate"]


@pytest.mark.parametrize("options", [[], ["--include", "classifier", "--method", "svd"]], ids=["encoder", "head too"])
def test_a_classifier_has_moved_no_further_than_its_bound(run_cli: RunCli, work: Path, options: list[str]) -> None:
    out = work / f"small{len(options)}"
    done = run_cli(
        "optimize", work / "classifier", "-o", out, "--keep", "0.4", "--calibration", work / "text", *options
    )
    assert (done.returncode, done.stderr) == (0, "")
    certificate = certificate_of(out)
    measured, bound = certificate["measured"], certificate["bound"]["total"]
    assert (certificate["texts"], certificate["held_back"]) == (5, True)  # an eighth of 40
    assert 0 < measured["worst"] <= bound["worst"]
    assert 0 < measured["mean"] <= bound["mean"]
    assert (certificate["bound"]["from_head"]["worst"] > 0) == bool(options)
    said = (
        f"Certificate: on 5 texts held back: class probability change {measured['mean']:.4f} on average, "
        f"{measured['worst']:.4f} at worst; bounds {bound['mean']:.4f} and {bound['worst']:.4f}"
    )
    assert said in " ".join(done.stdout.split())
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<h3>Certificate</h3>" in page
    assert f"{bound['worst']:.4g}" in page
    assert "they rarely do" in page
    assert "5 texts that were held back from calibration" in page


def test_an_encoder_is_measured(call_cli: RunCli, work: Path) -> None:
    out = work / "embeddings"
    done = call_cli("optimize", work / "encoder", "-o", out, "--keep", "0.4", "--calibration", work / "text")
    assert done.returncode == 0
    assert "on 5 texts held back: cosine distance" in done.stdout
    assert certificate_of(out)["measured"]["worst"] > 0
    assert "the distance is measured only" in (out / "report.html").read_text(encoding="utf-8")


def test_answers_of_an_unknown_kind_are_not_measured_but_said_so(call_cli: RunCli, work: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["y"], name="linear"),
        helper.make_node("Tanh", ["y"], ["z"]),
    ]
    write(matmul_model(numpy_helper.from_array(weight, "W"), nodes=nodes, outputs=("y", "z")), work / "two.onnx")
    np.savez(work / "data.npz", x=np.random.default_rng(1).standard_normal((5, 8)).astype(np.float32))
    options = ("--keep", "0.6", "--include", "other", "--include", "classifier", "--calibration", work / "data.npz")
    done = call_cli("optimize", work / "two.onnx", "-o", work / "unknown", *options)
    assert (done.returncode, done.stderr) == (0, "")
    reason = "has neither class logits nor embeddings among its outputs"
    assert reason in " ".join(done.stdout.split())
    assert "on 5 inputs" in " ".join(done.stdout.split())  # the last look
    certificate = certificate_of(work / "unknown")
    assert (certificate["texts"], certificate["measured"], certificate["bound"]) == (5, None, None)
    assert reason in certificate["notes"][0]
    assert reason in (work / "unknown" / "report.html").read_text(encoding="utf-8")


def test_without_data_there_is_none(call_cli: RunCli, work: Path) -> None:
    done = call_cli("optimize", work / "classifier", "-o", work / "dataless", "--keep", "0.4")
    assert done.returncode == 0
    assert "Certificate" not in done.stdout
    assert certificate_of(work / "dataless") is None
    assert "Certificate" not in (work / "dataless" / "report.html").read_text(encoding="utf-8")
