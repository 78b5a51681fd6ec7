"""A graph whose weights can be disturbed from outside: each site's weight becomes weight + an input."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from squeeze_onnx.graph.match.names import free_name, names_in
from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, op_of
from squeeze_onnx.graph.match.sites import MatMulSite


@dataclass(frozen=True)
class Perturbations:
    """For each open site by name the graph input that is added to its weight (in, out), and its type.

    An input of shape (1, 1) that is zero leaves the weight as it is.
    """

    inputs: Mapping[str, str]
    dtypes: Mapping[str, ir.DataType]


def open_to_perturbation(model: ir.Model, sites: Sequence[MatMulSite]) -> Perturbations:
    """Open the weights of ``sites`` in ``model``, which changes in place.

    It is the model that has them, or a part that was cut from it: what a part does not have of a site is not disturbed.
    """
    taken = names_in(model)
    producers = {str(value.name): node for node in model.graph for value in node.outputs}
    inputs, dtypes = {}, {}
    for site in sites:
        name = free_name(f"{site.name}/perturbation", taken)
        taken.add(name)
        products = (str(node.outputs[0].name) for node in site.nodes)
        _open(
            model.graph, [producers[product] for product in products if product in producers], name, site.weight.dtype
        )
        inputs[site.name], dtypes[site.name] = name, site.weight.dtype
    return Perturbations(inputs, dtypes)


def _open(graph: ir.Graph, nodes: Iterable[ir.Node], name: str, dtype: ir.DataType) -> None:
    perturbation = ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape([None, None]))
    graph.inputs.append(perturbation)
    for index, node in enumerate(nodes):
        operator = WEIGHT_OPERATORS[op_of(node)]
        added = perturbation
        if operator.transposes_weight(node):
            transposed = ir.Node(
                "", "Transpose", [added], [ir.AttrInt64s("perm", [1, 0])], name=f"{name}/transposed/{index}"
            )
            transposed.outputs[0].name = f"{name}/transposed/{index}"
            graph.insert_before(node, transposed)
            added = transposed.outputs[0]
        total = ir.Node("", "Add", [node.inputs[operator.weight], added], name=f"{name}/sum/{index}")
        total.outputs[0].name = f"{name}/sum/{index}"
        graph.insert_before(node, total)
        node.replace_input_with(operator.weight, total.outputs[0])
