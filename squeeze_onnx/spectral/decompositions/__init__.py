"""Decompositions: the leading singular triplets of a weight, exactly or from a random sketch, with their error.

A new decomposition is one file here, one line in `DECOMPOSITIONS` and one test file. All of it is arrays and scalars.
"""

from squeeze_onnx.spectral.decompositions.automatic import Automatic
from squeeze_onnx.spectral.decompositions.base import Decomposer, Decomposition, Factors
from squeeze_onnx.spectral.decompositions.blocks import Matrix, RowBlocks
from squeeze_onnx.spectral.decompositions.exact import Exact, singular_values
from squeeze_onnx.spectral.decompositions.rsi import SubspaceIteration
from squeeze_onnx.spectral.decompositions.rsvd import Randomized
from squeeze_onnx.spectral.decompositions.settings import DECOMPOSITIONS, DecompositionSettings

__all__ = [
    "DECOMPOSITIONS",
    "Automatic",
    "Decomposer",
    "Decomposition",
    "DecompositionSettings",
    "Exact",
    "Factors",
    "Matrix",
    "Randomized",
    "RowBlocks",
    "SubspaceIteration",
    "singular_values",
]
