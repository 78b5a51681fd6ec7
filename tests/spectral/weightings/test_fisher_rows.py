"""FWSVD: rows by their Fisher information."""

import numpy as np
import pytest

from squeeze_onnx.spectral.decompositions import Exact
from squeeze_onnx.spectral.fisher_moments import RowFisher
from squeeze_onnx.spectral.weightings import FisherRows


def truncated(rows: np.ndarray, weight: np.ndarray, rank: int) -> np.ndarray:
    weighted = FisherRows(RowFisher(rows)).apply(weight)
    return weighted.factors(Exact().decompose(weighted.matrix, rank), rank).product()


def test_is_the_paper_s_solution() -> None:
    """Î⁻¹ (Î W)_r with Î = diag(√rows)."""
    rng = np.random.default_rng(0)
    rows, weight = rng.uniform(0.1, 9, 10), rng.standard_normal((10, 8))
    scale = np.sqrt(rows)[:, None]
    left, values, right = np.linalg.svd(scale * weight, full_matrices=False)
    expected = (left[:, :3] * values[:3]) @ right[:3] / scale
    np.testing.assert_allclose(truncated(rows, weight, 3), expected, atol=1e-10)


def test_rows_of_no_importance_are_no_error() -> None:
    rng = np.random.default_rng(1)
    rows, weight = np.array([1.0] * 4 + [0.0] * 4), rng.standard_normal((8, 8))
    np.testing.assert_allclose(truncated(rows, weight, 4)[:4], weight[:4], atol=1e-8)


@pytest.mark.parametrize("rank", [1, 3])
def test_equal_rows_make_a_plain_svd(rank: int) -> None:
    weight = np.random.default_rng(2).standard_normal((6, 5))
    plain = Exact().decompose(weight, rank).factors(rank).product()
    np.testing.assert_allclose(truncated(np.full(6, 7.0), weight, rank), plain, atol=1e-10)
