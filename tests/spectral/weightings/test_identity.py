"""No weighting: the truncated SVD of the weight itself."""

import numpy as np

from squeeze_onnx.spectral.decompositions import Exact
from squeeze_onnx.spectral.weightings import Identity


def test_the_truncation_is_the_best_in_the_frobenius_norm() -> None:
    weight = np.random.default_rng(0).standard_normal((12, 7)).astype(np.float32)
    plain = Identity().apply(weight)
    factors = plain.factors(Exact().decompose(plain.matrix, 3), 3)
    values = np.linalg.svd(weight.astype(np.float64), compute_uv=False)
    assert plain.extra_rank == 0
    np.testing.assert_allclose(np.linalg.norm(weight - factors.product()), np.linalg.norm(values[3:]), rtol=1e-9)
