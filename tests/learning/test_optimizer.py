"""The optimizer against torch's, the schedule, clipping."""

import numpy as np
import pytest
import torch

from squeeze_onnx.learning.optimizer import BLOCK, LEAST_SCALE, AdamW, MovingAverage, Schedule, clip


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("size", [20, 2 * BLOCK + 1])
def test_adam_takes_the_steps_of_torch(weight_decay: float, size: int) -> None:
    rng = np.random.default_rng(0)
    start = rng.standard_normal(size).astype(np.float32)
    expected = torch.tensor(start.copy(), requires_grad=True)
    reference = torch.optim.AdamW([expected], lr=0.01, weight_decay=weight_decay)
    found = start.copy()
    optimizer = AdamW(np.zeros_like(start), np.zeros_like(start), ((size, 1.0),), weight_decay=weight_decay)
    for _ in range(10):
        gradient = rng.standard_normal(size).astype(np.float32)
        expected.grad = torch.tensor(gradient.copy())
        reference.step()
        optimizer.update(found, gradient.copy(), 0.01)
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-5, atol=1e-7)


def test_a_step_is_the_same_share_of_every_tensor() -> None:
    rng = np.random.default_rng(1)
    tensors = [rng.standard_normal(30), 1000 * rng.standard_normal((BLOCK, 2)), np.zeros(7)]
    start = np.concatenate([each.ravel() for each in tensors]).astype(np.float32)
    found, optimizer = start.copy(), AdamW.fresh(tensors)
    optimizer.update(found, rng.choice([-3, 5], start.size).astype(np.float32), 0.01)
    steps = np.split(np.abs(found - start), np.cumsum([each.size for each in tensors])[:-1])
    # The first step of Adam is the rate times the sign of the gradient.
    for step, tensor in zip(steps, tensors, strict=True):
        scale = max(np.sqrt(np.mean(tensor**2)), LEAST_SCALE)
        np.testing.assert_allclose(step, 0.01 * scale, rtol=2e-3)


def test_the_average_follows_the_parameters_and_changes_places_with_them() -> None:
    start = np.zeros(2 * BLOCK + 1, np.float32)
    average, parameters = MovingAverage(start, 4), np.full_like(start, 16)
    average.add(parameters)
    average.add(parameters)
    average.swap(parameters)
    assert set(parameters) == {7.0}
    assert set(average.values) == {16.0}
    assert not start.any()


def test_the_average_over_one_step_is_the_parameters() -> None:
    average = MovingAverage(np.zeros(3, np.float32), 1)
    average.add(np.arange(3, dtype=np.float32))
    assert list(average.values) == [0, 1, 2]


def test_the_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    schedule = Schedule(peak=2.0, steps=110, warm_up=10)
    rates = [schedule.rate(step) for step in range(111)]
    assert rates[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert rates[10] == 2.0
    assert rates[60] == pytest.approx(1.0)
    assert rates[110] == pytest.approx(0, abs=1e-12)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_clipping_keeps_the_direction() -> None:
    gradient = np.array([3.0, 4.0], np.float32)
    assert clip(gradient, 10.0) == 5.0
    np.testing.assert_array_equal(gradient, [3, 4])
    assert clip(gradient, 1.0) == 5.0
    np.testing.assert_allclose(gradient, [0.6, 0.8], rtol=1e-6)
