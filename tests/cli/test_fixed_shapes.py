"""Models exported for one batch size or one length, as phones and NPUs want them: every command runs them at that."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.cli.optimized import read_json
from tests.conftest import RunCli
from tests.tiny_encoder import SENTENCES, VOCABULARY, WORDS, encoder_model, write_model_folder

SHAPES = {"both": (2, 8), "one": (1, 12), "batch only": (3, None), "length only": (None, 8)}


def fixed_model(folder: Path, size: tuple[int | None, int | None], *, classifier: bool = False) -> Path:
    """Write an encoder or a classifier whose inputs have this batch size and length."""
    model = encoder_model(classifier=classifier)
    for value in model.graph.input:
        for dimension, fixed in zip(value.type.tensor_type.shape.dim, size, strict=True):
            if fixed is not None:
                dimension.dim_value = fixed
    onnx.checker.check_model(model, full_check=True)
    return write_model_folder(folder, model)


@pytest.fixture(params=SHAPES)
def size(request: pytest.FixtureRequest) -> tuple[int | None, int | None]:
    return SHAPES[request.param]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    longer = " ".join(SENTENCES * 2)  # more tokens than any of the models takes
    more = [f"{sentence} {word}" for sentence in SENTENCES for word in WORDS[:9]]
    (tmp_path / "text").write_text("\n".join([*more, longer]), encoding="utf-8")
    return tmp_path / "text"


def inputs(rows: int, length: int) -> dict[str, Any]:
    ids = np.random.default_rng(0).integers(4, VOCABULARY, (rows, length))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def declared(model: Path) -> list[tuple[int, ...]]:
    graph = onnx.load(model / "model.onnx").graph
    return [tuple(size.dim_value for size in value.type.tensor_type.shape.dim) for value in graph.input]


def test_text_calibrates_distils_and_validates_them(
    call_cli: RunCli, tmp_path: Path, text: Path, size: tuple[int | None, int | None]
) -> None:
    model, out = fixed_model(tmp_path / "model", size), tmp_path / "out"
    done = call_cli("optimize", model, "-o", out, "--keep", "0.5", "--calibration", text, "--distill", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert declared(out) == declared(model)
    done = call_cli("validate", model, out, "--data", text, "--json", tmp_path / "found.json")
    assert (done.returncode, done.stderr) == (0, "")
    latency = read_json(tmp_path / "found.json")["latency"]["cpu"]
    assert latency["batch_size"] == (size[0] or 1)
    assert size[1] in (None, latency["tokens"])


def test_answers_are_those_of_a_free_shape(call_cli: RunCli, tmp_path: Path, text: Path) -> None:
    fixed, free = fixed_model(tmp_path / "fixed", (3, 12)), write_model_folder(tmp_path / "free", encoder_model())
    done = call_cli("validate", free, fixed, "--data", text, "--json", tmp_path / "found.json")
    assert (done.returncode, done.stderr) == (0, "")
    found = read_json(tmp_path / "found.json")
    assert found["data"]["rows"] == {"sentences": len(text.read_text(encoding="utf-8").splitlines())}
    assert found["max_abs_diff"] < 1e-5


def test_saved_inputs_are_cut_and_filled_up_to_the_batch_size(call_cli: RunCli, tmp_path: Path) -> None:
    model = fixed_model(tmp_path / "model", (2, 8))
    np.savez(tmp_path / "inputs.npz", **inputs(7, 8))
    out = tmp_path / "out"
    done = call_cli("optimize", model, "-o", out, "--keep", "0.5", "--calibration", tmp_path / "inputs.npz")
    assert (done.returncode, done.stderr) == (0, "")
    np.savez(tmp_path / "longer.npz", **inputs(7, 9))
    done = call_cli("optimize", model, "-o", tmp_path / "no", "--keep", "0.5", "--calibration", tmp_path / "longer.npz")
    assert done.returncode == 2
    assert f"--calibration {tmp_path / 'longer.npz'}: a row of input_ids is 9; the model takes 8" in done.stderr


def test_bench_times_their_shape_and_refuses_another(call_cli: RunCli, tmp_path: Path) -> None:
    model = fixed_model(tmp_path / "model", (2, 8))
    options = ("--rounds", "2", "--no-memory")
    done = call_cli("bench", model, *options, "--json", tmp_path / "found.json")
    assert (done.returncode, done.stderr) == (0, "")
    [shape] = read_json(tmp_path / "found.json")["shapes"]
    assert (shape["batch_size"], shape["sequence_length"]) == (2, 8)
    done = call_cli("bench", model, *options, "--sequence-length", "16")
    assert done.returncode == 2
    assert f"--sequence-length 16: {model} was exported for sequences of 8 tokens only" in done.stderr


def test_latency_is_budgeted_at_their_shape(
    call_cli: RunCli, tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUEEZE_CACHE", str(tmp_path / "cache"))
    model, out = fixed_model(tmp_path / "model", (2, 8)), tmp_path / "out"
    done = call_cli("optimize", model, "-o", out, "--target-latency", "1", "--calibration", text)
    assert (done.returncode, done.stderr) == (0, "")
    latency = read_json(out / "report.json")["latency"]
    assert (latency["batch_size"], latency["sequence_length"]) == (2, 8)
    done = call_cli(
        "optimize", model, "-o", out, "--force", "--target-latency", "0.99", "--batch-size", "4", "--calibration", text
    )
    assert done.returncode == 2
    assert f"--batch-size 4: {model / 'model.onnx'} was exported for batches of 2 only" in done.stderr


@pytest.mark.parametrize("classifier", [False, True])
def test_their_bundle_answers_as_that_of_a_free_shape(call_cli: RunCli, tmp_path: Path, *, classifier: bool) -> None:
    fixed = fixed_model(tmp_path / "fixed", (2, 8), classifier=classifier)
    free = write_model_folder(tmp_path / "free", encoder_model(classifier=classifier))
    answers = []
    for model in (fixed, free):
        bundle = model.with_name(f"{model.name}-bundle")
        done = call_cli("package", model, "-o", bundle)
        assert (done.returncode, done.stderr) == (0, "")
        ran = subprocess.run(
            [sys.executable, bundle / "run.py", SENTENCES[0]], capture_output=True, text=True, check=True
        )
        found = json.loads(ran.stdout)
        answers.append(list(found.values()) if isinstance(found, dict) else found)
    np.testing.assert_allclose(np.array(answers[0]), np.array(answers[1]), atol=1e-5)
