"""A copy of a graph whose weights can be disturbed from outside: each site's weight becomes weight + an input."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from squeeze_onnx.graph.match.names import free_name, names_in
from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, op_of
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites


@dataclass(frozen=True)
class PerturbableModel:
    """The copy, and for each open site by name the graph input that is added to its weight (in, out), and its type.

    An input of shape (1, 1) that is zero leaves the weight as it is.
    """

    model: ir.Model
    inputs: Mapping[str, str]
    dtypes: Mapping[str, ir.DataType]


def perturbable(model: ir.Model, sites: Collection[str]) -> PerturbableModel:
    """Copy ``model`` (weights are shared, not copied) and open the weights of ``sites``, by name, to a perturbation."""
    copy = model.clone()
    taken = names_in(copy)
    inputs, dtypes = {}, {}
    for site in (site for site in find_sites(copy).sites if site.name in sites):
        name = free_name(f"{site.name}/perturbation", taken)
        taken.add(name)
        _open(copy.graph, site, name)
        inputs[site.name], dtypes[site.name] = name, site.weight.dtype
    return PerturbableModel(copy, inputs, dtypes)


def _open(graph: ir.Graph, site: MatMulSite, name: str) -> None:
    perturbation = ir.Value(name=name, type=ir.TensorType(site.weight.dtype), shape=ir.Shape([None, None]))
    graph.inputs.append(perturbation)
    for index, node in enumerate(site.nodes):
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
