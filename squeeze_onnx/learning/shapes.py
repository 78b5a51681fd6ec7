"""The shapes that values really have: the graph is run once on a batch, with a Shape node at every value.

Shape inference would have to follow how an exporter computes the operand of a Reshape; a run knows.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.io.model import save_model
from squeeze_onnx.graph.match.names import free_name, names_in
from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.support.errors import OptionError


def trace_shapes(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every value of the main graph of ``model`` when it runs on ``feeds``.

    Raises OptionError if an input has an axis of size 1: whether something is broadcast along it could not be told.
    """
    probe = model.clone()
    for value in probe.graph.inputs:
        shape = feeds[str(value.name)].shape
        declared = value.shape.dims if value.shape is not None else shape
        if any(size == 1 and declared_size != 1 for size, declared_size in zip(shape, declared, strict=True)):
            raise OptionError(
                f"gradients are traced on a batch of two or more sequences of two or more tokens, but input {value.name!r} "
                f"has shape {list(shape)}: give more calibration text"
            )
    shapes = {str(name): tuple(value.shape.numpy()) for name, value in probe.graph.initializers.items() if value.shape}
    shapes |= {str(value.name): feeds[str(value.name)].shape for value in probe.graph.inputs}
    taken = names_in(probe)
    watched = {
        str(output.name): free_name(f"shape of {output.name}", taken)
        for node in probe.graph
        for output in node.outputs
        if output.name
    }
    values = {str(output.name): output for node in probe.graph for output in node.outputs}
    probe.graph.outputs.clear()
    for name, shown in watched.items():
        node = ir.node("Shape", [values[name]], name=shown)
        node.outputs[0].name = shown
        node.outputs[0].type = ir.TensorType(ir.DataType.INT64)
        probe.graph.append(node)
        probe.graph.outputs.append(node.outputs[0])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "shapes.onnx"
        save_model(probe, path)
        found = open_session(path, optimization_level="disabled").run(None, feeds)
    return shapes | {name: tuple(shape.tolist()) for name, shape in zip(watched, found, strict=True)}
