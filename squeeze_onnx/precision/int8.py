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
from squeeze_onnx.errors import ModelError, OptionError
from squeeze_onnx.graph.factor_pairs import FactorPair, find_factor_pairs
from squeeze_onnx.graph.few_bits import is_lookup, store_int8_table
from squeeze_onnx.graph.fused_layers import keep_sums_apart
from squeeze_onnx.graph.insertion import Inserter
from squeeze_onnx.graph.plain_weights import plain_weight_sites
from squeeze_onnx.graph.rewrite import Rewriter
from squeeze_onnx.graph.sites import MatMulSite, find_sites
from squeeze_onnx.precision.balance import quantizable
from squeeze_onnx.precision.base import Evidence, Lowered
from squeeze_onnx.precision.islands import Group, choose_islands
from squeeze_onnx.precision.rounding import INT8_LEVELS, column_scales, round_columns
from squeeze_onnx.precision.through_files import through_files
from squeeze_onnx.runtime.quantizers import quantize_int8, quantize_static_int8
from squeeze_onnx.weights import read_weight

_SCALES_ALONG_AN_AXIS = 13
"""The first opset whose DequantizeLinear has them."""

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
    opset = model.opset_imports[""]
    if opset < _SCALES_ALONG_AN_AXIS:
        raise ModelError(
            f"--precision {name} takes a model of opset {_SCALES_ALONG_AN_AXIS} or later, not {opset}: export it again"
        )
    sites = plain_weight_sites(model)
    pairs = find_factor_pairs(sites)
    weights = {site.name: read_weight(site) for site in sites} | _balanced(model, pairs, evidence)
    rounded = {name: round_columns(weight) for name, weight in weights.items()}
    groups = _groups(sites, pairs)
    islands = choose_islands(model, groups, rounded, evidence, round_rows=True)
    kept = {site.name for site in islands.kept}
    lowered = tuple(site.name for site in sites if site.name not in kept)
    rewriter = Rewriter(model)
    for site in sites:
        if site.name in lowered:
            rewriter.replace(site, rounded[site.name])
    keep_sums_apart(Inserter(model))
    products = [str(node.name) for site in sites if site.name in lowered and not is_lookup(site) for node in site.nodes]
    quantized = through_files(model, tool_for(products), f"--precision {name}") if products else model
    _store_tables(quantized, lowered)
    return Lowered(
        quantized,
        lowered,
        islands.kept,
        islands.damage or {},
        islands.total,
        islands.notes,
    )


def _balanced(model: ir.Model, pairs: Sequence[FactorPair], evidence: Evidence) -> dict[str, np.ndarray]:
    """Return factors for every pair that quantize well, by site."""
    moments = evidence.moments(model, [pair.left for pair in pairs])
    weights: dict[str, np.ndarray] = {}
    for pair in pairs:
        factors = Factors(read_weight(pair.left), read_weight(pair.right))
        balanced = quantizable(factors, moments[pair.left.name])
        weights |= {pair.left.name: balanced.left, pair.right.name: balanced.right}
    return weights


def _groups(sites: Sequence[MatMulSite], pairs: Sequence[FactorPair]) -> list[Group]:
    """Return the names of all sites, those of a pair together."""
    paired = [(pair.left.name, pair.right.name) for pair in pairs]
    members = {name for pair in paired for name in pair}
    return [*paired, *((site.name,) for site in sites if site.name not in members)]


def _store_tables(model: ir.Model, lowered: Sequence[str]) -> None:
    """Store the tables among ``lowered`` as int8: after the products, whose quantizer misreads what a table decodes to."""
    inserter = Inserter(model)
    for site in find_sites(model).sites:
        if site.name in lowered and is_lookup(site):
            table = read_weight(site)
            scales = column_scales(table).astype(np.float32)
            integers = np.rint(table / scales).clip(-INT8_LEVELS, INT8_LEVELS).astype(np.int8)
            store_int8_table(inserter, site, integers, scales)
