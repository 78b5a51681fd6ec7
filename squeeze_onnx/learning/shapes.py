"""The shapes that values really have: the graph is run once on a batch, with a Shape node at every value.

Shape inference would have to follow how an exporter computes the operand of a Reshape; a run knows.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.names import free_name, names_in
from squeeze_onnx.runtime.graph_session import open_graph
from squeeze_onnx.runtime.sessions import SessionSettings
from squeeze_onnx.support.empty_arrays import all_as_declared
from squeeze_onnx.support.errors import ModelError

Shapes = dict[str, tuple[int, ...]]
"""The sizes of values by name."""


@dataclass(frozen=True)
class ShapeTrace:
    """The ``shapes`` of all values of the main graph, and the ``dtypes`` of those that were asked for."""

    shapes: Shapes
    dtypes: Mapping[str, np.dtype]


def trace(model: ir.Model, feeds: Mapping[str, np.ndarray], typed: Collection[str] = ()) -> ShapeTrace:
    """Run ``model`` on ``feeds`` and return what every value of its main graph was shaped like; of ``typed`` also the type.

    A single sequence is fed twice, for along an axis of size 1 it could not be told what is broadcast; an axis of size 1 other
    than the first is taken to be one in every batch. Raises ModelError if the model does not run on the batch.
    """
    twice = _doubled(model, feeds)
    if twice is not None:
        try:
            return _run(model, twice, typed)
        except ModelError:  # what runs over a single entry was no batch of sequences
            pass
    return _run(model, feeds, typed)


def trace_shapes(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> Shapes:
    """Return the shape of every value of the main graph of ``model`` when it runs on ``feeds``, see `trace`."""
    return trace(model, feeds).shapes


def _doubled(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """Return ``feeds`` with a single sequence in them repeated, None if there are several or the model takes one only."""
    open_inputs = {
        str(value.name)
        for value in model.graph.inputs
        if (shape := feeds[str(value.name)].shape)
        and shape[0] == 1
        and not (value.shape is not None and isinstance(value.shape[0], int))
    }
    if not open_inputs:
        return None
    return {name: np.repeat(array, 2, axis=0) if name in open_inputs else array for name, array in feeds.items()}


def _run(model: ir.Model, feeds: Mapping[str, np.ndarray], typed: Collection[str]) -> ShapeTrace:
    probe = model.clone()
    graph = probe.graph
    shapes: Shapes = {}
    for name, value in graph.initializers.items():
        if value.const_value is not None:
            shapes[name] = tuple(value.const_value.shape.numpy())
    declared = {str(value.name): None if value.shape is None else value.shape.dims for value in graph.inputs}
    feeds = all_as_declared(feeds, declared)
    shapes |= {name: feeds[name].shape for name in declared}
    values = {str(output.name): output for node in graph for output in node.outputs if output.name}
    everything = {**graph.initializers, **{str(value.name): value for value in graph.inputs}, **values}
    taken = names_in(probe)
    watched = {name: free_name(f"shape of {name}", taken) for name in values}
    graph.outputs.clear()
    for name, shown in watched.items():
        node = ir.node("Shape", [values[name]], name=shown)
        node.outputs[0].name = shown
        node.outputs[0].type = ir.TensorType(ir.DataType.INT64)
        graph.append(node)
        graph.outputs.append(node.outputs[0])
    shown_values = [name for name in typed if name in values]
    graph.outputs.extend(values[name] for name in shown_values)
    session = open_graph(probe, settings=SessionSettings(optimization_level="disabled"))
    inputs = {spec.name for spec in session.inputs}
    found = session.run(None, {name: array for name, array in feeds.items() if name in inputs})
    shapes |= {name: tuple(shape.tolist()) for name, shape in zip(watched, found[: len(watched)], strict=True)}
    dtypes = dict(zip(shown_values, (array.dtype for array in found[len(watched) :]), strict=True))
    for name in set(typed) - dtypes.keys():
        dtypes[name] = feeds[name].dtype if name in feeds else _stored_dtype(everything[name])
    return ShapeTrace(shapes, dtypes)


def _stored_dtype(value: ir.Value) -> np.dtype:
    assert value.const_value is not None
    return np.dtype(value.const_value.dtype.numpy())
