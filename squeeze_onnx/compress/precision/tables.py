"""Tables in few bits: only the rows that are looked up are decoded, so bits of a table cost no product its speed."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from squeeze_onnx.compress.precision.rounding import Blocks, ColumnIntegers, ColumnRounding, round_blocks
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.quantized.few_bits import store_block_table, store_int8_table
from squeeze_onnx.graph.rewrite.insertion import Inserter

BLOCK_SIZES = (64, 32, 16)
"""Entries of a row that share a scale: the first that rows are a multiple of."""


class EncodedTable(Protocol):
    """A table (rows, columns) as integers: what is measured and what is written come from one and the same."""

    def decoded(self) -> np.ndarray:
        """Return the table that the integers stand for."""
        ...

    def store(self, inserter: Inserter, site: MatMulSite) -> None:
        """Put the integers in the place of the table of ``site``, whatever that holds."""
        ...


class TableForm(Protocol):
    """A way to store a table."""

    def encode(self, table: np.ndarray) -> EncodedTable:
        """Round ``table`` (rows, columns)."""
        ...


@dataclass(frozen=True, eq=False)
class ColumnTable:
    """Integers with a scale for each column, in plain ONNX."""

    columns: ColumnIntegers

    def decoded(self) -> np.ndarray:
        """Return the table that the integers stand for."""
        return self.columns.decoded()

    def store(self, inserter: Inserter, site: MatMulSite) -> None:
        """Store integers and scales."""
        store_int8_table(inserter, site, self.columns.integers, self.columns.scales)


@dataclass(frozen=True)
class BlockTable:
    """Integers with a scale for each block of a row, in an operator of ONNX Runtime."""

    blocks: Blocks

    def decoded(self) -> np.ndarray:
        """Return the table that the integers stand for."""
        return self.blocks.decoded()

    def store(self, inserter: Inserter, site: MatMulSite) -> None:
        """Store packed integers and scales."""
        store_block_table(inserter, site, self.blocks.packed())


@dataclass(frozen=True)
class Int8Columns:
    """Eight bits with a scale for each column."""

    def encode(self, table: np.ndarray) -> ColumnTable:
        """Round each column of ``table`` to its own scale."""
        return ColumnTable(ColumnRounding().encode(table))


@dataclass(frozen=True)
class Int4Rows:
    """Four bits with a scale for each block of a row."""

    def encode(self, table: np.ndarray) -> BlockTable:
        """Round ``table``, whose rows are whole blocks."""
        return BlockTable(round_rows(table, bits=4))


def fits_blocks(site: MatMulSite) -> bool:
    """Whether the rows of the table of ``site`` are whole blocks, which the operator asks for."""
    return site.out_features % BLOCK_SIZES[-1] == 0


def round_rows(table: np.ndarray, *, bits: int) -> Blocks:
    """Round ``table`` (rows, columns), whose rows are whole blocks, along its rows."""
    return round_blocks(table, bits=bits, size=next(size for size in BLOCK_SIZES if table.shape[1] % size == 0))
