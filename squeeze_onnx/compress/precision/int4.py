"""int4: weights of four bits in small blocks, rounded so that errors cancel, corrected where that pays; the smallest file.

It runs at the speed of fp32. Rows stay float outside the operator, so only weights are rounded. Sites that hurt even so take
eight bits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from squeeze_onnx.compress.precision.base import EIGHT_BITS, Encoder, Evidence, KeptSite, Lowered
from squeeze_onnx.compress.precision.compensation import round_compensated
from squeeze_onnx.compress.precision.correction import RANK_STEP, Residual, allocate_ranks
from squeeze_onnx.compress.precision.excluded_operators import Bounds, choose_excluded
from squeeze_onnx.compress.precision.rounding import Blocks, round_blocks
from squeeze_onnx.compress.precision.stored_bytes import StoredBytes, int4_columns, int4_rows
from squeeze_onnx.compress.precision.tables import BLOCK_SIZES, BlockTable, fits_blocks, round_rows
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.quantized.few_bits import is_lookup, store_block_product, store_block_table
from squeeze_onnx.graph.rewrite.insertion import Inserter
from squeeze_onnx.graph.rewrite.plain_weights import plain_weight_sites
from squeeze_onnx.spectral.decompositions import Decomposer, Factors
from squeeze_onnx.spectral.moments import Moments, SecondMoment

BLOCK = 32
"""Entries of a column of a product that share a scale."""

CORRECTION_SHARE = 1 / 8
"""Bytes that corrections may take, over those of the rounded products."""

_UNFIT = "the rows of a table are stored in blocks, and these are no multiple of the smallest, 16"

MOST_OUTPUT_ERROR = 0.05
"""How far the outputs may move in all, as a share of their variance, before sites take eight bits."""


@dataclass(frozen=True)
class Correction:
    """Two factors of the residual in eight bits, as they are stored: (r, in) and (out, r)."""

    left: Blocks
    right: Blocks

    @classmethod
    def of(cls, factors: Factors) -> "Correction":
        """Round ``factors`` (in, r), (r, out)."""
        left = round_blocks(factors.left.T, bits=8, size=BLOCK)
        return cls(left, round_blocks(factors.right.T, bits=8, size=RANK_STEP))

    def decoded(self) -> np.ndarray:
        """Return the product (in, out)."""
        product: np.ndarray = (self.right.decoded() @ self.left.decoded()).T
        return product


@dataclass(frozen=True)
class Int4:
    """Products and tables in blocks of four bits, with ``correction_share`` of their bytes for corrections."""

    correction_share: float = CORRECTION_SHARE
    most_output_error: float = MOST_OUTPUT_ERROR
    name: ClassVar[str] = "int4"
    weights_apart: ClassVar[bool] = True
    providers: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    rounds_rows: ClassVar[bool] = True
    table_step: ClassVar[int] = BLOCK_SIZES[-1]
    stored: ClassVar[StoredBytes] = StoredBytes(int4_columns(BLOCK, CORRECTION_SHARE), int4_rows)

    def encoders(self, model: ir.Model, evidence: Evidence) -> Mapping[str, Encoder]:
        """Return how products and tables are rounded, without the errors of one entry being made up for by others."""
        sites = [site for site in plain_weight_sites(model) if _fits(site)]
        return {site.name: _table if is_lookup(site) else _product for site in sites}

    def lower(self, model: ir.Model, evidence: Evidence) -> Lowered:
        """Store every product and table of ``model``, whose graph changes, in few bits."""
        found = plain_weight_sites(model)
        sites = tuple(site for site in found if _fits(site))
        unfit = tuple(f"{site.name} stays float32: {_UNFIT}." for site in found if not _fits(site))
        products = [site for site in sites if not is_lookup(site)]
        moments = evidence.moments(model, sites)
        blocks = {site.name: _learned(evidence, site) or _round(site, 4, moments[site.name]) for site in sites}
        corrections = self._corrections(products, blocks, moments, evidence.decomposer)
        rounded = {site.name: _decoded(site, blocks[site.name], corrections.get(site.name)) for site in sites}
        groups = [(site.name,) for site in sites]
        excluded = choose_excluded(
            model, groups, rounded, evidence, round_rows=False, bounds=Bounds(self.most_output_error, 0.5)
        )
        kept = {site.name for site in excluded.kept}
        inserter = Inserter(model)
        for site in sites:
            stored = _round(site, 8, moments[site.name]) if site.name in kept else blocks[site.name]
            if is_lookup(site):
                store_block_table(inserter, site, stored.packed())
            else:
                correction = None if site.name in kept else corrections.get(site.name)
                packed = None if correction is None else (correction.left.packed(), correction.right.packed())
                store_block_product(inserter, site, stored.packed(), packed)
        return Lowered(
            model,
            tuple(site.name for site in sites if site.name not in kept),
            tuple(KeptSite(site.name, f"{EIGHT_BITS}: {site.reason}") for site in excluded.kept),
            output_error=excluded.output_error or {},
            predicted=excluded.total,
            notes=excluded.notes + unfit,
        )

    def _corrections(
        self,
        products: Sequence[MatMulSite],
        blocks: Mapping[str, Blocks],
        moments: Mapping[str, Moments],
        decomposer: Decomposer,
    ) -> dict[str, Correction]:
        """Return the corrections that the budget pays for, by site."""
        residuals = {
            site.name: Residual.of(read_weight(site), blocks[site.name].decoded().T, moments[site.name])
            for site in products
        }
        budget = int(self.correction_share * sum(blocks[site.name].bytes for site in products))
        costs = {site.name: _correction_bytes(site) for site in products}
        ranks = allocate_ranks(residuals, budget, costs)
        return {name: Correction.of(residuals[name].factors(rank, decomposer)) for name, rank in ranks.items() if rank}


@dataclass(frozen=True, eq=False)
class ProductBlocks:
    """Blocks along the columns of a weight (in, out), which is stored transposed."""

    blocks: Blocks

    def decoded(self) -> np.ndarray:
        """Return the weight (in, out) that the integers stand for."""
        return self.blocks.decoded().T


def _product(weight: np.ndarray) -> ProductBlocks:
    return ProductBlocks(round_blocks(weight.T, bits=4, size=BLOCK))


def _table(weight: np.ndarray) -> BlockTable:
    return BlockTable(round_rows(weight, bits=4))


def _learned(evidence: Evidence, site: MatMulSite) -> Blocks | None:
    found = evidence.learned(site.name, BlockTable) or evidence.learned(site.name, ProductBlocks)
    return found.blocks if found is not None else None


def _fits(site: MatMulSite) -> bool:
    """Whether blocks hold the weight: a table's rows have to be whole blocks, a product's columns are filled up."""
    return not is_lookup(site) or fits_blocks(site)


def _round(site: MatMulSite, bits: int, moments: Moments) -> Blocks:
    """Round the weight as it will be stored: a table by its rows, a product by its columns, transposed."""
    weight = read_weight(site)
    if is_lookup(site):
        return round_rows(weight, bits=bits)
    assert isinstance(moments, SecondMoment), "what a product meets is no table's rows"
    return round_compensated(weight.T, moments, bits=bits, size=BLOCK)


def _decoded(site: MatMulSite, blocks: Blocks, correction: Correction | None) -> np.ndarray:
    entries = blocks.decoded() if is_lookup(site) else blocks.decoded().T
    return entries if correction is None else entries + correction.decoded()


def _correction_bytes(site: MatMulSite) -> int:
    """Return the bytes of `RANK_STEP` more components, with their float32 scales."""
    scale = np.dtype(np.float32).itemsize
    left = site.in_features * RANK_STEP * (1 + scale / BLOCK)
    right = site.out_features * RANK_STEP * (1 + scale / RANK_STEP)
    return round(left + right)
