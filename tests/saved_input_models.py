"""Tiny models that read more than text: pictures, and boxes beside words."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES, SIDE = 3, 4
RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((3 * SIDE * SIDE, CLASSES)).astype(np.float32)
PICTURES = RNG.standard_normal((10, 3, SIDE, SIDE)).astype(np.float32)


def write_classifier(folder: Path, weight: np.ndarray, batch: int | str = "batch") -> Path:
    """Write a classifier of pictures: all their entries times ``weight``."""
    folder.mkdir()
    nodes = [
        helper.make_node("Flatten", ["pixel_values"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
    ]
    read = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, [batch, 3, SIDE, SIDE])
    made = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES])
    graph = helper.make_graph(nodes, "g", [read], [made], [numpy_helper.from_array(weight, "weight")])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx"
    )
    return folder


def write_tagger(folder: Path, shift: float) -> Path:
    """Write a model of words in boxes: for every word the mean of its box, and that plus ``shift``."""
    folder.mkdir()
    nodes = [
        helper.make_node("Cast", ["bbox"], ["boxes"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["boxes"], ["means"], axes=[-1]),
        helper.make_node("Add", ["means", "shift"], ["shifted"]),
        helper.make_node("Concat", ["means", "shifted"], ["logits"], axis=-1),
        helper.make_node("Identity", ["attention_mask"], ["seen"]),
    ]
    shapes = {"attention_mask": ["batch", "words"], "bbox": ["batch", "words", 4]}
    read = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name, shape in shapes.items()]
    made = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "words", 2]),
        helper.make_tensor_value_info("seen", TensorProto.INT64, ["batch", "words"]),
    ]
    graph = helper.make_graph(nodes, "g", read, made, [numpy_helper.from_array(np.float32(shift), "shift")])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx"
    )
    return folder
