import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from squeeze_onnx.data.vocabulary import embedding_rows

ROWS = 7


def model(nodes: list[onnx.NodeProto], table: np.ndarray, input_name: str = "input_ids") -> ir.Model:
    graph = helper.make_graph(
        nodes,
        "lookup",
        [helper.make_tensor_value_info(input_name, TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.zeros((3, 2), np.float32), "other")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    loaded: ir.Model = ir.from_proto(helper.make_model(graph, opset_imports=opsets))
    return loaded


FLOATS = np.ones((ROWS, 2), np.float32)
TRANSPOSED = np.ones((2, ROWS), np.float32)
INTEGERS = np.ones((ROWS, 2), np.int8)
NODE = helper.make_node


@pytest.mark.parametrize(
    ("nodes", "table"),
    [
        ([NODE("Gather", ["table", "input_ids"], ["y"])], FLOATS),
        ([NODE("Cast", ["input_ids"], ["i"], to=6), NODE("Gather", ["table", "i"], ["y"])], FLOATS),
        ([NODE("Transpose", ["table"], ["t"]), NODE("Gather", ["t", "input_ids"], ["y"])], TRANSPOSED),
        ([NODE("Gather", ["table", "input_ids"], ["q"]), NODE("Cast", ["q"], ["y"], to=1)], INTEGERS),
        (
            [NODE("EmbedLayerNormalization", ["input_ids", "", "table", "other"], ["y"], domain="com.microsoft")],
            FLOATS,
        ),
    ],
    ids=["a lookup", "ids of another type", "a tied, transposed table", "a quantized table", "onnxruntime's fusion"],
)
def test_the_rows_of_the_table_are_found(nodes: list[onnx.NodeProto], table: np.ndarray) -> None:
    assert embedding_rows(model(nodes, table)) == ROWS


def test_a_table_that_is_looked_up_otherwise_is_not_it() -> None:
    nodes = [NODE("Shape", ["input_ids"], ["s"]), NODE("Gather", ["table", "s"], ["y"])]
    assert embedding_rows(model(nodes, FLOATS)) is None


def test_a_model_without_token_ids_has_no_vocabulary() -> None:
    nodes = [NODE("Gather", ["table", "pixels"], ["y"])]
    assert embedding_rows(model(nodes, FLOATS, "pixels")) is None
