"""A graph of float16 or bfloat16 that computes in float32 instead: what products of integers are written into.

    x (half) ─► MatMul(W) ─► y (half)        x (half) ─► Cast ─► MatMul(W in float32) ─► Cast ─► y (half)

Graph inputs and outputs keep their types. Weights that stay floats are stored in the half type again afterwards, behind a Cast
that runtimes carry out as they load the model, so that none of them takes more bytes than it did.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.io.external_data import THRESHOLD, DerivedTensor, TensorPlace, tensor_places
from squeeze_onnx.graph.match.operators import int_attribute, op_of
from squeeze_onnx.graph.rewrite.insertion import Inserter

HALF_TYPES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)

_TYPE_ATTRIBUTES = frozenset(
    {"dtype", "output_datatype", "output_dtype", "precision", "softmax_precision", "stash_type", "to"}
)
"""Attributes that name the type of a result, or of what is computed on the way to it."""


def half_type_of(model: ir.Model) -> ir.DataType | None:
    """Return the half type that ``model`` stores or computes in, None if there is none; of both the first that is found."""
    stored = (place.tensor.dtype for place in tensor_places(model))
    found = (dtype for dtype in (*_computed_types(model), *stored) if dtype in HALF_TYPES)
    return next(found, None)


def multiplies_in(model: ir.Model, dtype: ir.DataType) -> bool:
    """Whether some node of ``model`` reads a constant of ``dtype`` for anything but casting it."""
    values = (*model.graph.initializers.values(), *(value for node in model.graph for value in node.outputs))
    constants = (value for value in values if value.dtype == dtype and _is_stored(value))
    return any(op_of(node) != "Cast" for value in constants for node, _ in value.uses())


def _is_stored(value: ir.Value) -> bool:
    node = value.producer()
    return value.const_value is not None if node is None else op_of(node) == "Constant"


def widen(model: ir.Model) -> None:
    """Let ``model``, which changes in place, compute in float32 wherever it computes in a half type."""
    inserter = Inserter(model)
    _cast_outputs(inserter)
    _cast_inputs(inserter)
    interface = (*model.graph.inputs, *model.graph.outputs)
    given = {id(value) for value in interface}
    of_callers = {id(value.const_value) for value in interface if value.const_value is not None}
    for place in list(tensor_places(model)):
        if place.tensor.dtype in HALF_TYPES and id(place.tensor) not in of_callers:
            place.put(_as_float32(place))
    for node in _nodes(model):
        if not any(id(value) in given for value in node.outputs):
            _name_float32(node)
    for value in _values(model):
        if id(value) not in given and value.dtype in HALF_TYPES:
            value.type = ir.TensorType(ir.DataType.FLOAT)
    _skip_casts_between_floats(model)


def store_in_half(model: ir.Model, dtype: ir.DataType) -> None:
    """Store large float32 constants of ``model``, which changes in place, in the half ``dtype`` where it holds all entries."""
    inserter = Inserter(model)
    for value in list(model.graph.initializers.values()):
        tensor = value.const_value
        free = not (value.is_graph_input() or value.is_graph_output())
        if tensor is None or not free or tensor.dtype != ir.DataType.FLOAT or tensor.nbytes <= THRESHOLD:
            continue
        entries = tensor.numpy()
        with np.errstate(over="ignore"):
            half = entries.astype(dtype.numpy())
        if not np.array_equal(half.astype(np.float32), entries):
            continue
        stored = inserter.initializer(f"{value.name}/half", ir.Tensor(half, dtype=dtype))
        wide = inserter.node("Cast", [stored], before=model.graph[0], to=ir.DataType.FLOAT)
        wide.type, wide.shape = ir.TensorType(ir.DataType.FLOAT), value.shape
        value.replace_all_uses_with(wide)
        inserter.drop(value)


def _as_float32(place: TensorPlace) -> ir.TensorProtocol:
    half = place.tensor
    tensor = DerivedTensor([half], partial(_decoded, half), ir.DataType.FLOAT, half.shape)
    tensor.name = half.name
    return tensor


def _decoded(half: ir.TensorProtocol) -> ir.Tensor[np.ndarray]:
    return ir.Tensor(half.numpy().astype(np.float32))


def _cast_inputs(inserter: Inserter) -> None:
    graph = inserter.graph
    for value in dict.fromkeys((*graph.inputs, *graph.outputs)):
        readers = [node for node, _ in value.uses()]
        if value.dtype in HALF_TYPES and value.producer() is None and not all(map(_enters_float32, readers)):
            uses = tuple(value.uses())
            wide = inserter.node("Cast", [value], before=graph[0], to=ir.DataType.FLOAT)
            wide.type, wide.shape = ir.TensorType(ir.DataType.FLOAT), value.shape
            for node, index in uses:
                node.replace_input_with(index, wide)


def _cast_outputs(inserter: Inserter) -> None:
    graph = inserter.graph
    for value in tuple(graph.outputs):
        producer = value.producer()
        if value.dtype not in HALF_TYPES or producer is None or _leaves_float32(producer):
            continue
        dtype = value.dtype
        half = inserter.node("Cast", [value], before=graph[0], to=dtype)
        node = half.producer()
        assert node is not None
        graph.remove(node)
        graph.append(node)
        half.name, value.name = value.name, half.name  # the model returns it under its name
        half.type, half.shape = ir.TensorType(dtype), value.shape
        for index, each in enumerate(graph.outputs):
            if each is value:
                graph.outputs[index] = half


def _enters_float32(node: ir.Node) -> bool:
    return op_of(node) == "Cast" and int_attribute(node, "to") == ir.DataType.FLOAT


def _leaves_float32(node: ir.Node) -> bool:
    given = node.inputs[0] if op_of(node) == "Cast" else None
    return given is not None and given.dtype == ir.DataType.FLOAT and not given.is_graph_input()


def _name_float32(node: ir.Node) -> None:
    for name in _TYPE_ATTRIBUTES & node.attributes.keys():
        attribute = node.attributes[name]
        if not attribute.is_ref() and attribute.type == ir.AttributeType.INT and attribute.as_int() in HALF_TYPES:
            node.attributes[name] = ir.AttrInt64(name, ir.DataType.FLOAT)


def _skip_casts_between_floats(model: ir.Model) -> None:
    """Let what reads a Cast of float32 to float32 read the float32 value itself."""
    for node in tuple(model.graph):
        given = node.inputs[0] if op_of(node) == "Cast" else None
        if given is None or node.outputs[0].is_graph_output():
            continue
        if given.dtype == ir.DataType.FLOAT == int_attribute(node, "to"):
            node.outputs[0].replace_all_uses_with(given)
            model.graph.remove(node, safe=True)


def _nodes(model: ir.Model) -> Iterator[ir.Node]:
    yield from model.graph.all_nodes()
    for function in model.functions.values():
        yield from function.all_nodes()


def _values(model: ir.Model) -> Iterator[ir.Value]:
    graphs = [model.graph, *model.graph.subgraphs()]
    for function in model.functions.values():
        graphs += [function.graph, *function.graph.subgraphs()]
    for graph in graphs:
        yield from graph.inputs
        yield from graph.initializers.values()
        for node in graph:
            yield from node.outputs


def _computed_types(model: ir.Model) -> Iterator[ir.DataType]:
    for node in _nodes(model):
        if op_of(node) == "Cast" and "to" in node.attributes and not node.attributes["to"].is_ref():
            yield ir.DataType(int_attribute(node, "to"))
