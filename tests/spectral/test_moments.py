"""Second moments: streamed equals batch, and weighing by them measures the output."""

import numpy as np

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
    np.testing.assert_allclose(60 * weighed.T @ weighed, (inputs @ weight).T @ (inputs @ weight), rtol=1e-6)


def test_no_token_at_all_is_still_finite() -> None:
    assert np.isfinite(SecondMoment(np.zeros((3, 3)), 0).weigh(np.ones((3, 2)))).all()


def test_a_row_never_looked_up_still_counts() -> None:
    frequency = TokenFrequency(np.array([3.0, 0.0])) + TokenFrequency(np.array([1.0, 0.0]))
    np.testing.assert_allclose(frequency.diagonal, [5 / 6, 1 / 6])
