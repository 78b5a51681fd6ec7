"""Prices of components: who closed first is worth least, what is open is worth more, and a budget cuts by it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from squeeze_onnx.compress.allocators import Candidate
from squeeze_onnx.compress.soco.prices import (
    PriceMap,
    as_seen_by_output_error,
    by_output_error,
    untrained_output_errors,
)
from squeeze_onnx.spectral.rmt.spectrum import Spectrum


def test_components_are_worth_what_a_parameter_cost_when_they_closed() -> None:
    prices = PriceMap(4)
    prices.see(np.array([0.9, 0.4, 0.9, 0.9]), 1.0)
    prices.see(np.array([0.8, 0.0, 0.4, 0.9]), 2.0)
    prices.see(np.array([0.6, 0.0, 0.0, 0.9]), 4.0)
    found = prices.prices(np.array([0.6, 0.0, 0.0, 0.9]), 4.0)
    # Closed at 1 and at 2, and gone; open ones would close where 1 − S, which the price holds in balance, is a half.
    assert found == pytest.approx([4.0 * 0.5 / 0.4, 0.5, 1.0, 4.0 * 0.5 / 0.1])


def test_a_component_that_came_back_counts_as_open() -> None:
    prices = PriceMap(1)
    for scale, price in ((0.4, 1.0), (0.7, 2.0), (0.4, 3.0)):
        prices.see(np.array([scale]), price)
    assert prices.prices(np.array([0.4]), 3.0) == pytest.approx([3.0 * 0.9])


def test_a_price_that_falls_later_changes_nothing() -> None:
    prices = PriceMap(2)
    for scales, price in (([0.2, 0.9], 1.0), ([0.0, 0.2], 2.0), ([0.0, 0.0], 0.5)):
        prices.see(np.array(scales), price)
    assert prices.prices(np.zeros(2), 2.0) == pytest.approx([0.5, 1.0])


def test_what_closed_at_a_higher_price_than_the_last_one_keeps_its_place() -> None:
    prices = PriceMap(3)
    prices.see(np.array([0.0, 0.9, 0.9]), 2.0)
    prices.see(np.array([0.0, 0.0, 0.9]), 4.0)
    assert prices.prices(np.array([0.0, 0.0, 0.9]), 1.0) == pytest.approx([0.25, 0.5, 5.0])


@given(arrays(np.float64, 12, elements=st.floats(0, 2)), st.floats(0.01, 10), st.floats(0.01, 10))
def test_what_is_open_is_worth_more_than_what_is_closed(scales: np.ndarray, before: float, price: float) -> None:
    prices = PriceMap(12)
    prices.see(np.zeros(12), before)
    prices.see(scales, price)
    found, is_open = prices.prices(scales, price), scales > 0.5
    assert np.all(found > 0)
    assert np.all(found[is_open] >= price * (1 - 1e-12))
    assert np.all(found[~is_open] <= price * (1 + 1e-12))


def test_a_budget_sees_output_errors_in_the_place_of_energy() -> None:
    candidate = Candidate("site", Spectrum(np.array([3.0, 2.0, 1.0]), (3, 4)), edge=1.0, floor=0.25)
    output_errors = np.array([0.25, 4.0, 1.0])
    seen = as_seen_by_output_error(candidate, output_errors)
    assert list(by_output_error(output_errors)) == [1, 2, 0]
    assert seen.spectrum.singular_values == pytest.approx([2.0, 1.0, 0.5])
    assert (seen.name, seen.floor, seen.sensitivity) == ("site", 0.25, 5.25)


def test_untrained_scales_say_what_singular_values_say() -> None:
    candidate = Candidate("site", Spectrum(np.array([2.0, 1.0, 0.0]), (3, 4)), edge=1.0, sensitivity=10.0)
    output_errors = untrained_output_errors([candidate])["site"]
    assert output_errors == pytest.approx([8.0, 2.0, 0.0])
    assert output_errors[2] > 0
