from itertools import product

import numpy as np
import pytest

from squeeze_onnx.compress.tokens.choice import (
    GRID,
    STEP_COST,
    LayerWork,
    choose_rates,
    damage_curve,
    possible_rates,
    share_of,
)

WORK = [LayerWork(0, 4, 8), LayerWork(1, 3, 5), LayerWork(2, 4, 8)]
CURVES = {
    0: damage_curve({1: 0.9, 4: 0.5, 8: 0.2}),
    2: damage_curve({1: 0.4, 8: 0.05, 12: 0.0}),
}


def damage_of(rates: dict[int, float]) -> float:
    total, before = 0.0, GRID
    for layer, rate in rates.items():
        total += CURVES[layer][round(rate * GRID)] - CURVES[layer][before]
        before = round(rate * GRID)
    return total


def test_the_share_is_what_weights_multiply_before_and_behind_each_step() -> None:
    assert share_of({}, WORK) == 1
    assert share_of({0: 0.5, 2: 0.25}, WORK) == pytest.approx((4 + 0.5 * (8 + 3 + 5 + 4) + 0.25 * 8) / 32)


def test_damage_is_none_for_all_tokens_and_never_less_for_fewer() -> None:
    curve = damage_curve({2: 0.1, 8: 0.3, 12: 0.05})
    assert curve[GRID] == 0
    assert (np.diff(curve) <= 0).all()
    assert curve[[2, 8, 10, 12]] == pytest.approx([0.2, 0.2, 0.125, 0.05])


@pytest.mark.parametrize("share", [0.95, 0.7, 0.5, 0.3])
def test_the_rates_do_the_least_damage_of_all_that_leave_no_more(share: float) -> None:
    found = choose_rates(share, CURVES, WORK)
    possible = []
    for first, last in product(range(1, GRID + 1), repeat=2):
        rates = {0: first / GRID} if first < GRID else {}
        rates |= {2: last / GRID} if last < first else {}
        if last <= first and share_of(rates, WORK) + len(rates) * STEP_COST <= share - 0.005:
            possible.append(damage_of(rates))
    assert share_of(found, WORK) <= share
    assert damage_of(found) <= min(possible) + 1e-12


def test_what_is_to_be_measured_begins_behind_each_layer_once() -> None:
    found = possible_rates(0.7, CURVES, WORK)
    assert found[0] == choose_rates(0.7, CURVES, WORK)
    assert possible_rates(0.9, CURVES, WORK)[-1] == choose_rates(0.9, {2: CURVES[2]}, WORK)
    assert all(share_of(rates, WORK) <= 0.7 for rates in found)
    assert possible_rates(0.05, CURVES, WORK) == [{0: 1 / GRID}]


def test_where_the_share_cannot_be_had_the_least_stays() -> None:
    assert choose_rates(0.05, CURVES, WORK) == {0: 1 / GRID}
