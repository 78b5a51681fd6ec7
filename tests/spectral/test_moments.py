"""Second moments: streamed equals batch, and weighing by them measures the output."""

import numpy as np
import pytest

from squeeze_onnx.spectral.moment_sums import GramSum
from squeeze_onnx.spectral.moments import SecondMoment, TokenFrequency


def test_moments_of_parts_add_up_to_those_of_the_whole() -> None:
    inputs = np.random.default_rng(0).standard_normal((60, 5))
    parts = [SecondMoment(part.T @ part, len(part)) for part in np.array_split(inputs, 7)]
    total = sum(parts[1:], start=parts[0])
    assert total.tokens == 60
    np.testing.assert_allclose(total.gram, inputs.T @ inputs, rtol=1e-12)


def test_a_weighed_weight_has_the_norm_of_the_output() -> None:
    rng = np.random.default_rng(1)
    inputs, weight = rng.standard_normal((60, 5)), rng.standard_normal((5, 4))
    weighed = SecondMoment(inputs.T @ inputs, 60).weigh(weight)
    np.testing.assert_allclose(60 * weighed.T @ weighed, (inputs @ weight).T @ (inputs @ weight), rtol=1e-4)


def test_no_token_at_all_is_still_finite() -> None:
    assert np.isfinite(SecondMoment(np.zeros((3, 3)), 0).weigh(np.ones((3, 2)))).all()


def test_a_row_never_looked_up_still_counts() -> None:
    frequency = TokenFrequency(np.array([3.0, 0.0])) + TokenFrequency(np.array([1.0, 0.0]))
    np.testing.assert_allclose(frequency.diagonal, [5 / 6, 1 / 6])


@pytest.mark.parametrize("outlier", [1.0, 1e3])
@pytest.mark.parametrize("mean", [0.0, 30.0])
def test_sums_of_float32_weigh_as_those_of_float64_do(outlier: float, mean: float) -> None:
    """Inputs that are half as many as their features, some features 10³ times as large as others, some far from zero."""
    random = np.random.default_rng(0)
    mixing = random.standard_normal((48, 96))
    scale = np.where(np.arange(96) < 4, outlier, 1.0)
    batches = [(random.standard_normal((700, 48)) @ mixing * scale + mean).astype(np.float32) for _ in range(4)]
    summed = GramSum(96)
    for batch in batches:
        summed.add(batch)
    exact = np.concatenate(batches).astype(np.float64)
    weight = random.standard_normal((96, 32)) / scale[:, None]
    found, expected = summed.moments().weigh(weight), exact @ weight / np.sqrt(len(exact))
    values, right = (np.linalg.svd(matrix, compute_uv=False) for matrix in (found, expected))
    np.testing.assert_allclose(values, right, rtol=3e-3)
