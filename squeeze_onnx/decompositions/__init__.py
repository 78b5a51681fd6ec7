"""Decompositions: the leading singular triplets of a weight, exactly or by sketching, with their error.

A new decomposition is one file here, one line in `DECOMPOSITIONS` and one test file. All of it is arrays and scalars.
"""

from squeeze_onnx.decompositions.base import Decomposer, Decomposition, Factors
from squeeze_onnx.decompositions.blocks import Matrix, RowBlocks
from squeeze_onnx.decompositions.exact import Exact, singular_values

DECOMPOSITIONS: dict[str, type[Decomposer]] = {
    "exact": Exact,
}

__all__ = [
    "DECOMPOSITIONS",
    "Decomposer",
    "Decomposition",
    "Exact",
    "Factors",
    "Matrix",
    "RowBlocks",
    "singular_values",
]
