"""Sites that read the same value, and so could read it through one left factor.

    ┌─► MatMul(q) ─►                            ┌─► MatMul(q: right) ─►
x ──┼─► MatMul(k) ─►        x ─► MatMul(left) ──┼─► MatMul(k: right) ─►
    └─► MatMul(v) ─►                            └─► MatMul(v: right) ─►
"""

from collections.abc import Sequence
from itertools import combinations

from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, op_of, rows_of
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.graph.match.sites import MatMulSite

_PROJECTIONS = (Role.QUERY, Role.KEY, Role.VALUE)


def read_the_same(sites: Sequence[MatMulSite]) -> bool:
    """Whether all ``sites`` multiply one and the same value, each at one place in the graph, by weights of one type."""
    nodes = [node for site in sites for node in site.nodes]
    if len(nodes) > len(sites) or any(WEIGHT_OPERATORS[op_of(node)].lookup for node in nodes):
        return False
    return len({rows_of(node) for node in nodes}) == 1 and len({site.weight.dtype for site in sites}) == 1


def find_projections(sites: Sequence[MatMulSite]) -> tuple[tuple[MatMulSite, ...], ...]:
    """Return every two or three of query, key and value of one attention that `read_the_same` value, in graph order.

    Quantized weights are left out: factors are float, and larger than what is saved.
    """
    layers: dict[int | None, list[MatMulSite]] = {}
    for site in sites:
        if site.role in _PROJECTIONS and not site.weight.decoding:
            layers.setdefault(site.layer, []).append(site)
    return tuple(
        group
        for found in layers.values()
        for count in (2, 3)
        for group in combinations(found, count)
        if len({site.role for site in group}) == count and read_the_same(group)
    )
