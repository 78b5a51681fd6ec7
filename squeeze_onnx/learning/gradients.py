"""The adjoint of a graph: reverse-mode differentiation, from graph to graph.

The rules of the chain are walked backwards once, from the loss to the parameters, along the nodes that lie between them.
Rules read the values of the forward run; nothing is computed twice.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from squeeze_onnx.graph.fused.fused_layers import fuse_exact_gelu
from squeeze_onnx.graph.match.operators import op_of
from squeeze_onnx.graph.rewrite.insertion import Inserter
from squeeze_onnx.graph.rewrite.segments import ancestors
from squeeze_onnx.learning.emitter import Emitter
from squeeze_onnx.learning.expansion import has_body, inline_functions, types_to_trace, write_out
from squeeze_onnx.learning.rules import RULES, Adjoint
from squeeze_onnx.learning.shapes import Shapes, trace
from squeeze_onnx.learning.slopes import slope_operands, varying_with
from squeeze_onnx.support.errors import ModelError, OptionError

OLDEST_OPSET = 16
"""The first opset whose ScatterElements adds up."""


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

    ``parameters`` name float32 initializers, which become inputs; ``feeds`` is a batch to trace shapes on (`learning.shapes`);
    the result takes batches of any size.

    Raises ModelError for an operator between the parameters and the loss that has no rule, OptionError for a parameter that is
    no float32 initializer or that the loss does not depend on.
    """
    copy = model.clone()
    _simplify(copy)
    values = {name: _open_parameter(copy.graph, name) for name in parameters}
    shapes = _write_out(copy, parameters, {**feeds, **values})
    inputs = {str(value.name): value for value in copy.graph.inputs}
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
    """Make ``model``, which changes in place, compute the gradient of its scalar output ``loss`` by ``values`` inside it too.

    A value is what a node returns, and its gradient has its shape; one that the loss does not depend on has none. ``feeds`` and
    the errors are those of `differentiate`.
    """
    _simplify(model)
    shapes = _write_out(model, values, feeds)
    known = {str(output.name): output for node in model.graph for output in node.outputs}
    sources = {name: known[name] for name in values if name in known}  # what no output depends on is gone
    found = _Differentiation(model, sources, Emitter(model, "gradient", shapes)).run(loss)
    for name, gradient in found.items():
        _return(model.graph, gradient, [None] * len(shapes[name]))
    return GradientGraph(model, {}, {name: str(gradient.name) for name, gradient in found.items()})


def _simplify(model: ir.Model) -> None:
    opset = model.graph.opset_imports.get("", 0)
    if opset < OLDEST_OPSET:
        raise ModelError(f"learning needs opset {OLDEST_OPSET} or later, the model has {opset}: export it again")
    inline_functions(model)
    # Spelled out, a Gelu takes five passes over the widest values and ten backwards; as one operator it takes one and nine.
    fuse_exact_gelu(Inserter(model))
    RemoveUnusedNodesPass()(model)


def _write_out(model: ir.Model, sources: Collection[str], feeds: Mapping[str, np.ndarray]) -> Shapes:
    """Write out what has no rule behind ``sources``; return the shapes of all values then, traced on ``feeds``."""
    nodes = _without_rule(model, sources)
    traced = trace(model, feeds, types_to_trace(nodes))
    while nodes and write_out(model, nodes, traced):
        nodes = _without_rule(model, sources)
        traced = trace(model, feeds, types_to_trace(nodes))
    return traced.shapes


def _without_rule(model: ir.Model, sources: Collection[str]) -> list[ir.Node]:
    """Return the nodes behind ``sources`` whose operator has no rule, but a definition by others."""
    graph = model.graph
    values = (*graph.inputs, *(output for node in graph for output in node.outputs))
    varying = varying_with((value for value in values if value.name in sources), graph)
    return [
        node
        for node in graph
        if op_of(node) not in RULES
        and has_body(node, graph.opset_imports[""])
        and any(node.inputs[index] in varying for index in slope_operands(node))
    ]


def check_rules(model: ir.Model, sources: Collection[str], targets: Collection[str]) -> None:
    """Raise ModelError, which names the operator and the node, if something between the values has no rule and no definition.

    Runs nothing, and leaves ``model`` as it is: this is for telling early what `differentiate` would find.
    """
    copy = model.clone()
    _simplify(copy)
    graph = copy.graph
    known = {str(value.name): value for node in graph for value in node.outputs}
    known |= {str(value.name): value for value in (*graph.inputs, *graph.initializers.values())}
    varying = varying_with((known[name] for name in sources if name in known), graph)
    before = set().union(*(ancestors(known[name]) for name in targets if name in known))
    for node in graph:
        reached = any(node.inputs[index] in varying for index in slope_operands(node))
        covered = op_of(node) in RULES or has_body(node, graph.opset_imports[""])
        if node in before and reached and not covered:
            raise _no_rule(node)


def _no_rule(node: ir.Node) -> ModelError:
    return ModelError(
        f"{op_of(node)} {node.name!r} has no rule of differentiation, so nothing can be learned through it: take a "
        "method without gradients (whiten, svd) and leave out `distill`, or export the model without this operator"
    )


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
        self._varying = varying_with(sources.values(), self._nodes)
        self._contributions: dict[ir.Value, list[ir.Value]] = defaultdict(list)
        self._gradients: dict[ir.Value, ir.Value | None] = {}

    def run(self, loss: str) -> dict[str, ir.Value]:
        """Return the gradient of each source that the loss depends on."""
        self._contributions[self._outputs[loss]] = [self._emit.constant(1)]
        for node in reversed(self._nodes):
            wanted = frozenset(index for index in slope_operands(node) if node.inputs[index] in self._varying)
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
            raise _no_rule(node)
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
