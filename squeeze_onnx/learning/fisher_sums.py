"""The sums behind each kind of Fisher information: rows X and gradients G of one batch in.

The gradient of a weight (in, out) on one sequence is Σ_t x_t g_tᵀ = XᵀG; that is squared, and then averaged over sequences.
Where nothing was taken in, because the answer does not depend on a site, all that it returns counts alike.
"""

from typing import ClassVar, Protocol

import numpy as np

from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, op_of
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.spectral.fisher_moments import ElementFisher, Fisher, OutputFisher, RowFisher
from squeeze_onnx.spectral.moment_sums import GramSum


class FisherSum(Protocol):
    """The sum for one site; ``reads_rows`` says whether it needs to know more than gradients."""

    reads_rows: ClassVar[bool]

    def add(self, rows: np.ndarray, gradients: np.ndarray, text: np.ndarray) -> None:
        """Take in one batch: ``rows`` (sequences, tokens, in), or the numbers (sequences, tokens) that are looked up.

        ``gradients`` (sequences, tokens, out) are 0 where ``text`` (sequences, tokens) is, at padding.
        """
        ...

    def fisher(self) -> Fisher:
        """Return what was summed."""
        ...


class _OutputSum:
    """Multiplied and summed in float32, as gradients come: see `OutputFisher`."""

    reads_rows: ClassVar[bool] = False

    def __init__(self, site: MatMulSite) -> None:
        self._sum = GramSum(site.out_features, np.float32)

    def add(self, rows: np.ndarray, gradients: np.ndarray, text: np.ndarray) -> None:
        self._sum.add(gradients[text > 0])

    def fisher(self) -> OutputFisher:
        moment = self._sum.moments()
        if not moment.tokens:
            return OutputFisher(np.eye(len(moment.gram)), 1)
        return OutputFisher(moment.gram, moment.tokens)


class _RowSum:
    """Σ_j (XᵀG)²_ij is the diagonal of Xᵀ(GGᵀ)X, so the gradient itself is formed for long sequences only."""

    reads_rows: ClassVar[bool] = True

    def __init__(self, site: MatMulSite) -> None:
        self._sum = np.zeros(site.in_features)
        self._is_lookup = WEIGHT_OPERATORS[op_of(site.nodes[0])].lookup
        self._sequences = 0

    def add(self, rows: np.ndarray, gradients: np.ndarray, text: np.ndarray) -> None:
        for row, gradient in zip(rows, gradients, strict=True):
            if not self._is_lookup and len(row) > gradient.shape[-1]:  # the gradient is the smaller of the two
                self._sum += np.square(row.T @ gradient).sum(axis=1)
                continue
            like = gradient @ gradient.T
            if self._is_lookup:
                together = row[:, np.newaxis] == row
                np.add.at(self._sum, row, (like * together).sum(axis=1))
            else:
                self._sum += np.einsum("ti,ti->i", row, like @ row)
        self._sequences += len(gradients)

    def fisher(self) -> RowFisher:
        return RowFisher(self._sum / self._sequences if self._sequences else np.ones_like(self._sum))


class _ElementSum:
    reads_rows: ClassVar[bool] = True

    def __init__(self, site: MatMulSite) -> None:
        self._sum = np.zeros((site.in_features, site.out_features))
        self._is_lookup = WEIGHT_OPERATORS[op_of(site.nodes[0])].lookup
        self._sequences = 0

    def add(self, rows: np.ndarray, gradients: np.ndarray, text: np.ndarray) -> None:
        for row, gradient in zip(rows, gradients, strict=True):
            if self._is_lookup:
                used, place = np.unique(row, return_inverse=True)
                collected = np.zeros((len(used), gradient.shape[-1]))
                np.add.at(collected, place, gradient)
                self._sum[used] += np.square(collected)
            else:
                self._sum += np.square(row.T @ gradient)
        self._sequences += len(gradients)

    def fisher(self) -> ElementFisher:
        return ElementFisher(self._sum / self._sequences if self._sequences else np.ones_like(self._sum))


SUMS: dict[type[Fisher], type[_OutputSum] | type[_RowSum] | type[_ElementSum]] = {
    OutputFisher: _OutputSum,
    RowFisher: _RowSum,
    ElementFisher: _ElementSum,
}
