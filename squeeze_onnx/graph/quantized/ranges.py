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
    end = _End(copy)
    copy.graph.outputs[:] = [end.node("ReduceMax", end.node("Abs", end.value(name)), keepdims=0) for name in values]
    return copy


def returning_extremes(model: ir.Model, values: Sequence[str]) -> ir.Model:
    """Return a copy of ``model`` whose outputs are min v of each of the float ``values``, by name, then max v, of shape ()."""
    copy = model.clone()
    end = _End(copy)
    copy.graph.outputs[:] = [
        end.node(op, end.value(name), keepdims=0) for op in ("ReduceMin", "ReduceMax") for name in values
    ]
    return copy


class _End:
    """Appends nodes to a graph."""

    def __init__(self, model: ir.Model) -> None:
        self._graph = model.graph
        self._inserter = Inserter(model)
        self._values = {value.name: value for value in (*model.graph.inputs, *computed_values(model.graph))}
        self._last = model.graph[-1]

    def value(self, name: str) -> ir.Value:
        return self._values[name]

    def node(self, op: str, operand: ir.Value, **attributes: int) -> ir.Value:
        result = self._inserter.node(op, [operand], before=self._last, **attributes)
        node = result.producer()
        assert node is not None
        self._graph.remove(node)
        self._graph.append(node)
        return result


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
