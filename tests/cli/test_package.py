import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import RunCli
from tests.folders import snapshot
from tests.text_models import write_classifier
from tests.tiny_encoder import outputs, write_model_folder

SENTIMENT = {"good": (-1.0, 1.0), "bad": (1.0, -1.0)}
MODULES_OF_A_DEVICE = {"json", "math", "numpy", "onnxruntime", "os", "pathlib", "sys", "tokenizers"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model_folder(tmp_path / "model")


def answer(bundle: Path, *texts: str) -> object:
    """Run the bundle's run.py where squeeze_onnx cannot be found."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [sys.executable, str(bundle / "run.py"), *texts]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=bundle.parent)
    return json.loads(done.stdout)


def test_from_a_model_to_an_answer_on_the_device(run_cli: RunCli, tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "model", SENTIMENT, id2label={"0": "negative", "1": "positive"})
    packed = run_cli("package", model, "-o", tmp_path / "b.zip", "--form", "both")
    assert (packed.returncode, packed.stderr) == (0, "")
    sha256 = packed.stdout.split()[-1]
    checked = run_cli("verify", tmp_path / "b.zip", "--sha256", sha256, "--unpack", tmp_path / "device")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "all as manifest.json says; answered by model.ort and model.onnx" in checked.stdout
    assert f"Next: python {tmp_path / 'device' / 'run.py'}" in checked.stdout
    odds = answer(tmp_path / "device", "good good")
    assert isinstance(odds, dict)
    assert odds["positive"] == pytest.approx(0.982, abs=1e-3)
    assert odds["negative"] + odds["positive"] == pytest.approx(1)


def test_run_py_gives_each_label_its_own_chance(call_cli: RunCli, tmp_path: Path) -> None:
    named = {"id2label": {"0": "fun", "1": "sad"}, "problem_type": "multi_label_classification"}
    model = write_classifier(tmp_path / "model", SENTIMENT, **named)
    call_cli("package", model, "-o", tmp_path / "b")
    assert answer(tmp_path / "b", "good good") == pytest.approx({"fun": 0.119, "sad": 0.881}, abs=1e-3)


def test_run_py_is_short_and_needs_three_packages(call_cli: RunCli, model: Path, tmp_path: Path) -> None:
    assert call_cli("package", model, "-o", tmp_path / "b", "--quiet").stdout == ""
    code = (tmp_path / "b" / "run.py").read_text(encoding="utf-8")
    assert len(code.splitlines()) <= 70
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    assert found == MODULES_OF_A_DEVICE


def test_run_py_gives_the_embedding_of_a_sentence(call_cli: RunCli, model: Path, tmp_path: Path) -> None:
    call_cli("package", model, "-o", tmp_path / "b")
    embedding = answer(tmp_path / "b", "the film was good")
    assert isinstance(embedding, list)
    assert len(embedding) == outputs(model).shape[-1]
    assert answer(tmp_path / "b", "a dull plot") != embedding


def test_a_tampered_bundle_is_status_2_and_one_sentence(call_cli: RunCli, model: Path, tmp_path: Path) -> None:
    call_cli("package", model, "-o", tmp_path / "b", "--form", "onnx")
    (tmp_path / "b" / "run.py").write_text("import antigravity")
    before = snapshot(tmp_path)
    done = call_cli("verify", tmp_path / "b")
    assert (done.returncode, done.stdout) == (2, "")
    assert "run.py has 18 bytes, not" in done.stderr
    assert done.stderr.count("\n") == 1
    assert snapshot(tmp_path) == before


def test_an_archive_that_is_cut_off_is_status_2(call_cli: RunCli, model: Path, tmp_path: Path) -> None:
    call_cli("package", model, "-o", tmp_path / "b.zip")
    content = (tmp_path / "b.zip").read_bytes()
    (tmp_path / "b.zip").write_bytes(content[: len(content) // 2])
    done = call_cli("verify", tmp_path / "b.zip")
    assert done.returncode == 2
    assert "b.zip is cut off or damaged" in done.stderr


def test_verbose_lists_the_files(call_cli: RunCli, model: Path, tmp_path: Path) -> None:
    for command in (("package", model, "-o", tmp_path / "b"), ("verify", tmp_path / "b")):
        assert "model.onnx  " in call_cli(*command, "--verbose").stdout


@pytest.mark.parametrize("form", ["onnx", "ort"])
def test_a_compressed_model_answers_as_it_did_and_is_smaller_on_the_way(
    call_cli: RunCli, model: Path, tmp_path: Path, form: str
) -> None:
    call_cli("package", model, "-o", tmp_path / "plain", "--form", form)
    said = call_cli("package", model, "-o", tmp_path / "b.zip", "--form", form, "--compress", "zstd").stdout
    assert " in memory" in said
    assert call_cli("verify", tmp_path / "b.zip", "--unpack", tmp_path / "b").returncode == 0
    assert answer(tmp_path / "b", "the film was good") == answer(tmp_path / "plain", "the film was good")
    packed = tmp_path / "b" / f"model.{form}.zst"
    assert packed.stat().st_size < (tmp_path / "plain" / f"model.{form}").stat().st_size
    manifest = tmp_path / "b" / "manifest.json"
    document = json.loads(manifest.read_text())
    document["contents"][packed.name]["bytes"] -= 1
    manifest.write_text(json.dumps(document))
    refused = call_cli("verify", tmp_path / "b")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"model.{form}.zst does not hold what its manifest says: do not trust it" in refused.stderr
