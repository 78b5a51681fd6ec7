"""A block with all kinds of weights: a table, two factors, and a Gemm behind a weight in an Identity."""

import numpy as np
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from squeeze_onnx.data.calibration import CalibrationBatch

WORDS, WIDTH, RANK, OUT = 40, 32, 8, 48
SITES = ("table", "left", "right", "head")


def block(**replaced: np.ndarray) -> ir.Model:
    """Return ids (b, t) ─► table ─► + ─► left ─► right ─► Tanh ─► mean ─► head ─► y (b, 4), weights by name ``replaced``."""
    random = np.random.default_rng(0)
    shapes = {"table": (WORDS, WIDTH), "left": (WIDTH, RANK), "right": (RANK, OUT), "head": (4, OUT)}
    weights = {name: random.standard_normal(shape) / np.sqrt(shape[0]) for name, shape in shapes.items()}
    weights["table"] *= np.sqrt(WORDS)
    weights |= {"bias": np.arange(4.0), "shift": np.array(0.5)} | replaced
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["row"], name="table"),
        helper.make_node("Add", ["row", "shift"], ["x"], name="shift"),
        helper.make_node("MatMul", ["x", "left"], ["h"], name="left"),
        helper.make_node("MatMul", ["h", "right"], ["z"], name="right"),
        helper.make_node("Tanh", ["z"], ["tanh"], name="tanh"),
        helper.make_node("ReduceMean", ["tanh"], ["pooled"], axes=[1], keepdims=0, name="pool"),
        helper.make_node("Identity", ["head"], ["same"], name="same"),
        helper.make_node("Gemm", ["pooled", "same", "bias"], ["y"], transB=1, name="head"),
    ]
    graph = helper.make_graph(
        nodes,
        "block",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["b", "t"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", 4])],
        [numpy_helper.from_array(entries.astype(np.float32), name) for name, entries in weights.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ir.serde.deserialize_model(proto)


def factored_table(rank: int) -> ir.Model:
    """Return ids (b, t) ─► left (words, rank) ─► right (rank, width) ─► mean ─► y (b, width), as a truncated table is written.

    The components are of very different widths, so that factors which round well are others than these.
    """
    random = np.random.default_rng(0)
    widths = np.geomspace(1e-2, 1e2, rank)
    weights = {
        "left": random.standard_normal((WORDS, rank)) * widths,
        "right": random.standard_normal((rank, WIDTH)) / widths[:, None],
    }
    nodes = [
        helper.make_node("Gather", ["left", "ids"], ["row"], name="table/left"),
        helper.make_node("MatMul", ["row", "right"], ["x"], name="table"),
        helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0, name="pool"),
    ]
    graph = helper.make_graph(
        nodes,
        "factored table",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["b", "t"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", WIDTH])],
        [numpy_helper.from_array(entries.astype(np.float32), name) for name, entries in weights.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ir.serde.deserialize_model(proto)


def two_tables() -> ir.Model:
    """Return ids (b, t) ─► large table ─► + small table (0) ─► y (b, t, width); the small one has two rows."""
    random = np.random.default_rng(0)
    tables = {name: random.standard_normal((rows, WIDTH)) for name, rows in (("words", WORDS), ("types", 2))}
    nodes = [
        helper.make_node("Gather", ["words", "ids"], ["word"], name="words"),
        helper.make_node("Sub", ["ids", "ids"], ["zeros"], name="zeros"),
        helper.make_node("Gather", ["types", "zeros"], ["type"], name="types"),
        helper.make_node("Add", ["word", "type"], ["y"], name="sum"),
    ]
    graph = helper.make_graph(
        nodes,
        "two tables",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["b", "t"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", "t", WIDTH])],
        [numpy_helper.from_array(entries.astype(np.float32), name) for name, entries in tables.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ir.serde.deserialize_model(proto)


def batches(count: int = 4, seed: int = 1) -> tuple[CalibrationBatch, ...]:
    """Return ``count`` batches of 8 sequences of 5 tokens."""
    random = np.random.default_rng(seed)
    return tuple(CalibrationBatch({"ids": random.integers(WORDS, size=(8, 5))}, None) for _ in range(count))


FEEDS = batches(1, seed=2)[0].feeds
