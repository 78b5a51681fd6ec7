"""Copies of a graph whose outputs are the largest magnitudes of its values."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.rewrite.insertion import Inserter


def computed_values(graph: ir.Graph) -> list[ir.Value]:
    """Return what the nodes of ``graph`` compute, in order."""
    return [value for node in graph for value in node.outputs if value.name]


def returning_magnitudes(model: ir.Model, values: Sequence[str]) -> ir.Model:
    """Return a copy of ``model`` whose outputs are max |v|, of shape (), of each of the float ``values``, by name."""
    copy = model.clone()
    inserter = Inserter(copy)
    known = {value.name: value for value in computed_values(copy.graph)}
    last = copy.graph[-1]
    outputs = []
    for name in values:
        magnitude = inserter.node("Abs", [known[name]], before=last)
        absolute = magnitude.producer()
        largest = inserter.node("ReduceMax", [magnitude], before=last, keepdims=0)
        reduce = largest.producer()
        assert absolute is not None
        assert reduce is not None
        for node in (absolute, reduce):
            copy.graph.remove(node)
            copy.graph.append(node)
        outputs.append(largest)
    copy.graph.outputs[:] = outputs
    return copy


def limit_constants(model: ir.Model, largest: float) -> None:
    """Bring all float constants of one entry in ``model``, which changes, within ±``largest``: masks, not weights."""
    for value in model.graph.initializers.values():
        if value.const_value is not None and _exceeds(value.const_value, largest):
            value.const_value = _limited(value.const_value, largest)
    for node in model.graph.all_nodes():
        attribute = node.attributes.get("value")
        if node.op_type in {"Constant", "ConstantOfShape"} and attribute is not None:
            tensor = attribute.as_tensor()
            if _exceeds(tensor, largest):
                node.attributes["value"] = ir.AttrTensor("value", _limited(tensor, largest))


def _exceeds(tensor: ir.TensorProtocol, largest: float) -> bool:
    return tensor.dtype == ir.DataType.FLOAT and tensor.size == 1 and bool(np.abs(tensor.numpy()).max() > largest)


def _limited(tensor: ir.TensorProtocol, largest: float) -> ir.Tensor[np.ndarray]:
    return ir.Tensor(tensor.numpy().clip(-largest, largest), name=tensor.name)
