"""TFWSVD: entries by their Fisher information."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze_onnx.spectral.decompositions import Exact, Factors
from squeeze_onnx.spectral.fisher_moments import ElementFisher
from squeeze_onnx.spectral.weightings import ElementWise
from squeeze_onnx.spectral.weightings.element_wise import refine


def truncated(importance: np.ndarray, weight: np.ndarray, rank: int) -> Factors:
    weighted = ElementWise(ElementFisher(importance)).apply(weight)
    return weighted.factors(Exact().decompose(weighted.matrix, rank), rank)


def error(importance: np.ndarray, weight: np.ndarray, product: np.ndarray) -> float:
    return float((importance * (weight - product) ** 2).sum())


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(2, 12), st.integers(2, 12)),
    spread=st.floats(0, 8),
    data=st.data(),
)
def test_no_turn_raises_the_error(seed: int, shape: tuple[int, int], spread: float, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    rank = data.draw(st.integers(1, min(shape)))
    weight, importance = rng.standard_normal(shape), np.exp(spread * rng.standard_normal(shape))
    start = Factors(rng.standard_normal((shape[0], rank)), rng.standard_normal((rank, shape[1])))
    factors, errors = refine(weight, importance, start)
    rounding = 1e-9 * error(importance, weight, np.zeros(shape))
    assert all(after <= before + rounding for before, after in pairwise(errors))
    assert error(importance, weight, factors.product()) == pytest.approx(errors[-1], rel=1e-6, abs=rounding)


def test_beats_the_best_rank_one_weights() -> None:
    rng = np.random.default_rng(0)
    weight, importance = rng.standard_normal((30, 20)), np.exp(2 * rng.standard_normal((30, 20)))
    rows, columns = np.sqrt(importance.sum(axis=1)), np.sqrt(importance.sum(axis=0))
    scaled = Exact().decompose(rows[:, None] * weight * columns, 6).factors(6).product() / rows[:, None] / columns
    found = truncated(importance, weight, 6)
    assert found.rank == 6
    assert error(importance, weight, found.product()) < 0.7 * error(importance, weight, scaled)


def test_importance_of_rank_one_needs_no_turn() -> None:
    rng = np.random.default_rng(1)
    rows, columns, weight = rng.uniform(0.5, 2, 9), rng.uniform(0.5, 2, 7), rng.standard_normal((9, 7))
    scale = np.sqrt(np.outer(rows, columns))
    optimum = np.linalg.norm(np.linalg.svd(scale * weight, compute_uv=False)[3:]) ** 2
    found = truncated(np.outer(rows, columns), weight, 3).product()
    assert error(np.outer(rows, columns), weight, found) == pytest.approx(optimum, rel=1e-4)


@pytest.mark.parametrize("importance", [np.zeros((6, 5)), np.diag(np.ones(6))[:, :5]], ids=["none", "diagonal"])
def test_entries_of_no_importance_are_no_error(importance: np.ndarray) -> None:
    weight = np.random.default_rng(2).standard_normal((6, 5))
    assert np.isfinite(truncated(importance, weight, 2).product()).all()


def test_full_rank_gives_the_weight_back() -> None:
    rng = np.random.default_rng(3)
    weight, importance = rng.standard_normal((6, 5)), rng.uniform(0.1, 3, (6, 5))
    np.testing.assert_allclose(truncated(importance, weight, 5).product(), weight, atol=1e-6)
