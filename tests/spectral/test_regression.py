"""The closed form against least squares on the rows themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze_onnx.spectral.regression import CrossMoments, InputMoments, Regression, normal_matrix, regress, target_of

TOKENS, IN, OUT = 200, 6, 4
DAMPED = 3e-5
"""How close a regression without a ridge comes: what float32 products may round is added to keep its factorization real."""


def rows(seed: int, columns: int = IN) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.standard_normal((TOKENS, columns)) * (1 + np.arange(columns)) + generator.standard_normal(columns)


def moments(squeezed: np.ndarray) -> InputMoments:
    return InputMoments(squeezed.T @ squeezed / len(squeezed), squeezed.mean(axis=0))


def cross(squeezed: np.ndarray, other: np.ndarray) -> CrossMoments:
    return CrossMoments(squeezed.T @ other / len(other), other.mean(axis=0))


def target(squeezed: np.ndarray, drift: np.ndarray | None = None) -> CrossMoments:
    return target_of(cross(squeezed, DENSE), WEIGHT, None if drift is None else cross(squeezed, drift))


DENSE = rows(0)
SQUEEZED = DENSE + 0.5 * rows(1)
DRIFT = rows(2, OUT)
WEIGHT = np.random.default_rng(3).standard_normal((IN, OUT))


def objective(found: np.ndarray, shift: np.ndarray, ridge: float) -> float:
    """What the docstring of the module says is minimised."""
    squeezed = SQUEEZED - SQUEEZED.mean(axis=0)
    damping = ridge * np.square(squeezed).mean()
    error = SQUEEZED @ found + shift - DENSE @ WEIGHT - DRIFT
    return float(np.square(error).mean(axis=0).sum() + damping * np.square(found - WEIGHT).sum())


def test_the_same_inputs_give_the_same_weight_and_bias() -> None:
    found = regress(WEIGHT, target(DENSE), normal_matrix(moments(DENSE), centred=True))
    np.testing.assert_allclose(found.weight, WEIGHT, atol=1e-12)
    np.testing.assert_allclose(found.bias_shift(found.weight), 0, atol=1e-12)


def test_without_a_ridge_it_is_least_squares_on_the_rows() -> None:
    found = regress(WEIGHT, target(SQUEEZED, DRIFT), normal_matrix(moments(SQUEEZED), centred=True, ridge=0))
    with_ones = np.hstack([SQUEEZED, np.ones((TOKENS, 1))])
    expected, *_ = np.linalg.lstsq(with_ones, DENSE @ WEIGHT + DRIFT)
    np.testing.assert_allclose(found.weight, expected[:-1], atol=DAMPED)
    np.testing.assert_allclose(found.bias_shift(found.weight), expected[-1], atol=DAMPED)


def test_without_a_bias_the_line_goes_through_the_origin() -> None:
    found = regress(WEIGHT, target(SQUEEZED), normal_matrix(moments(SQUEEZED), centred=False, ridge=0))
    expected, *_ = np.linalg.lstsq(SQUEEZED, DENSE @ WEIGHT)
    np.testing.assert_allclose(found.weight, expected, atol=DAMPED)


def test_drift_that_is_linear_in_the_input_is_undone() -> None:
    undone = rows(4, OUT)[:IN] / 10
    drift = DENSE @ undone
    found = regress(WEIGHT, target(DENSE, drift), normal_matrix(moments(DENSE), centred=True, ridge=0))
    np.testing.assert_allclose(found.weight, WEIGHT + undone, atol=DAMPED)


@given(seed=st.integers(0, 999), ridge=st.sampled_from([1e-3, 0.1, 1.0]))
def test_every_other_weight_and_bias_does_worse(seed: int, ridge: float) -> None:
    found = regress(WEIGHT, target(SQUEEZED, DRIFT), normal_matrix(moments(SQUEEZED), centred=True, ridge=ridge))
    generator = np.random.default_rng(seed)
    shift = found.bias_shift(found.weight)
    moved = found.weight + 1e-3 * generator.standard_normal((IN, OUT))
    assert objective(found.weight, shift, ridge) < objective(moved, found.bias_shift(moved), ridge)
    assert objective(found.weight, shift, ridge) < objective(found.weight, shift + 1e-3, ridge)


def test_a_truncation_in_its_metric_loses_least() -> None:
    """Reduced-rank regression: no weight of the rank, and none of 200 near it, has a smaller objective."""
    normal = normal_matrix(moments(SQUEEZED), centred=True)
    found = regress(WEIGHT, target(SQUEEZED, DRIFT), normal)
    right = np.linalg.svd(normal.metric.weigh(found.weight), full_matrices=False)[2][:2]
    left = found.weight @ right.T
    best = objective(left @ right, found.bias_shift(left @ right), 0.1)
    generator = np.random.default_rng(0)
    for _ in range(200):
        other = (left + 0.1 * generator.standard_normal(left.shape)) @ (
            right + 0.1 * generator.standard_normal(right.shape)
        )
        assert best < objective(other, found.bias_shift(other), 0.1)


@pytest.mark.parametrize("silent", [slice(0, 3), slice(None)], ids=["some features", "every feature"])
def test_inputs_that_are_always_zero_leave_the_weight_as_it_is(silent: slice) -> None:
    squeezed = SQUEEZED.copy()
    squeezed[:, silent] = 0
    found: Regression = regress(WEIGHT, target(squeezed), normal_matrix(moments(squeezed), centred=True))
    assert np.isfinite(found.weight).all()
    np.testing.assert_allclose(found.weight[silent], WEIGHT[silent], atol=DAMPED)


def test_inputs_that_never_vary_and_are_rounded_leave_about_the_weight_that_was() -> None:
    squeezed = np.tile(SQUEEZED[:1], (TOKENS, 1))
    exact = moments(squeezed)
    noise = np.random.default_rng(5).standard_normal((IN, IN)) * np.sqrt(np.outer(*2 * [np.diagonal(exact.gram)]))
    rounded = InputMoments(exact.gram - 1e-8 * (noise + noise.T), exact.mean)
    found = regress(WEIGHT, target(squeezed), normal_matrix(rounded, centred=True))
    assert np.linalg.norm(found.weight - WEIGHT) < 0.5 * np.linalg.norm(WEIGHT)
