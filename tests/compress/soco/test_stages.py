"""The switches between stages, on made-up histories."""

import pytest

from squeeze_onnx.compress.soco.stages import SWING, Alternation, Compression, Sight, Sparsification


def test_compression_raises_the_price_until_the_budget_is_met() -> None:
    stage, prices = Compression(keep=0.5, price=0.1, growth=2.0), []
    for size in (1.0, 0.8, 0.6, 0.505):
        assert not stage.is_over
        stage.see(Sight(size, 0, 0.0))
        prices.append(stage.price)
    assert stage.is_over
    assert prices == pytest.approx([0.2, 0.4, 0.8, 0.8])


def test_alternation_charges_above_the_budget_only_and_slows_down_at_every_crossing() -> None:
    stage, seen = Alternation(keep=0.5, full_price=1.0, growth=1.0), []
    for size in (0.6, 0.45, 0.47, 0.53, 0.48):
        stage.see(Sight(size, 0, 0.0))
        seen.append((stage.price, stage.pace))
    assert seen == [(1.0, 1.0), (0.0, 0.5), (0.0, 0.5), (1.0, 0.25), (0.0, 0.125)]
    assert not stage.is_over


def test_alternation_is_over_once_its_swing_has_died_down() -> None:
    swinging, still = (Alternation(keep=0.5, full_price=1.0, growth=1.0) for _ in range(2))
    for step in range(5 * SWING):
        swinging.see(Sight(0.45 if step % (SWING - 1) == 0 else 0.5, 0, 0.0))
    assert not swinging.is_over
    for step in range(SWING):
        assert not still.is_over
        still.see(Sight(0.495 + 0.01 * (step % 2), 0, 0.0))
    assert still.is_over


def test_alternation_that_never_crosses_the_budget_goes_on_at_a_rising_price() -> None:
    stage = Alternation(keep=0.5, full_price=1.0, growth=1.1)
    for _ in range(5 * SWING):
        stage.see(Sight(0.505, 0, 0.0))
    assert not stage.is_over
    assert stage.price > 2


def test_sparsification_raises_the_price_while_something_to_be_pruned_is_left() -> None:
    stage = Sparsification(price=1.0, growth=2.0, window=2)
    for pending in (5, 3, 0, 0):
        stage.see(Sight(0.6, pending, 1.0))
    assert stage.price == 4.0
    assert not stage.is_over


def test_sparsification_slows_down_on_every_plateau_and_ends_after_some() -> None:
    stage, paces = Sparsification(price=1.0, growth=2.0, window=2), []
    for loss in (1.0, 0.8, 0.8, 0.6, 0.6, 0.6):
        paces.append(stage.pace)
        for _ in range(2):
            assert not stage.is_over
            stage.see(Sight(0.5, 0, loss))
    assert paces == [1.0, 0.5, 0.5, 0.25, 0.25, 0.125]
    assert stage.is_over
