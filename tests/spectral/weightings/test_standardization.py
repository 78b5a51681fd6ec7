"""Standardization: entries of mean 0 and variance 1, undone exactly by the factors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze_onnx.spectral.decompositions import Exact
from squeeze_onnx.spectral.weightings import Standardization


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(2, 20),
    columns=st.integers(2, 20),
    mean=st.floats(-100, 100),
    scale=st.floats(1e-3, 1e3),
)
def test_full_rank_factors_give_the_weight_back(seed: int, rows: int, columns: int, mean: float, scale: float) -> None:
    weight = mean + scale * np.random.default_rng(seed).standard_normal((rows, columns))
    standardized = Standardization().apply(weight)
    rank = min(rows, columns)
    factors = standardized.factors(Exact().decompose(standardized.matrix, rank), rank)
    np.testing.assert_allclose(factors.product(), weight, atol=1e-11 * (abs(mean) + scale))


def test_entries_have_mean_zero_and_variance_one() -> None:
    weight = np.random.default_rng(0).normal(3.0, 0.02, (40, 30))
    matrix = Standardization().apply(weight).matrix
    assert matrix.mean() == pytest.approx(0, abs=1e-12)
    assert matrix.var() == pytest.approx(1)


@pytest.mark.parametrize("value", [0.0, 0.1, -2.5])
def test_a_constant_weight_is_its_mean_alone(value: float) -> None:
    standardized = Standardization().apply(np.full((6, 4), value))
    assert not standardized.matrix.any()
    factors = standardized.factors(Exact().decompose(standardized.matrix, 1), 0)
    assert factors.rank == 1
    np.testing.assert_allclose(factors.product(), value, rtol=1e-15)


def test_the_mean_is_one_more_component() -> None:
    weight = np.random.default_rng(1).normal(0.5, 1.0, (8, 5))
    standardized = Standardization().apply(weight)
    factors = standardized.factors(Exact().decompose(standardized.matrix, 2), 2)
    assert factors.rank == 2 + standardized.extra_rank
    assert factors.product().mean() != pytest.approx(0, abs=1e-3)


def test_the_input_is_left_as_it_was() -> None:
    weight = np.random.default_rng(2).standard_normal((5, 5))
    before = weight.copy()
    Standardization().apply(weight)
    np.testing.assert_array_equal(weight, before)
