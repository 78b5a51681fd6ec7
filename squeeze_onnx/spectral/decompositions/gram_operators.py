"""The Gram matrix AAᵀ of a matrix as something to multiply with, formed or not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from squeeze_onnx.spectral.decompositions.blocks import SmallSide


class GramOperator(Protocol):
    """AAᵀ (small, small), applied in two halves: what a Rayleigh–Ritz step needs is known after the first."""

    def half(self, vectors: np.ndarray) -> np.ndarray:
        """The first half of AAᵀX for X = ``vectors`` (small, n); linear in X, so half(X)S = half(XS)."""
        ...

    def inner(self, vectors: np.ndarray, half: np.ndarray) -> np.ndarray:
        """XᵀAAᵀX (n, n) from X and `half` of X."""
        ...

    def whole(self, half: np.ndarray) -> np.ndarray:
        """AAᵀX (small, n) from `half` of X."""
        ...


@dataclass(frozen=True)
class FormedGram:
    """AAᵀ as a matrix."""

    gram: np.ndarray

    def half(self, vectors: np.ndarray) -> np.ndarray:
        """All of AAᵀX."""
        product: np.ndarray = self.gram @ vectors
        return product

    def inner(self, vectors: np.ndarray, half: np.ndarray) -> np.ndarray:
        """Xᵀ(AAᵀX)."""
        product: np.ndarray = vectors.T @ half
        return product

    def whole(self, half: np.ndarray) -> np.ndarray:
        """Nothing is left to do."""
        return half


@dataclass(frozen=True)
class ProductGram:
    """AAᵀ as two products, with a pass over A for each."""

    side: SmallSide

    def half(self, vectors: np.ndarray) -> np.ndarray:
        """AᵀX (large, n)."""
        return self.side.adjoint(vectors)

    def inner(self, vectors: np.ndarray, half: np.ndarray) -> np.ndarray:
        """(AᵀX)ᵀAᵀX."""
        product: np.ndarray = half.T @ half
        return product

    def whole(self, half: np.ndarray) -> np.ndarray:
        """A(AᵀX)."""
        return self.side.forward(half)


def residual_of(gram: GramOperator, vectors: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """EEᵀ as a function, for what an orthonormal U = ``vectors`` (small, r) leaves of A: E = (I − UUᵀ)A."""

    def outside(block: np.ndarray) -> np.ndarray:
        rest: np.ndarray = block - vectors @ (vectors.T @ block)
        return rest

    return lambda block: outside(gram.whole(gram.half(outside(block))))
