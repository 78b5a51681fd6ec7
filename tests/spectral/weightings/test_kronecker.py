"""Kronecker: the error that counts is that of the answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze_onnx.spectral.decompositions import Exact, Factors
from squeeze_onnx.spectral.fisher_moments import SHRINKAGE, OutputFisher
from squeeze_onnx.spectral.moments import SecondMoment
from squeeze_onnx.spectral.weightings import Kronecker, Weighting, Whitening


def truncated(weighting: Weighting, weight: np.ndarray, rank: int) -> Factors:
    weighted = weighting.apply(weight)
    return weighted.factors(Exact().decompose(weighted.matrix, rank), rank)


def moments_of(inputs: np.ndarray) -> SecondMoment:
    return SecondMoment(inputs.T @ inputs, len(inputs))


def fisher_of(gradients: np.ndarray) -> OutputFisher:
    return OutputFisher(gradients.T @ gradients, len(gradients))


def shrunk(gradients: np.ndarray) -> np.ndarray:
    fisher = gradients.T @ gradients / len(gradients)
    level = SHRINKAGE * np.trace(fisher) / len(fisher)
    return np.asarray((1 - SHRINKAGE) * fisher + level * np.eye(len(fisher)))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rank=st.integers(1, 5))
def test_gives_the_least_error_of_any_rank_r_matrix_in_both_metrics(seed: int, rank: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((50, 8)) @ rng.standard_normal((8, 8))
    gradients = rng.standard_normal((40, 6)) @ rng.standard_normal((6, 6))
    weight = rng.standard_normal((8, 6))
    root = np.linalg.cholesky(shrunk(gradients))
    product = truncated(Kronecker(moments_of(inputs), fisher_of(gradients)), weight, rank).product()
    optimum = np.linalg.norm(np.linalg.svd(inputs @ weight @ root, compute_uv=False)[rank:])
    assert np.linalg.norm(inputs @ (weight - product) @ root) == pytest.approx(optimum, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("sizes", [(7, 11), (11, 7)], ids=str)
def test_full_rank_gives_the_weight_back(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    weight = rng.standard_normal(sizes)
    weighting = Kronecker(
        moments_of(rng.standard_normal((40, sizes[0]))), fisher_of(rng.standard_normal((40, sizes[1])))
    )
    np.testing.assert_allclose(truncated(weighting, weight, 7).product(), weight, atol=1e-9)


def test_outputs_that_matter_little_lose_more() -> None:
    rng = np.random.default_rng(2)
    moments, weight = moments_of(rng.standard_normal((99, 12))), rng.standard_normal((12, 12))
    gradients = rng.standard_normal((99, 12)) * np.array([10.0] * 4 + [0.1] * 8)

    def errors(weighting: Weighting) -> np.ndarray:
        return np.asarray(np.linalg.norm(weight - truncated(weighting, weight, 6).product(), axis=0))

    weighted, whitened = errors(Kronecker(moments, fisher_of(gradients))), errors(Whitening(moments))
    assert weighted[:4].max() < 0.5 * whitened[:4].min()
    assert weighted[4:].mean() > whitened[4:].mean()


@pytest.mark.parametrize(("rows", "gradients"), [(3, 40), (40, 1), (3, 1)], ids=str)
def test_singular_moments_are_no_error(rows: int, gradients: int) -> None:
    rng = np.random.default_rng(3)
    inputs, weight = rng.standard_normal((rows, 12)), rng.standard_normal((12, 9))
    fisher = fisher_of(rng.standard_normal((gradients, 9)))
    product = truncated(Kronecker(moments_of(inputs), fisher), weight, 9).product()
    np.testing.assert_allclose(inputs @ product, inputs @ weight, atol=1e-2)


def test_an_answer_without_gradient_is_no_error() -> None:
    weight = np.random.default_rng(4).standard_normal((5, 4))
    weighting = Kronecker(moments_of(np.eye(5)), OutputFisher(np.zeros((4, 4)), 10))
    assert np.isfinite(truncated(weighting, weight, 2).product()).all()


def test_a_weight_of_low_rank_comes_back_whole() -> None:
    rng = np.random.default_rng(5)
    weight = rng.standard_normal((8, 2)) @ rng.standard_normal((2, 6))
    weighting = Kronecker(moments_of(rng.standard_normal((50, 8))), fisher_of(rng.standard_normal((50, 6))))
    np.testing.assert_allclose(truncated(weighting, weight, 4).product(), weight, atol=1e-6)
