"""The optimizer against torch's, the schedule, clipping."""

import numpy as np
import pytest
import torch

from squeeze_onnx.learning.optimizer import BLOCK, AdamW, Schedule, clip


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("size", [20, 2 * BLOCK + 1])
def test_adam_takes_the_steps_of_torch(weight_decay: float, size: int) -> None:
    rng = np.random.default_rng(0)
    start = rng.standard_normal(size).astype(np.float32)
    expected = torch.tensor(start.copy(), requires_grad=True)
    reference = torch.optim.AdamW([expected], lr=0.01, weight_decay=weight_decay)
    found, optimizer = start.copy(), AdamW.fresh(size, weight_decay=weight_decay)
    for _ in range(10):
        gradient = rng.standard_normal(size).astype(np.float32)
        expected.grad = torch.tensor(gradient.copy())
        reference.step()
        optimizer.update(found, gradient.copy(), 0.01)
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-5, atol=1e-7)


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
