"""Tables in few bits: only the rows that are looked up are decoded, so bits of a table cost no product its speed."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from squeeze_onnx.compress.precision.rounding import INT8_LEVELS, Blocks, column_scales, round_blocks, round_columns
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.quantized.few_bits import store_block_table, store_int8_table
from squeeze_onnx.graph.rewrite.insertion import Inserter

BLOCK_SIZES = (64, 32, 16)
"""Entries of a row that share a scale: the first that rows are a multiple of."""


class TableForm(Protocol):
    """A way to store a table (rows, columns)."""

    def round(self, table: np.ndarray) -> np.ndarray:
        """Return what the stored form of ``table`` decodes to."""
        ...

    def store(self, inserter: Inserter, site: MatMulSite) -> None:
        """Put the stored form in the place of the table of ``site``."""
        ...


@dataclass(frozen=True)
class Int8Columns:
    """Eight bits with a scale for each column, in plain ONNX."""

    def round(self, table: np.ndarray) -> np.ndarray:
        """Return the table of rounded columns."""
        return round_columns(table)

    def store(self, inserter: Inserter, site: MatMulSite) -> None:
        """Store integers and scales."""
        table = read_weight(site)
        scales = column_scales(table).astype(np.float32)
        integers = np.rint(table / scales).clip(-INT8_LEVELS, INT8_LEVELS).astype(np.int8)
        store_int8_table(inserter, site, integers, scales)


@dataclass(frozen=True)
class Int4Rows:
    """Four bits with a scale for each block of a row, in an operator of ONNX Runtime."""

    def round(self, table: np.ndarray) -> np.ndarray:
        """Return the table of rounded blocks."""
        return round_rows(table, bits=4).decoded()

    def store(self, inserter: Inserter, site: MatMulSite) -> None:
        """Store packed integers and scales."""
        store_block_table(inserter, site, round_rows(read_weight(site), bits=4).packed())


def fits_blocks(site: MatMulSite) -> bool:
    """Whether the rows of the table of ``site`` are whole blocks, which the operator asks for."""
    return site.out_features % BLOCK_SIZES[-1] == 0


def round_rows(table: np.ndarray, *, bits: int) -> Blocks:
    """Round ``table`` (rows, columns), whose rows are whole blocks, along its rows."""
    return round_blocks(table, bits=bits, size=next(size for size in BLOCK_SIZES if table.shape[1] % size == 0))
