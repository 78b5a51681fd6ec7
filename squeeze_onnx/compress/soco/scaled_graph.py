"""Every site as all its components, each behind a scale: x ─► MatMul(left) ─► Mul(scale) ─► MatMul(right)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, op_of
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.rewrite.insertion import Inserter
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from squeeze_onnx.spectral.decompositions import Factors


@dataclass(frozen=True)
class ScaledSite:
    """The initializers of a site that can learn: ``scale`` (n,), ones so far, and ``right`` (n, out)."""

    scale: str
    right: str


def scale_sites(
    model: ir.Model, sites: Sequence[MatMulSite], components: Mapping[str, Factors]
) -> dict[str, ScaledSite]:
    """Give ``sites`` of ``model``, which changes in place, the ``components`` of their names, as scaled factors.

    Returns their initializers by site name. Nodes that share a weight share the scale too.
    """
    rewriter = Rewriter(model)
    for site in sites:
        rewriter.factor(site, components[site.name].left, components[site.name].right)
    inserter = Inserter(model)
    return {site.name: _scale(inserter, site, components[site.name].rank) for site in sites}


def _scale(inserter: Inserter, site: MatMulSite, rank: int) -> ScaledSite:
    scale = inserter.initializer(f"{site.name}/scale", ir.tensor(np.ones(rank, np.float32)))
    rights = set()
    scaled: dict[ir.Value, ir.Value] = {}
    for node in site.nodes:
        product = _second_product(node)
        operator = WEIGHT_OPERATORS[op_of(product)]
        rows, right = product.inputs[operator.rows], product.inputs[operator.weight]
        assert rows is not None and right is not None, "made by Rewriter.factor"
        if rows not in scaled:  # nodes with the same weight and input share the first product
            scaled[rows] = inserter.node("Mul", [rows, scale], before=product)
        product.replace_input_with(operator.rows, scaled[rows])
        rights.add(str(right.name))
    (name,) = rights
    return ScaledSite(str(scale.name), name)


def _second_product(node: ir.Node) -> ir.Node:
    """Return the node that multiplies with the right factor: a lookup is followed by it, a product has become it."""
    return next(iter(node.outputs[0].consumers())) if WEIGHT_OPERATORS[op_of(node)].lookup else node
