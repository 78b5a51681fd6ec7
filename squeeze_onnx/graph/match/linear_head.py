"""The linear head of a classifier: the weights between the last features of a model and its logits.

features ─► MatMul | Gemm (W, bias) ─► [Add(bias)] ─► [Identity | Cast | Dropout] ─► logits
features ─► MatMul(left) ─► Gemm(right, bias) ─► logits                              (factored)
"""

from dataclasses import dataclass
from functools import reduce

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.consumers import Bias, find_bias
from squeeze_onnx.graph.match.operators import op_of, rows_of
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites

_PASSES_ON = frozenset({"Cast", "Dropout", "Identity"})


@dataclass(frozen=True)
class LinearHead:
    """One weight or the factors of one, in graph order, and the bias of the last; ``features`` names the value that they read."""

    features: str
    sites: tuple[MatMulSite, ...]
    bias: Bias | None

    @property
    def in_features(self) -> int:
        """How many features it reads."""
        return self.sites[0].in_features

    def read_weight(self) -> np.ndarray:
        """Read W (in, out), the product of the factors, in float64."""
        return reduce(np.matmul, (site.weight.numpy().astype(np.float64) for site in self.sites))

    def read_bias(self) -> np.ndarray:
        """Read the bias (out,) in float64; zeros if there is none."""
        if self.bias is None:
            return np.zeros(self.sites[-1].out_features)
        bias: np.ndarray = self.bias.tensor.numpy().astype(np.float64)
        return bias


def find_linear_head(model: ir.Model, output: str) -> LinearHead | None:
    """Return the head whose logits are the graph output ``output``, or None if something else computes them."""
    classifiers = [site for site in find_sites(model).sites if site.role is Role.CLASSIFIER and len(site.nodes) == 1]
    biases = {site.name: find_bias(site) for site in classifiers}
    answered = {_answer(site, biases[site.name]): site for site in classifiers}
    last = answered.get(_computed(next(value for value in model.graph.outputs if value.name == output)))
    if last is None:
        return None
    product_of = {site.nodes[0].outputs[0]: site for site in classifiers}
    sites = [last]
    while (factor := product_of.get(rows_of(sites[0].nodes[0]))) is not None:
        sites.insert(0, factor)
    return LinearHead(str(rows_of(sites[0].nodes[0]).name), tuple(sites), biases[last.name])


def _answer(site: MatMulSite, bias: Bias | None) -> ir.Value:
    """Return the product of ``site`` with its bias added."""
    return site.nodes[0].outputs[0] if bias is None else bias.node.outputs[0]


def _computed(value: ir.Value) -> ir.Value:
    """Return ``value`` as it was before it was only handed on."""
    while (node := value.producer()) is not None and op_of(node) in _PASSES_ON and node.inputs[0] is not None:
        value = node.inputs[0]
    return value
