"""int8: weights with one scale a column, rows in uint8 with one scale for the tensor; the products are those of integers.

Factors are balanced, and the right one is fitted to the rounded left one (`precision.balance`); tables get a scale for each
column (`graph.few_bits`); the products are written by onnxruntime's quantizer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from squeeze_onnx.decompositions import Factors
from squeeze_onnx.errors import OptionError
from squeeze_onnx.graph.factor_pairs import find_factor_pairs
from squeeze_onnx.graph.few_bits import is_lookup, store_int8_table
from squeeze_onnx.graph.fused_layers import keep_sums_apart
from squeeze_onnx.graph.insertion import Inserter
from squeeze_onnx.graph.plain_weights import plain_weight_sites
from squeeze_onnx.graph.rewrite import Rewriter
from squeeze_onnx.graph.sites import MatMulSite
from squeeze_onnx.precision.balance import quantizable
from squeeze_onnx.precision.base import Evidence, Lowered
from squeeze_onnx.precision.islands import choose_islands
from squeeze_onnx.precision.rounding import INT8_LEVELS, column_scales, round_columns
from squeeze_onnx.precision.through_files import through_files
from squeeze_onnx.runtime.quantizers import quantize_int8, quantize_static_int8
from squeeze_onnx.weights import read_weight

_Tool = Callable[[Path, Path], None]


@dataclass(frozen=True)
class DynamicInt8:
    """The range of every tensor of rows is that of the tensor itself, found as the model runs."""

    name: ClassVar[str] = "int8"
    weights_apart: ClassVar[bool] = True
    providers: ClassVar[tuple[str, ...]] = ("cpu",)

    def lower(self, model: ir.Model, evidence: Evidence) -> Lowered:
        """Quantize every product and table of ``model``, whose graph changes on the way, but for sites that hurt."""
        return _lower(model, evidence, lambda nodes: partial(quantize_int8, nodes=nodes), self.name)


@dataclass(frozen=True)
class StaticInt8:
    """The range of every tensor of rows is that seen on the calibration data, written into the graph."""

    name: ClassVar[str] = "int8-static"
    weights_apart: ClassVar[bool] = True
    providers: ClassVar[tuple[str, ...]] = ("cpu",)

    def lower(self, model: ir.Model, evidence: Evidence) -> Lowered:
        """Quantize as `DynamicInt8` does. Raises OptionError without calibration data."""
        if not evidence.batches:
            raise OptionError(
                f"--precision {self.name} takes ranges from data; give --calibration a text file, glue:TASK (with --data) or "
                "an .npz, or use --precision int8"
            )
        feeds = (batch.feeds for batch in evidence.batches)
        return _lower(
            model,
            evidence,
            lambda nodes: partial(quantize_static_int8, feeds=feeds, nodes=nodes),
            self.name,
        )


def _lower(model: ir.Model, evidence: Evidence, tool_for: Callable[[Sequence[str]], _Tool], name: str) -> Lowered:
    balance_factors(model, plain_weight_sites(model), evidence)
    sites = plain_weight_sites(model)
    rounded = {site.name: round_columns(read_weight(site)) for site in sites}
    islands = choose_islands(model, sites, rounded, evidence, round_rows=True)
    kept = {site.name for site in islands.kept}
    lowered = [site for site in sites if site.name not in kept]
    inserter = Inserter(model)
    for site in lowered:
        if is_lookup(site):
            _store(inserter, site)
    keep_sums_apart(inserter)
    products = [str(node.name) for site in lowered if not is_lookup(site) for node in site.nodes]
    return Lowered(
        through_files(model, tool_for(products), f"--precision {name}") if products else model,
        tuple(site.name for site in lowered),
        islands.kept,
        islands.damage or {},
        islands.total,
        islands.notes,
    )


def balance_factors(model: ir.Model, sites: Sequence[MatMulSite], evidence: Evidence) -> None:
    """Rewrite every pair of factors among ``sites`` of ``model``, which changes in place, so that it quantizes well."""
    pairs = find_factor_pairs(sites)
    moments = evidence.moments(model, [pair.left for pair in pairs])
    rewriter = Rewriter(model)
    for pair in pairs:
        factors = Factors(read_weight(pair.left), read_weight(pair.right))
        balanced = quantizable(factors, moments[pair.left.name])
        rewriter.replace(pair.left, balanced.left)
        rewriter.replace(pair.right, balanced.right)


def _store(inserter: Inserter, site: MatMulSite) -> None:
    table = read_weight(site)
    scales = column_scales(table).astype(np.float32)
    integers = np.rint(table / scales).clip(-INT8_LEVELS, INT8_LEVELS).astype(np.int8)
    store_int8_table(inserter, site, integers, scales)
