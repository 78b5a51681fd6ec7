"""int8: weights with one scale a column, rows in eight bits with one scale for the tensor; the products are those of integers.

Factors are balanced, and the right one is fitted to the rounded left one (`precision.balance`); tables get a scale for each
column, or four bits in blocks of a row (`precision.tables`). How far a column reaches is chosen for the processors that the
products are to be right on (`precision.target_cpu`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from squeeze_onnx.compress.precision.balance import PairRounding, RoundWeight, quantizable
from squeeze_onnx.compress.precision.base import EIGHT_BITS, Encoder, Evidence, Lowered
from squeeze_onnx.compress.precision.excluded_operators import Group, choose_excluded
from squeeze_onnx.compress.precision.rounding import ColumnIntegers, ColumnRounding
from squeeze_onnx.compress.precision.row_ranges import measure_row_ranges
from squeeze_onnx.compress.precision.stored_bytes import StoredBytes, int4_rows, int8_columns
from squeeze_onnx.compress.precision.tables import (
    BLOCK_SIZES,
    BlockTable,
    ColumnTable,
    EncodedTable,
    Int4Rows,
    Int8Columns,
    TableForm,
    fits_blocks,
)
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.graph.fused.fused_layers import keep_sums_apart
from squeeze_onnx.graph.match.factor_pairs import FactorPair, find_factor_pairs
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.graph.quantized.few_bits import is_lookup
from squeeze_onnx.graph.quantized.integer_storage import DynamicProducts, ProductWriter, StaticProducts
from squeeze_onnx.graph.rewrite.insertion import Inserter
from squeeze_onnx.graph.rewrite.plain_weights import plain_weight_sites
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from squeeze_onnx.spectral.decompositions import Factors
from squeeze_onnx.support.errors import ModelError, OptionError

_SCALES_ALONG_AN_AXIS = 13
"""The first opset whose DequantizeLinear has them."""

_LEAST_SHARE = 0.1
"""Of the entries of all tables: positions and token types hold less, so four bits gain nothing, and they are in every row."""

_WriterOf = Callable[[ir.Model, Sequence[MatMulSite]], ProductWriter]
"""Makes what writes the products of sites into a graph."""


@dataclass(frozen=True)
class DynamicInt8:
    """The range of every tensor of rows is that of the tensor itself, found as the model runs."""

    name: ClassVar[str] = "int8"
    weights_apart: ClassVar[bool] = True
    providers: ClassVar[tuple[str, ...]] = ("cpu",)
    rounds_rows: ClassVar[bool] = True
    table_step: ClassVar[int] = 1
    stored: ClassVar[StoredBytes] = StoredBytes(int8_columns, int8_columns)

    def encoders(self, model: ir.Model, evidence: Evidence) -> Mapping[str, Encoder]:
        """Return how products and tables are rounded; factors are balanced first."""
        return _encoders(model, evidence)

    def lower(self, model: ir.Model, evidence: Evidence) -> Lowered:
        """Quantize every product and table of ``model``, whose graph changes on the way, but for sites that hurt."""
        return _lower(model, evidence, _dynamic, self.name)


@dataclass(frozen=True)
class Int8Int4Tables:
    """Products as in `DynamicInt8`, the large tables in four bits: if they hurt, or rows are no whole blocks, in eight."""

    name: ClassVar[str] = "int8-int4"
    weights_apart: ClassVar[bool] = True
    providers: ClassVar[tuple[str, ...]] = ("cpu",)
    rounds_rows: ClassVar[bool] = True
    table_step: ClassVar[int] = BLOCK_SIZES[-1]
    stored: ClassVar[StoredBytes] = StoredBytes(int8_columns, int4_rows)

    def encoders(self, model: ir.Model, evidence: Evidence) -> Mapping[str, Encoder]:
        """Return how products and tables are rounded; factors are balanced first."""
        return _encoders(model, evidence, four_bit_tables=True)

    def lower(self, model: ir.Model, evidence: Evidence) -> Lowered:
        """Quantize every product and table of ``model``, whose graph changes on the way, but for products that hurt."""
        return _lower(model, evidence, _dynamic, self.name, four_bit_tables=True)


@dataclass(frozen=True)
class StaticInt8:
    """The range of every tensor of rows is that seen on the calibration data, written into the graph."""

    name: ClassVar[str] = "int8-static"
    weights_apart: ClassVar[bool] = True
    providers: ClassVar[tuple[str, ...]] = ("cpu",)
    rounds_rows: ClassVar[bool] = True
    table_step: ClassVar[int] = 1
    stored: ClassVar[StoredBytes] = StoredBytes(int8_columns, int8_columns)

    def encoders(self, model: ir.Model, evidence: Evidence) -> Mapping[str, Encoder]:
        """Return how products and tables are rounded; factors are balanced first."""
        return _encoders(model, evidence)

    def lower(self, model: ir.Model, evidence: Evidence) -> Lowered:
        """Quantize as `DynamicInt8` does. Raises OptionError without calibration data."""
        if not evidence.batches:
            raise OptionError(
                f"`precision` {self.name} takes ranges from data; give `calibration` a text file, glue:TASK (with `data`) or "
                "an .npz, or use `precision` int8"
            )
        return _lower(model, evidence, partial(_static, evidence), self.name)


def _dynamic(model: ir.Model, products: Sequence[MatMulSite]) -> ProductWriter:
    return DynamicProducts(Inserter(model))


def _static(evidence: Evidence, model: ir.Model, products: Sequence[MatMulSite]) -> ProductWriter:
    return StaticProducts(Inserter(model), measure_row_ranges(model, products, evidence))


def _encoders(model: ir.Model, evidence: Evidence, *, four_bit_tables: bool = False) -> dict[str, Encoder]:
    sites = plain_weight_sites(model)
    rounding = ColumnRounding(fits_pairs=evidence.target.fits_pairs)
    forms = _table_forms(sites, four_bits=four_bit_tables)
    rewriter, site_of = Rewriter(model), {site.name: site for site in sites}
    for name, weight in _balanced(model, find_factor_pairs(sites), evidence, forms, rounding).items():
        rewriter.replace(site_of[name], weight)
    return {site.name: forms[site.name].encode if site.name in forms else rounding.encode for site in sites}


def _lower(
    model: ir.Model,
    evidence: Evidence,
    writer_of: _WriterOf,
    name: str,
    *,
    four_bit_tables: bool = False,
) -> Lowered:
    opset = model.opset_imports[""]
    if opset < _SCALES_ALONG_AN_AXIS:
        raise ModelError(
            f"`precision` {name} takes a model of opset {_SCALES_ALONG_AN_AXIS} or later, not {opset}: export it again"
        )
    sites = plain_weight_sites(model)
    pairs = find_factor_pairs(sites)
    rounding = ColumnRounding(fits_pairs=evidence.target.fits_pairs)
    forms = _table_forms(sites, four_bits=four_bit_tables)
    unlearned = [pair for pair in pairs if not {pair.left.name, pair.right.name} & evidence.encoded.keys()]
    weights = {site.name: read_weight(site) for site in sites} | _balanced(model, unlearned, evidence, forms, rounding)
    tables = {name: _learned_table(evidence, name) or form.encode(weights[name]) for name, form in forms.items()}
    products = {
        name: evidence.learned(name, ColumnIntegers) or rounding.encode(weight)
        for name, weight in weights.items()
        if name not in tables
    }
    rounded = {name: each.decoded() for name, each in tables.items()}
    rounded |= {name: each.decoded() for name, each in products.items()}
    excluded = choose_excluded(model, _groups(sites, pairs), rounded, evidence, round_rows=True)
    kept = {site.name for site in excluded.kept}
    lowered = tuple(site.name for site in sites if site.name not in kept)
    rewriter = Rewriter(model)
    for site in sites:  # the ranges that are taken from data are those behind what is stored
        if site.name in lowered:
            rewriter.replace(site, rounded[site.name])
    keep_sums_apart(Inserter(model))
    _store_products(model, {name: each for name, each in products.items() if name not in kept}, writer_of)
    stored: dict[str, EncodedTable] = {name: table for name, table in tables.items() if name not in kept}
    if four_bit_tables:  # a factor that stays is the one it was, as is the other of its pair
        whole = (site for site in sites if site.name in tables and site.name in kept)
        stored |= {site.name: Int8Columns().encode(read_weight(site)) for site in whole}
    _store_tables(model, stored)
    return Lowered(
        model,
        lowered,
        tuple(
            replace(site, reason=f"{EIGHT_BITS}: {site.reason}") if site.name in stored else site
            for site in excluded.kept
        ),
        output_error=excluded.output_error or {},
        predicted=excluded.total,
        notes=excluded.notes,
    )


def _balanced(
    model: ir.Model,
    pairs: Sequence[FactorPair],
    evidence: Evidence,
    forms: Mapping[str, TableForm],
    rounding: ColumnRounding,
) -> dict[str, np.ndarray]:
    """Return factors for every pair that quantize well, by site; a left one that is a table is rounded in its form."""
    moments = evidence.moments(model, [pair.left for pair in pairs])
    weights: dict[str, np.ndarray] = {}
    for pair in pairs:
        factors = Factors(read_weight(pair.left), read_weight(pair.right))
        form = forms.get(pair.left.name)
        round_left: RoundWeight = rounding.round if form is None else partial(_round_table, form)
        balanced = quantizable(factors, moments[pair.left.name], PairRounding(round_left, rounding.round))
        weights |= {pair.left.name: balanced.left, pair.right.name: balanced.right}
    return weights


def _learned_table(evidence: Evidence, name: str) -> EncodedTable | None:
    return evidence.learned(name, ColumnTable) or evidence.learned(name, BlockTable)


def _groups(sites: Sequence[MatMulSite], pairs: Sequence[FactorPair]) -> list[Group]:
    """Return the names of all sites, those of a pair together."""
    paired = [(pair.left.name, pair.right.name) for pair in pairs]
    members = {name for pair in paired for name in pair}
    return [*paired, *((site.name,) for site in sites if site.name not in members)]


def _table_forms(sites: Sequence[MatMulSite], *, four_bits: bool) -> dict[str, TableForm]:
    """Return how the tables among ``sites`` are stored, by site."""
    tables = [site for site in sites if is_lookup(site)]
    worth_it = _LEAST_SHARE * sum(site.parameters for site in tables)
    fit = {site.name for site in tables if four_bits and fits_blocks(site) and site.parameters >= worth_it}
    return {site.name: Int4Rows() if site.name in fit else Int8Columns() for site in tables}


def _round_table(form: TableForm, table: np.ndarray) -> np.ndarray:
    return form.encode(table).decoded()


def _store_products(model: ir.Model, products: Mapping[str, ColumnIntegers], writer_of: _WriterOf) -> None:
    sites = [site for site in find_sites(model).sites if site.name in products]
    writer = writer_of(model, sites)
    for site in sites:
        writer.store(site, products[site.name].integers, products[site.name].scales)


def _store_tables(model: ir.Model, tables: Mapping[str, EncodedTable]) -> None:
    inserter = Inserter(model)
    for site in find_sites(model).sites:
        if site.name in tables:
            tables[site.name].store(inserter, site)
