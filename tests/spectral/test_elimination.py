"""Elimination of neurons against least squares on their outputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze_onnx.spectral import elimination
from squeeze_onnx.spectral.elimination import compensate, eliminate

TOKENS, OUT = 400, 5


def outputs(neurons: int, seed: int = 0) -> np.ndarray:
    """Return what ``neurons`` return, (tokens, neurons): of different strength, and not independent."""
    generator = np.random.default_rng(seed)
    mixed = generator.standard_normal((TOKENS, neurons)) @ (
        np.eye(neurons) + 0.3 * generator.random((neurons, neurons))
    )
    return mixed * generator.uniform(0.1, 2, neurons)


def lost(hidden: np.ndarray, weight: np.ndarray, kept: np.ndarray, after: np.ndarray) -> float:
    """Return the mean squared error of the block's output."""
    return float(np.square(hidden @ weight - hidden[:, kept] @ after).sum() / len(hidden))


@pytest.fixture(autouse=True)
def _no_ridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elimination, "RIDGE", 1e-12)


def test_two_neurons_by_hand() -> None:
    """Uncorrelated, with mean squares 4 and 1 and weights 1 and 3: the first is worth 4, the second 9."""
    found = eliminate(np.diag([4.0, 1.0]), np.array([[1.0], [3.0]]))
    assert found.order.tolist() == [0, 1]
    assert found.sizes.tolist() == [2, 1]
    assert found.errors == pytest.approx([0, 4])


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), neurons=st.integers(2, 30))
def test_errors_are_those_of_the_best_weight_for_the_neurons_that_stay(seed: int, neurons: int) -> None:
    hidden, weight = outputs(neurons, seed), np.random.default_rng(seed).standard_normal((neurons, OUT))
    moment = hidden.T @ hidden / TOKENS
    found = eliminate(moment, weight)
    assert sorted(found.order) == list(range(neurons))
    assert (np.diff(found.sizes) < 0).all()
    assert (np.diff(found.errors) >= 0).all()
    for size, error in zip(found.sizes, found.errors, strict=True):
        kept = found.kept(size)
        best, *_ = np.linalg.lstsq(hidden[:, kept], hidden @ weight)
        after = compensate(moment, weight, kept)
        np.testing.assert_allclose(after, best, atol=1e-6)
        assert lost(hidden, weight, kept, after) == pytest.approx(error, rel=1e-5, abs=1e-8)


def test_a_neuron_that_others_can_stand_in_for_goes_first() -> None:
    hidden = outputs(6)
    hidden[:, 4] = hidden[:, 0] - 2 * hidden[:, 1]
    weight = np.random.default_rng(1).standard_normal((6, OUT))
    found = eliminate(hidden.T @ hidden / TOKENS, weight)
    assert found.order[0] in {0, 1, 4}
    assert found.errors[1] == pytest.approx(0, abs=1e-6)


def test_what_is_kept_does_better_than_the_neurons_of_largest_weight_or_output() -> None:
    hidden, weight = outputs(40), np.random.default_rng(2).standard_normal((40, OUT))
    moment = hidden.T @ hidden / TOKENS
    found = eliminate(moment, weight).kept(12)
    others = [np.argsort(-np.square(weight).sum(axis=1))[:12], np.argsort(-np.diagonal(moment))[:12]]
    error = lost(hidden, weight, found, compensate(moment, weight, found))
    for other in others:
        assert error < lost(hidden, weight, other, compensate(moment, weight, other))


def test_of_many_neurons_a_multiple_of_eight_stays() -> None:
    generator = np.random.default_rng(0)
    sizes = eliminate(np.diag(generator.uniform(1, 2, 603)), generator.standard_normal((603, 2))).sizes
    assert sizes[0] == 603
    assert not (sizes[1:] % 8).any()
    assert sizes[-1] == 8


def test_neurons_that_never_say_anything_cost_nothing() -> None:
    found = eliminate(np.zeros((5, 5)), np.ones((5, 2)))
    assert np.isfinite(found.errors).all()
    assert found.errors[-1] < 1e-12
