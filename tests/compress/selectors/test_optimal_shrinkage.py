"""Optimal shrinkage as a selector: what the shrinkers leave above zero."""

import numpy as np
import pytest

from squeeze_onnx.compress.selectors import OptimalShrinkage
from squeeze_onnx.spectral.rmt.noise import KnownNoise
from squeeze_onnx.spectral.rmt.shrinkage import SHRINKERS
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.support.errors import OptionError
from tests.strategies import plant

AROUND_THE_EDGE = Spectrum(np.array([40.0, 21.5, 20.1, 19.9, 1.0]), (5, 100), weighting="identity")
UNIT = 20.0 / (10 * (1 + np.sqrt(0.05)))  # the σ that puts the edge √n·σ·(1 + √β) at 20


@pytest.mark.parametrize(("loss", "rank"), [("frobenius", 3), ("operator", 3), ("nuclear", 2)])
def test_the_edge_is_the_cut_but_for_the_nuclear_norm(loss: str, rank: int) -> None:
    assert OptimalShrinkage(loss, KnownNoise(UNIT)).select(AROUND_THE_EDGE).rank == rank


@pytest.mark.parametrize("loss", SHRINKERS)
def test_planted_signal_is_found(loss: str) -> None:
    planted = plant((90, 120), strengths=(9.0, 6.0, 4.0), noise_sigma=0.01, seed=1)
    assert OptimalShrinkage(loss).select(planted.spectrum).rank == 3


@pytest.mark.parametrize("loss", SHRINKERS)
def test_a_matrix_of_zeros_has_rank_0(loss: str) -> None:
    assert OptimalShrinkage(loss).select(Spectrum(np.zeros(4), (4, 6), weighting="identity")).rank == 0


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(OptionError, match=r"must be one of frobenius, operator, nuclear\. Got 'spectral'"):
        OptimalShrinkage("spectral")


def test_the_choice_says_what_it_did() -> None:
    choice = OptimalShrinkage("frobenius", KnownNoise(UNIT)).select(AROUND_THE_EDGE)
    assert (choice.threshold, choice.selector) == (19.9, "shrinkage")
    assert choice.reason == (
        "3 of 5 singular values stay positive under optimal frobenius shrinkage of noise with σ = 1.635"
    )
