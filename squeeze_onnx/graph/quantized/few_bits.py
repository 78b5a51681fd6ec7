"""Weights stored as integers: tables of which only the rows that are looked up are decoded, and products that decode as they go.

com.microsoft.MatMulNBits and GatherBlockQuantized keep integers in blocks of neighbours with a scale each; a table in int8 needs
plain ONNX only.
"""

from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, op_of, rows_of
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.rewrite.insertion import Inserter

_INT8_COMPUTE = 4
"""MatMulNBits' accuracy_level that rounds rows to int8, block by block, and multiplies integers."""


@dataclass(frozen=True)
class PackedBlocks:
    """A matrix (rows, columns) in blocks of ``size`` columns of ``bits`` each.

    packed: bytes (rows, blocks, size·bits/8), the first entry in the low bits; 2^(bits−1) stands for 0. scales: (rows, blocks).
    """

    packed: np.ndarray
    scales: np.ndarray
    bits: int
    size: int
    columns: int


def is_lookup(site: MatMulSite) -> bool:
    """Whether the weight of ``site`` is a table."""
    return WEIGHT_OPERATORS[op_of(site.nodes[0])].lookup


def store_int8_table(inserter: Inserter, site: MatMulSite, integers: np.ndarray, scales: np.ndarray) -> None:
    """Store the table of ``site`` as int8 ``integers`` (rows, columns) with one of ``scales`` (columns,) for each column.

    ids ─► Gather(table) ─► y        ids ─► Gather(integers) ─► DequantizeLinear(scales) ─► y
    """
    table = inserter.initializer(f"{site.name}/integers", ir.Tensor(integers))
    steps = inserter.initializer(f"{site.name}/scales", ir.Tensor(scales))
    zero = inserter.initializer(f"{site.name}/zero", ir.Tensor(np.zeros(len(scales), np.int8)))
    old = site.weight.source
    for node in site.nodes:
        picked = inserter.node("Gather", [table, rows_of(node)], before=node, axis=0)
        decoded = inserter.node("DequantizeLinear", [picked, steps, zero], before=node, axis=-1)
        inserter.take_over(node.outputs[0], decoded)
    inserter.drop(old)


def store_block_table(inserter: Inserter, site: MatMulSite, table: PackedBlocks) -> None:
    """Store the table of ``site`` (rows, columns) in blocks along its rows; the columns are a multiple of the block size."""
    rows = len(table.packed)
    as_matrix = replace(table, packed=table.packed.reshape(rows, -1))
    operands = _operands(inserter, site.name, as_matrix)
    old = site.weight.source
    for node in site.nodes:
        decoded = inserter.node(
            "com.microsoft.GatherBlockQuantized",
            [operands[0], rows_of(node), operands[1]],
            before=node,
            gather_axis=0,
            quantize_axis=1,
            block_size=table.size,
            bits=table.bits,
        )
        inserter.take_over(node.outputs[0], decoded)
    inserter.drop(old)


def store_block_product(
    inserter: Inserter, site: MatMulSite, weight: PackedBlocks, correction: tuple[PackedBlocks, PackedBlocks] | None
) -> None:
    """Store the weight of ``site``, transposed (out, in), in blocks, and add a product of two factors, (r, in) and (out, r).

    x ─► MatMul(W) ─► y        x ─► MatMulNBits(Q) ─► + ─► y
                               x ─► MatMulNBits(left) ─► MatMulNBits(right) ─┘
    """
    main = _operands(inserter, site.name, weight)
    factors = () if correction is None else correction
    extra = [_operands(inserter, f"{site.name}/correction", each) for each in factors]
    old = site.weight.source
    for node in site.nodes:
        total = _multiply(inserter, rows_of(node), weight, main, node)
        if extra:
            added = rows_of(node)
            for factor, operands in zip(factors, extra, strict=True):
                added = _multiply(inserter, added, factor, operands, node)
            total = inserter.node("Add", [total, added], before=node)
        inserter.take_over(node.outputs[0], total)
    inserter.drop(old)


def _operands(inserter: Inserter, name: str, blocks: PackedBlocks) -> list[ir.Value]:
    return [
        inserter.initializer(f"{name}/blocks", ir.Tensor(blocks.packed)),
        inserter.initializer(f"{name}/scales", ir.Tensor(blocks.scales.astype(np.float32))),
    ]


def _multiply(
    inserter: Inserter, rows: ir.Value, weight: PackedBlocks, operands: list[ir.Value], before: ir.Node
) -> ir.Value:
    return inserter.node(
        "com.microsoft.MatMulNBits",
        [rows, *operands],
        before=before,
        K=weight.columns,
        N=len(weight.packed),
        bits=weight.bits,
        block_size=weight.size,
        accuracy_level=_INT8_COMPUTE,
    )
