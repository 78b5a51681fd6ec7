"""Fisher information of outputs as a metric."""

import numpy as np
import pytest

from squeeze_onnx.spectral.fisher_moments import SHRINKAGE, OutputFisher


def test_the_root_is_that_of_the_shrunk_mean() -> None:
    gradients = np.random.default_rng(0).standard_normal((50, 6)) * np.arange(1, 7)
    fisher = gradients.T @ gradients / 50
    root = OutputFisher(gradients.T @ gradients, 50).weigh(np.eye(6))
    level = SHRINKAGE * np.trace(fisher) / 6
    np.testing.assert_allclose(root @ root.T, (1 - SHRINKAGE) * fisher + level * np.eye(6), rtol=1e-10)
    assert np.trace(root @ root.T) == pytest.approx(np.trace(fisher))  # the scale stays


@pytest.mark.parametrize("gram", [np.zeros((4, 4)), np.diag([1.0, 0, 0, 0])], ids=["no gradient", "one direction"])
def test_is_never_singular(gram: np.ndarray) -> None:
    root = OutputFisher(gram, 8).weigh(np.eye(4))
    assert (np.diagonal(root) > 0).all()
