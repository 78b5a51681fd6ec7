"""Components in an order that was learned: a weighting whose decomposition is already there."""

from dataclasses import dataclass

import numpy as np

from squeeze_onnx.spectral.decompositions import Decomposition, Factors


@dataclass(frozen=True)
class LearnedMatrix:
    """A diagonal matrix whose singular values are the roots of the components' output errors, and the components themselves."""

    matrix: np.ndarray
    learned: "LearnedSpectrum"
    extra_rank: int = 0

    def factors(self, decomposition: Decomposition, rank: int) -> Factors:
        """Return the ``rank`` most valuable components; a diagonal matrix has no vectors to ask ``decomposition`` for."""
        return Factors(self.learned.left[:, :rank].astype(np.float64), self.learned.right[:rank].astype(np.float64))


@dataclass(frozen=True, eq=False)
class LearnedSpectrum:
    """What learning made of one weight (in, out): its n = min(in, out) components, the most valuable first.

    ``left`` (in, n) and ``right`` (n, out) are float32, with what was learned multiplied in; ``output_error`` (n,), float64,
    descending and above 0, is what closing a component costs, in units of the loss.
    """

    left: np.ndarray
    right: np.ndarray
    output_error: np.ndarray

    def apply(self, weight: np.ndarray) -> LearnedMatrix:
        """See ``weight`` (in, out), whose components these are, by output error: what truncation drops the loss rises by."""
        matrix = np.zeros(weight.shape)
        np.fill_diagonal(matrix, np.sqrt(self.output_error))
        return LearnedMatrix(matrix, self)
