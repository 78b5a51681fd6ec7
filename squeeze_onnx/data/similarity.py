"""How like two texts are by their embeddings, as sentence-transformers counts it: what a model's files name, or the cosine."""

from enum import StrEnum

import numpy as np
from scipy.spatial.distance import cdist


class Similarity(StrEnum):
    """Functions of two embeddings that are larger the more alike these are; distances are negative."""

    COSINE = "cosine"
    DOT = "dot"
    EUCLIDEAN = "euclidean"
    MANHATTAN = "manhattan"

    def of_pairs(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the likeness of each row of ``left`` to that of ``right``, (rows,)."""
        match self:
            case Similarity.DOT:
                return np.asarray(np.sum(left * right, axis=-1))
            case Similarity.EUCLIDEAN:
                return np.asarray(-np.linalg.norm(left - right, axis=-1))
            case Similarity.MANHATTAN:
                return np.asarray(-np.sum(np.abs(left - right), axis=-1))
            case _:
                return cosine(left, right)

    def of_all(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the likeness of every row of ``left`` to every one of ``right``, (rows, other rows)."""
        match self:
            case Similarity.DOT:
                return np.asarray(left @ right.T)
            case Similarity.EUCLIDEAN:
                return np.asarray(-cdist(left, right))
            case Similarity.MANHATTAN:
                return np.asarray(-cdist(left, right, "cityblock"))
            case _:
                return np.asarray(_unit(left) @ _unit(right).T)


def cosine(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the cosine over the last axis; 0 where a vector is zero and has no direction."""
    norms = np.linalg.norm(left, axis=-1) * np.linalg.norm(right, axis=-1)
    result: np.ndarray = np.divide(np.sum(left * right, axis=-1), norms, out=np.zeros(norms.shape), where=norms > 0)
    return result


def _unit(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0))
