import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from squeeze_onnx.runtime.ort_format import operators_config, required_operators, write_ort
from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.support.errors import ModelError
from tests.tiny_encoder import batch, write_model_folder
from tests.tiny_models import value


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model_folder(tmp_path / "model") / "model.onnx"


def test_the_file_answers_as_the_model_does(model: Path, tmp_path: Path) -> None:
    write_ort(model, tmp_path / "model.ort")
    [expected], [found] = (open_session(path).run(None, batch()) for path in (model, tmp_path / "model.ort"))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_equal_models_give_equal_bytes_in_other_processes_too(model: Path, tmp_path: Path) -> None:
    targets = [tmp_path / f"{number}.ort" for number in range(3)]
    for target in targets[:2]:
        write_ort(model, target)
    code = "import sys; from pathlib import Path; from squeeze_onnx.runtime.ort_format import write_ort\n"
    code += "write_ort(*map(Path, sys.argv[1:])); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, model, targets[2]], check=True)
    first, *others = (target.read_bytes() for target in targets)
    assert others == [first, first]


def test_the_operators_are_those_after_fusion(model: Path, tmp_path: Path) -> None:
    write_ort(model, tmp_path / "model.ort")
    operators = required_operators(tmp_path / "model.ort")
    assert "LayerNormalization" in operators["ai.onnx", 17]
    assert "BiasGelu" in operators["com.microsoft", 1]
    lines = operators_config(operators).splitlines()
    assert lines[0].startswith("#")
    assert lines[1] == "ai.onnx;13;Cast,Gather,MatMul,Softmax,Transpose,Unsqueeze"


def test_operators_of_subgraphs_count(tmp_path: Path) -> None:
    def branch(name: str, op: str) -> onnx.GraphProto:
        return helper.make_graph([helper.make_node(op, ["x"], [name])], name, [], [value(name, ["b"])])

    graph = helper.make_graph(
        [
            helper.make_node(
                "If", ["flag"], ["y"], then_branch=branch("sine", "Sin"), else_branch=branch("cosine", "Cos")
            )
        ],
        "branches",
        [value("x", ["b"]), value("flag", [], onnx.TensorProto.BOOL)],
        [value("y", ["b"])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    write_ort(tmp_path / "m.onnx", tmp_path / "m.ort")
    assert {"Sin", "Cos"} <= required_operators(tmp_path / "m.ort")["ai.onnx", 7]


def test_a_model_that_cannot_be_written_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"cannot write .*m\.onnx in ORT format: .*Protobuf"):
        write_ort(tmp_path / "m.onnx", tmp_path / "m.ort")
