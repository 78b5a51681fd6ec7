"""Tables of tokens, however they are stored, with some of their rows; and graphs that compute with the ids otherwise."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from squeeze_onnx.graph.rewrite.trimmed_table import find_token_tables, keep_rows
from squeeze_onnx.support.errors import ModelError
from tests.graph.execution import run

ROWS, FEATURES = 12, 16
KEPT = [0, 3, 4, 9]
Nodes = list[onnx.NodeProto]
Tensors = dict[str, np.ndarray]


def graph(nodes: Nodes, tensors: Tensors, *, width: int = FEATURES, ids: str = "input_ids") -> ir.Model:
    made = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(ids, TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", "tokens", width])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model: ir.Model = ir.from_proto(helper.make_model(made, opset_imports=opsets, ir_version=10))
    return model


def node(op: str, inputs: str, output: str = "out", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), [output], name=f"{op}_{output}", **attributes)


def numbers(dtype: type = np.float32, columns: int = FEATURES) -> np.ndarray:
    return (10 * np.random.default_rng(0).standard_normal((ROWS, columns))).astype(dtype)


def plain() -> tuple[Nodes, Tensors]:
    return [node("Gather", "table input_ids")], {"table": numbers()}


def behind_casts() -> tuple[Nodes, Tensors]:
    nodes = [
        node("Cast", "input_ids", "short", to=TensorProto.INT32),
        node("Cast", "table", "wide", to=TensorProto.FLOAT),
    ]
    return [*nodes, node("Gather", "wide short")], {"table": numbers(np.float16)}


def low_rank() -> tuple[Nodes, Tensors]:
    nodes = [node("Gather", "left input_ids", "thin"), node("MatMul", "thin right")]
    return nodes, {"left": numbers(columns=2), "right": numbers()[:2]}


def with_scales(rows: int) -> Callable[[], tuple[Nodes, Tensors]]:
    def quantized() -> tuple[Nodes, Tensors]:
        scale = np.linspace(0.1, 1, rows, dtype=np.float32) if rows > 1 else np.float32(0.1)
        nodes = [node("DequantizeLinear", "table scale zero", "wide", axis=0), node("Gather", "wide input_ids")]
        return nodes, {"table": numbers(np.int8), "scale": np.asarray(scale), "zero": np.zeros_like(scale, np.int8)}

    return quantized


def picked_integers() -> tuple[Nodes, Tensors]:
    nodes = [node("Gather", "table input_ids", "picked"), node("DequantizeLinear", "picked scale", axis=-1)]
    return nodes, {"table": numbers(np.int8), "scale": np.linspace(0.1, 1, FEATURES, dtype=np.float32)}


def four_bits() -> tuple[Nodes, Tensors]:
    attributes: dict[str, Any] = {
        "gather_axis": 0,
        "quantize_axis": 1,
        "block_size": 16,
        "bits": 4,
        "domain": "com.microsoft",
    }
    packed = np.random.default_rng(0).integers(0, 256, (ROWS, FEATURES // 2)).astype(np.uint8)
    scales = np.linspace(0.1, 1, ROWS, dtype=np.float32)[:, None]
    return [node("GatherBlockQuantized", "packed input_ids scales", **attributes)], {"packed": packed, "scales": scales}


@pytest.mark.parametrize(
    "form", [plain, behind_casts, low_rank, with_scales(1), with_scales(ROWS), picked_integers, four_bits]
)
def test_the_rows_that_stay_are_those_that_they_were(form: Callable[[], tuple[Nodes, Tensors]]) -> None:
    model = graph(*form())
    [before] = run(model, {"input_ids": np.array([KEPT])})
    tables = find_token_tables(model)
    assert tables.rows == ROWS
    keep_rows(tables, KEPT)
    [after] = run(model, {"input_ids": np.array([range(len(KEPT))])})
    np.testing.assert_array_equal(before, after)
    stored = [tensor.const_value for tensor in model.graph.initializers.values()]
    assert not any(tensor is not None and tensor.shape and tensor.shape[0] == ROWS for tensor in stored)


def test_what_ids_are_compared_with_is_told() -> None:
    nodes = [node("Gather", "table input_ids", "words"), node("Equal", "input_ids id", "same")]
    nodes += [node("Cast", "same", "ones", to=TensorProto.FLOAT), node("Unsqueeze", "ones last", "column")]
    made = graph([*nodes, node("Add", "words column")], {"table": numbers(), "id": np.array(1), "last": np.array([2])})
    assert find_token_tables(made).fixed == {1}


TIED = [
    node("Gather", "table input_ids", "words"),
    node("Transpose", "table", "turned", perm=[1, 0]),
    node("MatMul", "words turned"),
]
COMPUTED = [
    node("Cast", "input_ids", "reals", to=TensorProto.FLOAT),
    node("Sqrt", "reals", "roots"),
    node("Unsqueeze", "roots last", "column"),
    node("Gather", "table input_ids", "words"),
    node("Add", "words column"),
]
TABLE: Tensors = {"table": numbers()}


@pytest.mark.parametrize(
    ("nodes", "tensors", "options", "message"),
    [
        (TIED, TABLE, {"width": ROWS}, "Transpose 'Transpose_turned' computes with the table 'table'"),
        (COMPUTED, TABLE | {"last": np.array([2])}, {}, "Sqrt 'Sqrt_roots' computes with the token ids"),
        ([node("Gather", "table ids")], TABLE, {"ids": "ids"}, "no table that input_ids is looked up in"),
        (
            [node("Gather", "table input_ids", "words"), node("MatMul", "words answer")],
            TABLE | {"answer": numbers().T.copy()},
            {"width": ROWS},
            "its output 'out' has a number for each of its 12 tokens",
        ),
        (
            [node("Gather", "table input_ids", "a"), node("Gather", "other input_ids", "b"), node("Add", "a b")],
            TABLE | {"other": np.zeros((ROWS + 1, FEATURES), np.float32)},
            {},
            "its tables have 12 and 13 rows",
        ),
    ],
)
def test_what_reads_tokens_otherwise_is_refused(
    nodes: Nodes, tensors: Tensors, options: dict[str, str], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        find_token_tables(graph(nodes, tensors, **options))  # type: ignore[arg-type]
