"""Weighting by activations: the error that counts is that of the output."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze_onnx.spectral.decompositions import Exact, Factors
from squeeze_onnx.spectral.moments import SecondMoment, TokenFrequency
from squeeze_onnx.spectral.weightings import ActivationScale, Identity, Weighting, Whitening


def truncated(weighting: Weighting, weight: np.ndarray, rank: int) -> Factors:
    weighted = weighting.apply(weight)
    return weighted.factors(Exact().decompose(weighted.matrix, rank), rank)


def moments_of(inputs: np.ndarray) -> SecondMoment:
    return SecondMoment(inputs.T @ inputs, len(inputs))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rank=st.integers(1, 5))
def test_whitening_gives_the_least_output_error_of_any_rank_r_matrix(seed: int, rank: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((50, 8)) @ rng.standard_normal((8, 8))
    weight = rng.standard_normal((8, 6))
    product = truncated(Whitening(moments_of(inputs)), weight, rank).product()
    optimum = np.linalg.norm(np.linalg.svd(inputs @ weight, compute_uv=False)[rank:])
    assert np.linalg.norm(inputs @ (weight - product)) == pytest.approx(optimum, rel=1e-4, abs=1e-6)


def test_a_singular_second_moment_is_no_error() -> None:
    rng = np.random.default_rng(3)
    inputs = rng.standard_normal((5, 12))  # fewer tokens than features
    weight = rng.standard_normal((12, 9))
    product = truncated(Whitening(moments_of(inputs)), weight, 5).product()
    np.testing.assert_allclose(inputs @ product, inputs @ weight, atol=1e-3)


def test_features_that_never_fire_are_no_error() -> None:
    weight = np.random.default_rng(4).standard_normal((4, 3))
    factors = truncated(Whitening(SecondMoment(np.zeros((4, 4)), 10)), weight, 2)
    assert np.isfinite(factors.product()).all()


def test_scaling_beats_no_weighting_when_features_differ_in_size() -> None:
    rng = np.random.default_rng(5)
    inputs = rng.standard_normal((200, 10)) * np.logspace(-2, 1, 10)
    weight = rng.standard_normal((10, 10))

    def error(weighting: Weighting) -> float:
        return float(np.linalg.norm(inputs @ (weight - truncated(weighting, weight, 3).product())))

    assert error(Whitening(moments_of(inputs))) <= error(ActivationScale(moments_of(inputs))) * (1 + 1e-6)
    assert error(ActivationScale(moments_of(inputs))) < error(Identity())


def test_full_rank_gives_the_weight_back() -> None:
    rng = np.random.default_rng(6)
    weight = rng.standard_normal((7, 11))
    product = truncated(Whitening(moments_of(rng.standard_normal((40, 7)))), weight, 7).product()
    np.testing.assert_allclose(product, weight, atol=1e-10)


def test_rows_that_are_looked_up_often_keep_more_precision() -> None:
    rng = np.random.default_rng(7)
    table, counts = rng.standard_normal((30, 10)), np.array([1000.0] * 3 + [0.0] * 27)
    product = truncated(Whitening(TokenFrequency(counts)), table, 4).product()
    error = np.linalg.norm(table - product, axis=1)
    assert error[:3].max() < 0.1 * error[3:].min()
