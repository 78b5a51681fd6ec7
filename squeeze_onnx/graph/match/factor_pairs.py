"""Two MatMuls in a row with nothing between: factors of one weight."""

from collections.abc import Sequence
from dataclasses import dataclass

from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, op_of, rows_of
from squeeze_onnx.graph.match.sites import MatMulSite


@dataclass(frozen=True)
class FactorPair:
    """rows ─► left (in, r) ─► right (r, out); nothing else reads what ``left`` returns."""

    left: MatMulSite
    right: MatMulSite


def find_factor_pairs(sites: Sequence[MatMulSite]) -> tuple[FactorPair, ...]:
    """Return the pairs among ``sites``, in their order; a lookup and the MatMul behind it are a pair too.

    A site is in one pair at most: of three MatMuls in a row, the last is none's.
    """
    by_node = {site.nodes[0]: site for site in sites if len(site.nodes) == 1}
    pairs: list[FactorPair] = []
    for site in by_node.values():
        if WEIGHT_OPERATORS[op_of(site.nodes[0])].lookup:
            continue
        rows = rows_of(site.nodes[0])
        left = by_node.get(producer) if (producer := rows.producer()) is not None else None
        free = not any(left is pair.right for pair in pairs)
        if left is not None and free and len(rows.uses()) == 1 and not rows.is_graph_output():
            pairs.append(FactorPair(left, site))
    return tuple(pairs)
