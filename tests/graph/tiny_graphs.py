"""Tiny graphs from text, so that a test shows the whole graph it is about."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

Array = np.ndarray


def tiny_model(graph: str, *, opset: int = 21, functions: str = "", **constants: Any) -> ir.Model:
    """Return the model of ``graph``, in ONNX's text syntax, with ``constants`` as its initializers.

    Example: ``tiny_model("g (float[B,4] x) => (float[B,6] y) { y = MatMul(x, W) }", W=np.ones((4, 6), np.float32))``
    """
    header = f'<ir_version: 10, opset_import: ["": {opset}, "com.microsoft": 1, "local": 1]>'
    proto = onnx.parser.parse_model(f"{header}\n{graph}\n{functions}")
    proto.graph.initializer.extend(ir.to_proto(ir.tensor(value, name=name)) for name, value in constants.items())
    model: ir.Model = ir.from_proto(proto)
    return model


def random_weight(*shape: int, seed: int = 0) -> Array:
    """Return a float32 array of the shape, of independent standard normal entries."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def node_named(model: ir.Model, name: str) -> ir.Node:
    """Return the node called ``name``."""
    return model.graph.node(name)


def operators(model: ir.Model) -> list[str]:
    """Return the operators of the main graph in order."""
    return [node.op_type for node in model.graph]


def initializer_names(model: ir.Model) -> Sequence[str]:
    """Return the names of the initializers of the main graph."""
    return sorted(model.graph.initializers)
