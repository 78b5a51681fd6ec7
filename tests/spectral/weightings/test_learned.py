import numpy as np
import pytest

from squeeze_onnx.compress.truncation import truncate
from squeeze_onnx.spectral.decompositions import Exact
from squeeze_onnx.spectral.weightings import LearnedSpectrum


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (4, 4)])
def test_truncates_in_the_order_that_was_learned(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    size = min(shape)
    left, right = (rng.standard_normal(each).astype(np.float32) for each in ((shape[0], size), (size, shape[1])))
    spectrum = LearnedSpectrum(left, right, np.array([8.0, 4.0, 2.0, 2.0]))
    factors, errors = truncate(rng.standard_normal(shape), 2, spectrum, Exact())
    assert np.array_equal(factors.left, left[:, :2].astype(np.float64))
    assert np.array_equal(factors.right, right[:2].astype(np.float64))
    # What is dropped is a quarter of all output error.
    assert errors.weighted_error**2 == pytest.approx(0.25)
    assert errors.energy_kept == pytest.approx(0.75)
