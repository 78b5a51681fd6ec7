"""Factors are changed to quantize better, never to compute something else."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze_onnx.compress.precision.balance import _candidates, quantizable, refit_right, rounding_error
from squeeze_onnx.compress.precision.rounding import ColumnRounding
from squeeze_onnx.spectral.decompositions import Factors
from squeeze_onnx.spectral.moments import SecondMoment


def case(seed: int, rank: int, spread: float) -> tuple[Factors, SecondMoment]:
    random = np.random.default_rng(seed)
    widths = 10 ** random.uniform(-spread, spread, rank)
    rows = random.standard_normal((200, 12)) @ random.standard_normal((12, 12))
    factors = Factors(random.standard_normal((12, rank)) * widths, random.standard_normal((rank, 9)) / widths[:, None])
    return factors, SecondMoment(rows.T @ rows, len(rows))


cases = st.builds(case, st.integers(0, 1000), st.integers(1, 8), st.floats(0, 3))


@settings(max_examples=30)
@given(cases)
def test_every_candidate_has_the_product_of_the_factors(given_case: tuple[Factors, SecondMoment]) -> None:
    factors, moments = given_case
    for candidate in _candidates(factors, moments):
        np.testing.assert_allclose(
            candidate.product(), factors.product(), rtol=0, atol=1e-9 * np.abs(factors.product()).max()
        )


@settings(max_examples=30)
@given(cases)
def test_rounding_then_loses_no_more_than_refitting_the_factors_as_they_are(
    given_case: tuple[Factors, SecondMoment],
) -> None:
    factors, moments = given_case
    left = ColumnRounding().round(factors.left)
    plain = rounding_error(Factors(left, refit_right(left, factors, moments)), factors, moments)
    assert rounding_error(quantizable(factors, moments), factors, moments) <= plain * (1 + 1e-9)


def test_channels_of_very_different_width_round_far_better_balanced() -> None:
    factors, moments = case(0, 8, 3.0)
    assert rounding_error(quantizable(factors, moments), factors, moments) < 0.1 * rounding_error(
        factors, factors, moments
    )


@settings(max_examples=30)
@given(cases)
def test_the_right_factor_makes_up_for_the_rounded_left_one(given_case: tuple[Factors, SecondMoment]) -> None:
    factors, moments = given_case
    left = ColumnRounding().round(factors.left)
    refitted = refit_right(left, factors, moments)

    def error(right: np.ndarray) -> float:
        return float(np.linalg.norm(moments.weigh(left @ right - factors.product())))

    scale = float(np.linalg.norm(moments.weigh(factors.product())))
    assert error(refitted) <= error(factors.right) + 1e-6 * scale


def test_a_left_factor_that_was_not_rounded_needs_no_other_right_one() -> None:
    factors, moments = case(3, 5, 0.5)
    np.testing.assert_allclose(refit_right(factors.left, factors, moments), factors.right, rtol=1e-4, atol=1e-6)


def test_a_component_that_is_zero_is_no_trouble() -> None:
    factors, moments = case(4, 4, 0.0)
    factors.left[:, 1] = 0
    assert np.isfinite(quantizable(factors, moments).product()).all()
