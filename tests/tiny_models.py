"""Models of a few nodes, as ONNX protobufs, for tests of loading and saving."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

WEIGHT = np.arange(32, dtype=np.float32).reshape(8, 4)


def value(name: str, shape: list[Any] | None, dtype: int = onnx.TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """Return the declaration of a tensor."""
    return helper.make_tensor_value_info(name, dtype, shape)


def matmul_model(
    *initializers: onnx.TensorProto, nodes: list[onnx.NodeProto] | None = None, outputs: tuple[str, ...] = ("y",)
) -> onnx.ModelProto:
    """Return x (b, 8) @ W (8, 4) = y, or whatever ``nodes`` make of x and the ``initializers``."""
    graph = helper.make_graph(
        nodes or [helper.make_node("MatMul", ["x", "W"], ["y"], name="linear")],
        "tiny",
        [value("x", ["b", 8])],
        [value(name, [None, None]) for name in outputs],
        initializers or [numpy_helper.from_array(WEIGHT, "W")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def full_model() -> onnx.ModelProto:
    """Return a model with a bit of everything that must survive: subgraphs, a function, foreign operators, metadata."""

    def branch(output: str) -> onnx.GraphProto:
        return helper.make_graph(
            [helper.make_node("MatMul", ["x", f"W_{output}"], [output])],
            f"branch_{output}",
            [],
            [value(output, ["b", 4])],
            [numpy_helper.from_array(WEIGHT + len(output), f"W_{output}")],
        )

    shift = helper.make_function(
        "local",
        "Shift",
        ["a"],
        ["shifted"],
        [
            helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(WEIGHT[0], "")),
            helper.make_node("Add", ["a", "c"], ["shifted"]),
        ],
        [helper.make_opsetid("", 17)],
    )
    nodes = [
        helper.make_node("If", ["flag"], ["i"], name="same", then_branch=branch("then"), else_branch=branch("else")),
        helper.make_node("MatMul", ["x", "W"], ["m"], name="same", doc_string="two nodes of one name are legal"),
        helper.make_node("Add", ["i", "m"], ["s"]),
        helper.make_node("Shift", ["s"], ["t"], domain="local"),
        helper.make_node("Mystery", ["t", "half", "", "byte"], ["y", ""], domain="org.example", a=1.5, b=["p", "q"]),
    ]
    graph = helper.make_graph(
        nodes,
        "full",
        [value("x", ["b", 8]), value("flag", [], onnx.TensorProto.BOOL)],
        [value("y", None)],
        [
            numpy_helper.from_array(WEIGHT, "W"),
            numpy_helper.from_array(WEIGHT.astype(np.float16), "half"),
            numpy_helper.from_array(WEIGHT.astype(np.int8), "byte"),
        ],
        value_info=[value("m", ["b", 4])],
        doc_string="a graph",
    )
    model = helper.make_model(
        graph,
        functions=[shift],
        opset_imports=[helper.make_opsetid(*opset) for opset in [("", 17), ("local", 1), ("org.example", 3)]],
        ir_version=8,
        producer_name="tests",
        producer_version="1.2",
    )
    helper.set_model_props(model, {"author": "somebody", "licence": "none"})
    return model


def external_tensor(
    name: str, location: str, array: np.ndarray[Any, Any] = WEIGHT, /, **entries: str
) -> onnx.TensorProto:
    """Return a tensor of the type and shape of ``array`` that lies in the file ``location``."""
    tensor = onnx.TensorProto(
        name=name,
        data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
        dims=array.shape,
        data_location=onnx.TensorProto.EXTERNAL,
    )
    for key, text in {"location": location, "offset": "0", "length": str(array.nbytes), **entries}.items():
        tensor.external_data.add(key=key, value=text)
    return tensor


def write(model: onnx.ModelProto, path: Path, **data_files: bytes) -> Path:
    """Write ``model`` to ``path``, and ``data_files`` beside it under their names with the suffix .bin."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    for name, content in data_files.items():
        (path.parent / f"{name}.bin").write_bytes(content)
    return path
