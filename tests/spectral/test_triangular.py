"""Products with triangular matrices equal those with whole ones, whatever stands in the other triangle."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from squeeze_onnx.spectral.triangular import lower_times, times_lower, upper_times


@given(size=st.integers(1, 12), width=st.integers(1, 12), fortran=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_equal_products_with_whole_matrices(size: int, width: int, fortran: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    square = np.asarray(random.standard_normal((size, size)), order="F" if fortran else "C")
    tall, wide = random.standard_normal((size, width)), random.standard_normal((width, size))

    np.testing.assert_allclose(upper_times(square, tall), np.triu(square) @ tall, atol=1e-12)
    np.testing.assert_allclose(lower_times(square, tall), np.tril(square) @ tall, atol=1e-12)
    np.testing.assert_allclose(times_lower(wide, square), wide @ np.tril(square), atol=1e-12)


def test_leave_what_they_are_given_as_it_is() -> None:
    square, tall = np.random.default_rng(0).standard_normal((2, 5, 5))
    before = tall.copy()

    upper_times(square, tall)
    lower_times(square, tall)
    times_lower(tall, square)

    np.testing.assert_array_equal(tall, before)
