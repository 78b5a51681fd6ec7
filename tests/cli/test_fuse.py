"""``optimize --fuse``: operators of ONNX Runtime's own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cli.optimized import read_json
from tests.conftest import RunCli
from tests.tiny_encoder import (
    LAYERS,
    outputs,
)


def test_a_fused_model_answers_as_the_portable_one_and_the_report_counts_its_operators(
    run_cli: RunCli, work: Path, half: tuple[Path, str]
) -> None:
    portable, _ = half
    options = ("--method", "svd", "--keep", "0.5", "--fuse", "cuda")
    done = run_cli("optimize", work / "model", "-o", work / "fused", *options)
    assert (done.returncode, done.stderr) == (0, "")
    np.testing.assert_allclose(outputs(work / "fused"), outputs(portable), rtol=0, atol=1e-5)
    operators = [node.op_type for node in onnx.load(work / "fused" / "model.onnx").graph.node]
    assert operators.count("MultiHeadAttention") == LAYERS
    assert "Softmax" not in operators
    assert read_json(work / "fused" / "report.json")["fused"] == {
        "Attention": {"dense": LAYERS, "squeezed": LAYERS},
        "EmbedLayerNormalization": {"dense": 0, "squeezed": 0},
        "SkipLayerNormalization": {"dense": 2 * LAYERS, "squeezed": 2 * LAYERS},
        "Gelu": {"dense": LAYERS, "squeezed": LAYERS},
    }
    assert "Fused operators" in done.stdout
    assert "Fused operators" in (work / "fused" / "report.html").read_text(encoding="utf-8")
    assert read_json(portable / "report.json")["fused"] is None


@pytest.mark.parametrize("storage", [(), ("--external-data",)], ids=["one file", "weights beside it"])
def test_a_dense_attention_is_packed_wherever_the_weights_go(
    optimize: Callable[..., Path], model: Path, storage: tuple[str, ...]
) -> None:
    options = ("--method", "svd", "--keep", "0.5", *(f"--exclude={role}" for role in ("query", "key", "value")))
    fused = optimize(model, *options, "--fuse", "cpu", *storage)
    packed = [node.op_type for node in onnx.load(fused / "model.onnx", load_external_data=False).graph.node]
    assert packed.count("Attention") == LAYERS
    assert (fused / "model.onnx.data").exists() == bool(storage)
    np.testing.assert_allclose(outputs(fused), outputs(optimize(model, *options)), rtol=0, atol=1e-5)


def test_a_provider_that_nothing_is_fused_for_is_refused(call_cli: RunCli, model: Path, tmp_path: Path) -> None:
    done = call_cli("optimize", model, "-o", tmp_path / "out", "--fuse", "gpu")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--fuse is one of cpu, cuda; got 'gpu'" in done.stderr
