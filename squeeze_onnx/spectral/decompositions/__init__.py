"""Decompositions: the leading singular triplets of a weight, exactly or from a random sketch, with their error.

A new decomposition is one file here, one line in `DECOMPOSITIONS` and one test file. All of it is arrays and scalars.
"""

from squeeze_onnx.spectral.decompositions.base import Decomposer, Decomposition, Factors
from squeeze_onnx.spectral.decompositions.blocks import Matrix, RowBlocks
from squeeze_onnx.spectral.decompositions.exact import Exact, singular_values
from squeeze_onnx.spectral.decompositions.randomized import Randomized
from squeeze_onnx.spectral.decompositions.subspace_iteration import SubspaceIteration

DECOMPOSITIONS: dict[str, type[Decomposer]] = {
    "exact": Exact,
    "randomized": Randomized,
    "subspace_iteration": SubspaceIteration,
}

__all__ = [
    "DECOMPOSITIONS",
    "Decomposer",
    "Decomposition",
    "Exact",
    "Factors",
    "Matrix",
    "Randomized",
    "RowBlocks",
    "SubspaceIteration",
    "singular_values",
]
