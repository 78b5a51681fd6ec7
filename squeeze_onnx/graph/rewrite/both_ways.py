"""A copy of a graph in which every site computes in two ways, and an input says which of the results goes on.

x ─► MatMul(W) ────────────────────────┐
x ─► [round to uint8] ─► MatMul(Ŵ) ────┴► Where(switch) ─► y
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, op_of
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.insertion import Inserter


@dataclass(frozen=True)
class SwitchableModel:
    """The copy, and for each site by name the boolean input, of shape (), that makes it compute the other way."""

    model: ir.Model
    switches: Mapping[str, str]


def both_ways(model: ir.Model, weights: Mapping[str, np.ndarray], *, round_rows: bool) -> SwitchableModel:
    """Let every site of ``model`` that ``weights`` (in, out) knows by name compute with that weight too.

    With ``round_rows`` a product then meets rows in dynamic uint8: one step for the whole tensor. The sites are bare products or
    lookups with plain weights (see `graph.plain_weights`).
    """
    copy = model.clone()
    writer = _Writer(Inserter(copy), round_rows=round_rows)
    sites = [site for site in find_sites(copy).sites if site.name in weights]
    for site in sites:
        tensor = ir.Tensor(weights[site.name].astype(site.weight.dtype.numpy()), dtype=site.weight.dtype)
        writer.add(site.name, site.nodes, tensor)
    return SwitchableModel(copy, writer.switches)


class _Writer:
    """Writes second ways; sites that read the same rows share the rounded ones."""

    def __init__(self, inserter: Inserter, *, round_rows: bool) -> None:
        self.switches: dict[str, str] = {}
        self._inserter = inserter
        self._round_rows = round_rows
        self._rounded: dict[ir.Value, ir.Value] = {}

    def add(self, name: str, nodes: tuple[ir.Node, ...], weight: ir.Tensor[np.ndarray]) -> None:
        """Give the site ``name`` a switch and a second way."""
        other = self._inserter.initializer(f"{name}/other", weight)
        switch = self._inserter.graph_input(f"{name}/switch", ir.DataType.BOOL)
        for node in nodes:
            operator = WEIGHT_OPERATORS[op_of(node)]
            inputs = list(node.inputs)
            inputs[operator.weight] = other
            if self._round_rows and not operator.lookup:
                inputs[operator.rows] = self._rounded_rows(inputs[operator.rows], node)
            attributes = {key: attribute.value for key, attribute in node.attributes.items()}
            second = self._inserter.node(op_of(node), inputs, before=node, **attributes)
            first = node.outputs[0]
            chosen = self._inserter.node("Where", [switch, second, first], before=node)
            where = chosen.producer()
            assert where is not None
            self._inserter.graph.remove(where)
            self._inserter.graph.insert_after(node, where)
            chosen.type, chosen.shape = first.type, first.shape
            first.replace_all_uses_with(chosen, replace_graph_outputs=True)
            where.replace_input_with(2, first)
        self.switches[name] = str(switch.name)

    def _rounded_rows(self, rows: ir.Value | None, before: ir.Node) -> ir.Value:
        assert rows is not None
        if rows not in self._rounded:
            integers = self._inserter.node("DynamicQuantizeLinear", [rows], before=before, outputs=3)
            quantize = integers.producer()
            assert quantize is not None
            self._rounded[rows] = self._inserter.node("DequantizeLinear", list(quantize.outputs), before=before)
        return self._rounded[rows]
