"""The adjoint of a graph: reverse-mode differentiation, from graph to graph.

The rules of the chain are walked backwards once, from the loss to the parameters, along the nodes that lie between them.
Rules read the values of the forward run; nothing is computed twice.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from squeeze_onnx.graph.fused.fused_layers import fuse_exact_gelu
from squeeze_onnx.graph.match.operators import data_operands, int_attribute, op_of
from squeeze_onnx.graph.rewrite.insertion import Inserter
from squeeze_onnx.learning.emitter import Emitter
from squeeze_onnx.learning.rules import RULES, Adjoint
from squeeze_onnx.learning.shapes import trace_shapes
from squeeze_onnx.support.errors import ModelError, OptionError

OLDEST_OPSET = 16
"""The first opset whose ScatterElements adds up."""

# What these return stays or jumps: nothing is learned through it.
_WITHOUT_SLOPE = frozenset(
    {
        "ArgMax",
        "ArgMin",
        "Ceil",
        "Equal",
        "Floor",
        "Greater",
        "GreaterOrEqual",
        "Hardmax",
        "IsInf",
        "IsNaN",
        "Less",
        "LessOrEqual",
        "Not",
        "Round",
        "Sign",
    }
)


@dataclass(frozen=True)
class GradientGraph:
    """A graph whose parameters are inputs, and which returns their gradients.

    ``parameters`` holds their values so far by input name, ``gradients`` the output of each by the same name.
    """

    model: ir.Model
    parameters: Mapping[str, np.ndarray]
    gradients: Mapping[str, str]


def differentiate(
    model: ir.Model, parameters: Sequence[str], loss: str, feeds: Mapping[str, np.ndarray]
) -> GradientGraph:
    """Return a copy of ``model`` that also computes the gradient of its scalar output ``loss`` by ``parameters``.

    ``parameters`` name float32 initializers, which become inputs; ``feeds`` is a batch to trace shapes on (`trace_shapes`); the
    result takes batches of any size.

    Raises ModelError for an operator between the parameters and the loss that has no rule, OptionError for a parameter that is
    no float32 initializer or that the loss does not depend on.
    """
    copy = _prepared(model)
    values = {name: _open_parameter(copy.graph, name) for name in parameters}
    inputs = {str(value.name): value for value in copy.graph.inputs}
    shapes = trace_shapes(copy, {**feeds, **values})
    sources = {name: inputs[name] for name in parameters}
    found = _Differentiation(copy, sources, Emitter(copy, "gradient", shapes)).run(loss)
    for name in parameters:
        if name not in found:
            raise OptionError(f"the loss does not depend on parameter {name!r}: leave it out")
        _return(copy.graph, found[name], values[name].shape)
    return GradientGraph(copy, values, {name: str(gradient.name) for name, gradient in found.items()})


def differentiate_by_values(
    model: ir.Model, values: Sequence[str], loss: str, feeds: Mapping[str, np.ndarray]
) -> GradientGraph:
    """Return a copy of ``model`` that also computes the gradient of its scalar output ``loss`` by ``values`` inside it.

    A value is what a node returns, and its gradient has its shape; one that the loss does not depend on has none. ``feeds`` and
    the errors are those of `differentiate`.
    """
    copy = _prepared(model)
    known = {str(output.name): output for node in copy.graph for output in node.outputs}
    shapes = trace_shapes(copy, feeds)
    sources = {name: known[name] for name in values if name in known}  # what no output depends on is gone
    found = _Differentiation(copy, sources, Emitter(copy, "gradient", shapes)).run(loss)
    for name, gradient in found.items():
        _return(copy.graph, gradient, [None] * len(shapes[name]))
    return GradientGraph(copy, {}, {name: str(gradient.name) for name, gradient in found.items()})


def is_differentiable(model: ir.Model, values: Collection[str]) -> bool:
    """Whether there is a rule for every operator through which ``values`` inside ``model`` change its outputs."""
    copy = _simplified(model)
    sources = {output for node in copy.graph for output in node.outputs if output.name in values}
    behind = _reached_by(sources, copy.graph) - sources
    passed = (node for node in copy.graph if not behind.isdisjoint(node.outputs))
    return _opset(copy) >= OLDEST_OPSET and all(op_of(node) in RULES for node in passed)


def _prepared(model: ir.Model) -> ir.Model:
    copy = _simplified(model)
    if _opset(copy) < OLDEST_OPSET:
        raise ModelError(f"learning needs opset {OLDEST_OPSET} or later, the model has {_opset(copy)}: export it again")
    return copy


def _simplified(model: ir.Model) -> ir.Model:
    copy = model.clone()
    # Spelled out, a Gelu takes five passes over the widest values and ten backwards; as one operator it takes one and nine.
    fuse_exact_gelu(Inserter(copy))
    RemoveUnusedNodesPass()(copy)
    return copy


def _opset(model: ir.Model) -> int:
    return model.graph.opset_imports.get("", 0)


def _return(graph: ir.Graph, gradient: ir.Value, shape: Sequence[int | None]) -> None:
    gradient.type, gradient.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(shape)
    graph.outputs.append(gradient)


class _Differentiation:
    """One walk from the loss to the ``sources``: parameters, or values on the way."""

    def __init__(self, model: ir.Model, sources: Mapping[str, ir.Value], emit: Emitter) -> None:
        self._emit = emit
        self._nodes = list(model.graph)
        self._outputs = {str(value.name): value for value in model.graph.outputs}
        self._sources = sources
        self._varying = _reached_by(sources.values(), self._nodes)
        self._contributions: dict[ir.Value, list[ir.Value]] = defaultdict(list)
        self._gradients: dict[ir.Value, ir.Value | None] = {}

    def run(self, loss: str) -> dict[str, ir.Value]:
        """Return the gradient of each source that the loss depends on."""
        self._contributions[self._outputs[loss]] = [self._emit.constant(1)]
        for node in reversed(self._nodes):
            wanted = frozenset(index for index in data_operands(node) if node.inputs[index] in self._varying)
            gradients = [self._gradient_of(output) for output in node.outputs]
            if wanted and any(gradient is not None for gradient in gradients):
                self._pass_on(node, gradients, wanted)
        gradients_by_name = {name: self._gradient_of(value) for name, value in self._sources.items()}
        # What two sources share is handed out twice: each has an output of its own.
        return {
            name: self._emit("Identity", gradient)
            for name, gradient in gradients_by_name.items()
            if gradient is not None
        }

    def _pass_on(self, node: ir.Node, gradients: Sequence[ir.Value | None], wanted: frozenset[int]) -> None:
        rule = RULES.get(op_of(node))
        if rule is None:
            raise ModelError(
                f"{op_of(node)} {node.name!r} has no rule of differentiation: learning takes plain exports, neither fused nor "
                f"quantized, of {', '.join(RULES)}"
            )
        for index, gradient in rule(Adjoint(node, gradients, wanted, self._emit)).items():
            operand = node.inputs[index]
            assert operand is not None
            self._contributions[operand].append(gradient)

    def _gradient_of(self, value: ir.Value) -> ir.Value | None:
        """Return the sum of what has come back to ``value``, if anything has; all its readers are behind us."""
        if value not in self._gradients:
            parts = self._contributions.pop(value, [])
            self._gradients[value] = self._emit("Sum", *parts) if len(parts) > 1 else next(iter(parts), None)
        return self._gradients[value]


def _reached_by(sources: Iterable[ir.Value], nodes: Iterable[ir.Node]) -> set[ir.Value]:
    """Return the values that change, smoothly, with a source."""
    reached = set(sources)
    for node in nodes:
        if op_of(node) in _WITHOUT_SLOPE or _casts_to_integers(node):
            continue
        if any(node.inputs[index] in reached for index in data_operands(node)):
            reached.update(node.outputs)
    return reached


def _casts_to_integers(node: ir.Node) -> bool:
    return op_of(node) == "Cast" and not ir.DataType(int_attribute(node, "to")).is_floating_point()


def _open_parameter(graph: ir.Graph, name: str) -> np.ndarray:
    """Make the initializer ``name`` an input; returns a copy of its entries."""
    value = graph.initializers.get(name)
    tensor = None if value is None else value.const_value
    if value is None or tensor is None or tensor.dtype != ir.DataType.FLOAT:
        raise OptionError(f"{name!r} cannot be learned: it is no float32 initializer of the model")
    del graph.initializers[name]
    entries = np.array(tensor.numpy(), order="C")
    value.const_value = None
    value.type, value.shape = ir.TensorType(tensor.dtype), ir.Shape(entries.shape)
    if value not in graph.inputs:
        graph.inputs.append(value)
    return entries
