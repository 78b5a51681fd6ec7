import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.rewrite.insertion import Inserter
from tests.graph.execution import run
from tests.graph.tiny_graphs import operators, tiny_model

X = np.array([[1.0, -2.0]], np.float32)


def model() -> ir.Model:
    return tiny_model("g (float[B,2] x) => (float[B,2] y) { a = Relu(x)  y = Neg(a) }")


def test_a_node_goes_where_it_is_told_and_leaves_out_operands_at_the_end() -> None:
    graph = model().graph
    relu, negation = graph
    value = Inserter(ir.Model(graph, ir_version=10)).node("Clip", [relu.outputs[0], None, None], before=negation, to=1)
    clip = value.producer()
    assert clip is not None
    assert [node.op_type for node in graph] == ["Relu", "Clip", "Neg"]
    assert list(clip.inputs) == [relu.outputs[0]]
    assert clip.attributes["to"].as_int() == 1


def test_a_domain_is_imported_when_its_first_operator_comes() -> None:
    changed = model()
    del changed.graph.opset_imports["com.microsoft"]
    _, negation = changed.graph
    gelu = Inserter(changed).node("com.microsoft.Gelu", [negation.inputs[0]], before=negation)
    negation.replace_input_with(0, gelu)
    assert changed.graph.opset_imports["com.microsoft"] == 1
    assert run(changed, {"x": X})[0].shape == X.shape


def test_names_that_are_taken_are_not_used_again() -> None:
    changed = model()
    _, negation = changed.graph
    inserter = Inserter(changed)
    names = [inserter.initializer("a", ir.tensor(X)).name for _ in range(2)]
    nodes = [inserter.node("Relu", [negation.inputs[0]], before=negation).producer() for _ in range(2)]
    assert names == ["a_1", "a_2"]
    assert len({node.name for node in nodes if node is not None}) == 2
    assert operators(changed) == ["Relu", "Relu", "Relu", "Neg"]
