"""Products of integers in the place of products of floats: weights of int8, and rows that are rounded as the model runs.

    x ─► MatMul(W) ─► y        x ─► DynamicQuantizeLinear ─► MatMulInteger(Q) ─► Cast ─► Mul(scales) ─► y
                               x ─► QuantizeLinear ─► DequantizeLinear ─► MatMul(DequantizeLinear(Q)) ─► y

The first finds the range of the rows anew at each run, the second has it as a constant. ONNX Runtime makes one operator of
either. Its own quantizers (`runtime.quantizers`) write the same, but choose the integers themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, op_of, rows_of
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.rewrite.insertion import Inserter


@dataclass(frozen=True)
class RowRange:
    """What integers of a tensor of rows stand for: (q − ``zero_point``) · ``scale``; the type is that of the zero point."""

    scale: np.float32
    zero_point: np.uint8 | np.int8


class ProductWriter(Protocol):
    """Writes products of integers; sites that read the same rows share the rounded ones."""

    def store(self, site: MatMulSite, integers: np.ndarray, scales: np.ndarray) -> None:
        """Put int8 ``integers`` (in, out), with a scale for each column (out,), in the place of the weight of ``site``."""
        ...


class DynamicProducts:
    """Writes products whose rows have a range found as the model runs."""

    def __init__(self, inserter: Inserter) -> None:
        self._inserter = inserter
        self._rounded: dict[ir.Value, tuple[ir.Value, ...]] = {}

    def store(self, site: MatMulSite, integers: np.ndarray, scales: np.ndarray) -> None:
        """Put MatMulInteger in the place of the products of ``site``."""
        insert, old = self._inserter, site.weight.source
        weight = insert.initializer(f"{site.name}/integers", ir.Tensor(integers))
        steps = insert.initializer(f"{site.name}/scales", ir.Tensor(scales))
        for node in site.nodes:
            rows, row_scale, row_zero = self._round_rows(rows_of(node))
            product = insert.node("MatMulInteger", [rows, weight, row_zero], before=node)
            floats = insert.node("Cast", [product], before=node, to=ir.DataType.FLOAT)
            both = insert.node("Mul", [row_scale, steps], before=node)
            insert.take_over(node.outputs[0], insert.node("Mul", [floats, both], before=node))
        insert.drop(old)

    def _round_rows(self, rows: ir.Value) -> tuple[ir.Value, ...]:
        if rows not in self._rounded:
            first = self._inserter.node(
                "DynamicQuantizeLinear", [rows], before=_first_reader(self._inserter.graph, rows), outputs=3
            )
            self._rounded[rows] = tuple(_maker(first).outputs)
        return self._rounded[rows]


class StaticProducts:
    """Writes products whose rows have a constant range: ``ranges`` by the name of the value that the rows are."""

    def __init__(self, inserter: Inserter, ranges: Mapping[str, RowRange]) -> None:
        self._inserter = inserter
        self._ranges = ranges
        self._rounded: dict[ir.Value, ir.Value] = {}

    def store(self, site: MatMulSite, integers: np.ndarray, scales: np.ndarray) -> None:
        """Let the products of ``site`` read integers through DequantizeLinear."""
        insert, old = self._inserter, site.weight.source
        operands: list[ir.Value | None] = [
            insert.initializer(f"{site.name}/integers", ir.Tensor(integers)),
            insert.initializer(f"{site.name}/scales", ir.Tensor(scales)),
            insert.initializer(f"{site.name}/zero", ir.Tensor(np.zeros(len(scales), np.int8))),
        ]
        for node in site.nodes:
            operator = WEIGHT_OPERATORS[op_of(node)]
            rows = self._round_rows(rows_of(node))
            weight = insert.node("DequantizeLinear", operands, before=node, axis=1)
            node.replace_input_with(operator.rows, rows)
            node.replace_input_with(operator.weight, weight)
        insert.drop(old)

    def _round_rows(self, rows: ir.Value) -> ir.Value:
        if rows not in self._rounded:
            insert, found = self._inserter, self._ranges[str(rows.name)]
            steps: list[ir.Value | None] = [
                insert.initializer(f"{rows.name}/scale", ir.Tensor(np.array(found.scale))),
                insert.initializer(f"{rows.name}/zero", ir.Tensor(np.array(found.zero_point))),
            ]
            place = _first_reader(insert.graph, rows)
            integers = insert.node("QuantizeLinear", [rows, *steps], before=place)
            self._rounded[rows] = insert.node("DequantizeLinear", [integers, *steps], before=place)
        return self._rounded[rows]


def _first_reader(graph: ir.Graph, value: ir.Value) -> ir.Node:
    return next(node for node in graph if value in node.inputs)


def _maker(value: ir.Value) -> ir.Node:
    node = value.producer()
    assert node is not None
    return node
