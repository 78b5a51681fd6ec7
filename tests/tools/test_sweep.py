"""The sweep tells right from wrong: what it calls a fault is one."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.graph.rewrite.rewriter import factor_site
from tests.tiny_encoder import batch, encoder_model, weights_of, with_weights
from tests.tiny_models import WEIGHT, matmul_model, value
from tools import sweep
from tools.sweep_corpus import FLOAT
from tools.trust_tables import sweep_table


def written(folder: Path, model: onnx.ModelProto, **feeds: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    np.savez(folder / "inputs.npz", **feeds)  # type: ignore[arg-type]
    return folder


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return written(tmp_path / "exports" / "encoder", encoder_model(), **batch())


def test_a_model_that_is_squeezed(encoder: Path) -> None:
    assert sweep.look_at(sweep.Job(encoder)) == sweep.Finding("exports/encoder", "squeezed", sites=13, compared=True)


def test_a_model_without_weights(tmp_path: Path) -> None:
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value("x", [2])], [value("y", [2])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder = written(tmp_path / "node" / "relu", model, x=np.ones(2, np.float32))
    found = sweep.look_at(sweep.Job(folder))
    assert (found.outcome, found.sites, found.compared) == ("nothing to squeeze", 0, True)


def test_a_model_that_is_none(tmp_path: Path) -> None:
    folder = written(tmp_path / "node" / "broken", matmul_model())
    (folder / "model.onnx").write_bytes(b"no model")
    found = sweep.look_at(sweep.Job(folder))
    assert (found.outcome, found.compared) == ("refused", False)
    assert "is not an ONNX file" in found.detail


def test_other_outputs(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def factor_badly(model: Any, site: Any, left: np.ndarray, right: np.ndarray) -> None:
        factor_site(model, site, left, 1.01 * right)

    monkeypatch.setattr(sweep, "factor_site", factor_badly)
    assert sweep.look_at(sweep.Job(encoder)).outcome == "wrong"


def test_a_graph_that_does_not_run_any_more(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save_nonsense(_: Any, path: Path) -> None:
        path.write_bytes(b"no model")

    monkeypatch.setattr(sweep, "save_model", save_nonsense)
    assert sweep.look_at(sweep.Job(encoder)).outcome == "broken"


def test_an_error_that_nobody_meant(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise KeyError("unexpected")

    monkeypatch.setattr(sweep, "analyze", fail)
    found = sweep.look_at(sweep.Job(encoder))
    assert found.outcome == "traceback"
    assert "KeyError: 'unexpected'" in found.detail


def test_a_model_that_does_not_end_is_one_fault_and_the_others_are_looked_at(
    encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [found.outcome for found in sweep.sweep([sweep.Job(encoder)])] == ["squeezed"]
    monkeypatch.setattr(sweep, "_LIMIT_SECONDS", 0.0)
    findings = sweep.sweep([sweep.Job(encoder), sweep.Job(encoder)])
    assert [found.outcome for found in findings] == ["crash", "crash"]
    assert sweep.summary(findings)["kinds"] == {"exports": {"crash": 2}}


def test_what_is_quantized_or_has_weights_as_inputs_is_looked_at_twice(tmp_path: Path) -> None:
    """The second time dequantized, with these inputs frozen, and near to the float model it comes from."""
    float_folder = written(tmp_path / "exports" / "float", encoder_model(), **batch())
    quantized = written(tmp_path / "exports" / "int8", encoder_model(), **batch())
    quantize_dynamic(encoder_model(), quantized / "model.onnx", weight_type=QuantType.QInt8)
    (quantized / FLOAT).symlink_to(Path("..", "float"))
    old = matmul_model()
    old.graph.input.append(value("W", list(WEIGHT.shape)))
    written(tmp_path / "exports" / "old", old, x=np.ones((2, 8), np.float32))
    jobs = list(sweep.jobs_in(tmp_path))
    assert jobs[0] == sweep.Job(float_folder)
    assert [(job.name, sweep.look_at(job).outcome) for job in jobs[1:]] == [
        ("exports/int8", "nothing to squeeze"),
        ("exports prepared/int8", "squeezed"),
        ("exports/old", "nothing to squeeze"),
        ("exports prepared/old", "squeezed"),
    ]


def test_a_dequantized_model_that_is_far_from_both_others_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "exports" / "float", encoder_model(classifier=True), **batch())
    quantized = written(tmp_path / "exports" / "int8", matmul_model(), **batch())
    quantize_dynamic(encoder_model(classifier=True), quantized / "model.onnx", weight_type=QuantType.QInt8)
    (quantized / FLOAT).symlink_to(Path("..", "float"))
    opposite = -weights_of(encoder_model(classifier=True))["classifier.weight"]
    spoiled: ir.Model = ir.from_proto(with_weights(encoder_model(classifier=True), {"classifier.weight": opposite}))
    job = sweep.Job(quantized, prepared=True)
    assert sweep.look_at(job).outcome == "squeezed"
    monkeypatch.setattr(sweep, "open_model", lambda path, config: OnnxModel(path / "model.onnx", spoiled))
    assert sweep.look_at(job).outcome == "wrong"


def test_a_type_that_onnxruntime_has_no_kernels_for_is_evaluated_by_reference(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "W"], ["y"], name="linear")]
    kind = onnx.TensorProto.BFLOAT16
    graph = helper.make_graph(
        [helper.make_node("Cast", ["f"], ["x"], to=kind), *nodes],
        "g",
        [value("f", ["b", 8])],
        [value("y", ["b", 4], kind)],
        [helper.make_tensor("W", kind, WEIGHT.shape, WEIGHT.ravel() / 32)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder = written(tmp_path / "exports" / "bfloat16", model, f=np.ones((2, 8), np.float32))
    assert sweep.look_at(sweep.Job(folder)) == sweep.Finding("exports/bfloat16", "squeezed", sites=1, compared=True)


def test_counts_are_told_by_where_models_come_from() -> None:
    counts = sweep.summary(
        [sweep.Finding("node/relu", "nothing to squeeze", 0, True), sweep.Finding("data/a", "squeezed", 2)]
    )
    assert counts["faults"] == 0
    told = sweep_table({"exports": counts, "backend": counts})
    assert "| **all** | 2 | 1 | 1 | 0 | 0 | 0 | 0 | 0 |" in told
    assert "2 of them could be run" in told[-1]
