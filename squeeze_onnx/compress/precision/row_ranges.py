"""Constant ranges of rows: the least and the largest entry that the calibration data has there."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from squeeze_onnx.compress.precision.base import Evidence
from squeeze_onnx.graph.match.operators import rows_of
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.quantized.integer_storage import RowRange
from squeeze_onnx.graph.quantized.ranges import returning_extremes
from squeeze_onnx.runtime.graph_session import open_graph

STEPS = 255
"""Of eight bits."""


def measure_row_ranges(model: ir.Model, products: Sequence[MatMulSite], evidence: Evidence) -> dict[str, RowRange]:
    """Return the range of all rows that ``products`` of ``model`` meet on the calibration data, by the name of the value."""
    names = list(dict.fromkeys(str(rows_of(node).name) for site in products for node in site.nodes))
    if not names:
        return {}
    least, largest = np.zeros(len(names)), np.zeros(len(names))  # 0 has to be a number that integers stand for
    session = open_graph(returning_extremes(model, names), evidence.provider)
    for batch in evidence.track(evidence.batches, "Ranges"):
        found = np.array(session.run(None, batch.feeds), dtype=np.float64).reshape(2, -1)
        least, largest = np.minimum(least, found[0]), np.maximum(largest, found[1])
    return {
        name: row_range(low, high, signed=evidence.target.signed_rows)
        for name, low, high in zip(names, least.tolist(), largest.tolist(), strict=True)
    }


def row_range(low: float, high: float, *, signed: bool) -> RowRange:
    """Return the integers that reach from ``low`` ≤ 0 to ``high`` ≥ 0."""
    scale = np.float32((high - low) / STEPS) if high > low else np.float32(1)
    from_least = int(np.rint(-low / float(scale)))
    if signed:
        return RowRange(scale, np.int8(from_least - 128))
    return RowRange(scale, np.uint8(from_least))
