"""Weights as quantizers expect them: a MatMul or a lookup with one plain initializer, (in, out).

x ─► Gemm(Wᵀ, bias) ─► y        x ─► MatMul(W) ─► Add(bias) ─► y
W ─► Identity ─► MatMul         W ─► MatMul
"""

import onnx_ir as ir

from squeeze_onnx.graph.match.operators import BARE_PRODUCTS, WEIGHT_OPERATORS, op_of
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.graph.rewrite.insertion import Inserter
from squeeze_onnx.graph.rewrite.rewriter import Rewriter

_GEMM = "Gemm"


def plain_weight_sites(model: ir.Model) -> tuple[MatMulSite, ...]:
    """Rewrite ``model``, which changes in place, and return its sites that are bare products or lookups, in graph order.

    A Gemm that only multiplies and adds becomes MatMul and Add; a weight behind Identity, Transpose or Cast nodes becomes an
    initializer of its own. Weights inside other operators, or not stored as float32, stay as they are.
    """
    inserter = Inserter(model)
    for site in find_sites(model).sites:
        for node in site.nodes:
            if op_of(node) == _GEMM and all(_scale(node, name) == 1 for name in WEIGHT_OPERATORS[_GEMM].scales):
                _unfold(inserter, node)
    rewriter = Rewriter(model)
    for site in find_sites(model).sites:
        if _is_bare(site) and not _is_plain(site):
            rewriter.replace(site, site.weight.numpy())
    return tuple(site for site in find_sites(model).sites if _is_bare(site) and _is_plain(site))


def _is_bare(site: MatMulSite) -> bool:
    stored_as_float = site.weight.tensor.dtype == ir.DataType.FLOAT and not site.weight.decoding
    return stored_as_float and all(op_of(node) in BARE_PRODUCTS for node in site.nodes)


def _is_plain(site: MatMulSite) -> bool:
    source = site.weight.source
    direct = (node.inputs[WEIGHT_OPERATORS[op_of(node)].weight] is source for node in site.nodes)
    return source.is_initializer() and all(direct)


def _scale(node: ir.Node, name: str) -> float:
    attribute = node.attributes.get(name)
    return 1.0 if attribute is None else attribute.as_float()


def _unfold(inserter: Inserter, node: ir.Node) -> None:
    """Put MatMul and Add in the place of the Gemm ``node``."""
    operator = WEIGHT_OPERATORS[_GEMM]
    rows, weight, bias = (*node.inputs, None)[:3]
    if operator.transposes_weight(node):
        weight = inserter.node("Transpose", [weight], before=node, perm=[1, 0])
    product = inserter.node("MatMul", [rows, weight], before=node)
    multiply = product.producer()
    assert multiply is not None
    multiply.name, node.name = node.name, multiply.name  # the site keeps its name
    product.type, product.shape = node.outputs[0].type, node.outputs[0].shape
    total = product if bias is None else inserter.node("Add", [product, bias], before=node)
    inserter.take_over(node.outputs[0], total)
