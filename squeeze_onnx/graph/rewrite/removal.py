"""Taking a sublayer out of a graph: a constant is added to the residual stream in its place, or goes into what is there already.

stream ─► … ─► Add(bias) ─┐                    after `remove_sublayer`        after `fold_constants`
stream ───────────────────┴─► Add ─► y         stream ─► Add(constant) ─► y   stream (whose bias it went to) = y
"""

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.constants import constant_vector
from squeeze_onnx.graph.match.names import free_name, names_in
from squeeze_onnx.graph.match.operators import op_of
from squeeze_onnx.graph.match.sublayers import Sublayer
from squeeze_onnx.graph.rewrite.operands import exchange, remove_unused
from squeeze_onnx.support.errors import OptionError

_SUFFIX = "/constant"
_BIAS_OF_NORM = 2


def remove_sublayer(model: ir.Model, sublayer: Sublayer, constant: np.ndarray) -> ir.Value:
    """Put ``constant`` (features,) in the place of what ``sublayer`` adds to the stream; return the initializer that holds it.

    ``model`` changes in place, and its sites are out of date then. Raises OptionError if an entry is not finite in the type of
    the weights. The model is unchanged then.
    """
    name = free_name(f"{sublayer.name}{_SUFFIX}", names_in(model))
    dtype = sublayer.after.weight.dtype
    value = ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(constant.shape))
    set_constant(value, constant)
    model.graph.register_initializer(value)
    sublayer.join.replace_input_with(sublayer.operand, value)
    read = [operand for node in sublayer.nodes for operand in node.inputs if operand is not None]
    model.graph.remove(sublayer.nodes, safe=True)
    for operand in dict.fromkeys(read):
        remove_unused(operand)
    return value


def set_constant(value: ir.Value, entries: np.ndarray) -> None:
    """Let the initializer ``value`` hold ``entries``, cast once; OptionError if one is not finite in its type."""
    assert value.dtype is not None, "written by remove_sublayer"
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(entries.astype(value.dtype.numpy()))
    if not np.isfinite(cast).all():
        raise OptionError(
            f"{value.name}, the mean of what was removed, is not finite in {value.dtype.name}: export the model in float32, or "
            "leave out `remove_sublayers`"
        )
    value.const_value = ir.Tensor(cast, dtype=value.dtype, name=value.name)


def fold_constants(model: ir.Model) -> int:
    """Add the constants that `remove_sublayer` left to biases before them, where nothing else reads these; return how many.

    It is the bias of a normalization, or of what a sublayer before adds to the stream. The additions go.
    """
    added = [
        (node, index)
        for node in model.graph
        if op_of(node) == "Add"
        for index, value in enumerate(node.inputs)
        if value is not None and value.is_initializer() and str(value.name).endswith(_SUFFIX)
    ]
    return sum(_fold(model, node, index) for node, index in added)


def _fold(model: ir.Model, node: ir.Node, operand: int) -> bool:
    stream, constant = node.inputs[1 - operand], node.inputs[operand]
    assert stream is not None and constant is not None, "an addition has two operands"
    if node.outputs[0].is_graph_output() or stream.is_graph_output() or len(list(stream.uses())) > 1:
        return False
    place = _bias_before(stream)
    if place is None:
        return False
    normal, index = place
    old, more = constant_vector(normal.inputs[index]), constant_vector(constant)
    assert old is not None and more is not None, "found to be constant"
    if old.dtype != more.dtype or old.shape != more.shape:
        return False
    name = free_name(f"{node.outputs[0].name}/bias", names_in(model))
    value = ir.Value(name=name, type=ir.TensorType(old.dtype), shape=ir.Shape(old.shape.numpy()))
    set_constant(value, old.numpy().astype(np.float64) + more.numpy().astype(np.float64))
    model.graph.register_initializer(value)
    exchange(normal, index, value)
    node.outputs[0].replace_all_uses_with(stream)
    model.graph.remove(node, safe=True)
    remove_unused(constant)
    return True


def _bias_before(stream: ir.Value) -> tuple[ir.Node, int] | None:
    """Return the node, and its operand, that adds a constant vector to all of ``stream``, which one node alone reads."""
    node = stream.producer()
    if node is None:
        return None
    if op_of(node) == "LayerNormalization":
        biased = len(node.inputs) > _BIAS_OF_NORM and constant_vector(node.inputs[_BIAS_OF_NORM]) is not None
        return (node, _BIAS_OF_NORM) if biased else None
    if op_of(node) != "Add":
        return None
    for index, operand in enumerate(node.inputs):
        if constant_vector(operand) is not None:
            return node, index
    for operand in node.inputs:
        if operand is not None and len(list(operand.uses())) == 1 and not operand.is_graph_output():
            producer = operand.producer()
            if producer is not None and op_of(producer) == "Add":
                found = [index for index, each in enumerate(producer.inputs) if constant_vector(each) is not None]
                if found:
                    return producer, found[0]
    return None
