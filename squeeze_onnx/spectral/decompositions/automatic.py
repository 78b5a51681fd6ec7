"""The decomposition that ``auto`` stands for: by the shape of the matrix and the rank asked for."""

from dataclasses import dataclass, field

from squeeze_onnx.spectral.decompositions.base import Decomposer, Decomposition
from squeeze_onnx.spectral.decompositions.blocks import Matrix, shape_of
from squeeze_onnx.spectral.decompositions.exact import Exact
from squeeze_onnx.spectral.decompositions.rsi import SubspaceIteration

LARGE_SIDE = 1024
"""Smaller side from which RSI is faster than the eigenvectors of the Gram matrix, which cost its third power."""

LARGEST_SHARE = 1 / 8
"""Of that side: the largest rank at which it is.

In processor seconds of one thread, RSI until its error is within 1 % over `Exact`: 0.28 over 0.41 for 128 of 1024 × 4096,
0.49 over 0.45 for 256 of it, 2.6 over 3.9 for 256 of 2048 × 8192 (models/decompositions/results/choice.json).
"""


@dataclass(frozen=True)
class Automatic:
    """RSI for few components of a large matrix, exact for the rest."""

    few_of_many: Decomposer = field(default_factory=SubspaceIteration)

    def decompose(self, matrix: Matrix, rank: int) -> Decomposition:
        """The leading ``rank`` triplets of ``matrix`` (in, out)."""
        side = min(shape_of(matrix))
        is_large = side >= LARGE_SIDE and rank <= LARGEST_SHARE * side
        return (self.few_of_many if is_large else Exact()).decompose(matrix, rank)
