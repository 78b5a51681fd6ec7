"""Decompositions by name, and what ``auto`` stands for."""

import numpy as np
import pytest

from squeeze_onnx.spectral.decompositions import (
    Automatic,
    DecompositionSettings,
    Exact,
    Randomized,
    SubspaceIteration,
)
from squeeze_onnx.spectral.decompositions.base import Decomposer, Decomposition
from squeeze_onnx.spectral.decompositions.blocks import Matrix
from squeeze_onnx.support.errors import OptionError
from tests.spectral.decompositions.matrices import matrix_of_spectrum, power_law


@pytest.mark.parametrize(
    ("settings", "decomposer"),
    [
        (DecompositionSettings(), Automatic(SubspaceIteration(tolerance=0.01))),
        (DecompositionSettings("exact"), Exact()),
        (DecompositionSettings("rsvd", seed=3), Randomized(seed=3)),
        (DecompositionSettings("rsi", power_iterations=4), SubspaceIteration(4)),
        (DecompositionSettings("rsi", tolerance=0.1, seed=3), SubspaceIteration(tolerance=0.1, seed=3)),
    ],
)
def test_names_stand_for_decomposers(settings: DecompositionSettings, decomposer: Decomposer) -> None:
    assert settings.decomposer() == decomposer


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"name": "qr"}, "`decomposition` is one of auto, exact, rsvd, rsi; got 'qr'"),
        ({"name": "rsi", "power_iterations": 0}, "`power_iterations` is a whole number from 1 on; got 0"),
        ({"name": "rsi", "tolerance": 0.0}, "`tolerance` is a float between 0 and 1"),
        ({"name": "exact", "tolerance": 0.1}, "`tolerance` is of `decomposition` rsi, not of exact"),
        ({"name": "rsi", "power_iterations": 2, "tolerance": 0.1}, "leave out `power_iterations`"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        DecompositionSettings(**settings)  # type: ignore[arg-type]


class Asked:
    """Notes that it was asked."""

    def __init__(self) -> None:
        self.ranks: list[int] = []

    def decompose(self, matrix: Matrix, rank: int) -> Decomposition:
        self.ranks.append(rank)
        return Exact().decompose(np.eye(rank), rank)


@pytest.mark.parametrize(
    ("shape", "rank", "is_rsi"),
    [((1024, 1100), 128, True), ((1024, 1100), 129, False), ((900, 4000), 8, False)],
    ids=["few of many", "too many of them", "a small side"],
)
def test_auto_asks_rsi_for_few_components_of_a_large_matrix(shape: tuple[int, int], rank: int, is_rsi: bool) -> None:
    rsi = Asked()
    matrix = np.zeros(shape)
    matrix[0, 0] = 1.0
    Automatic(rsi).decompose(matrix, rank)
    assert rsi.ranks == ([rank] if is_rsi else [])


@pytest.mark.parametrize("name", ["exact", "rsvd", "rsi"])
def test_the_result_says_what_found_it(name: str) -> None:
    weight = matrix_of_spectrum((60, 90), power_law(60, 0.5))
    found = DecompositionSettings(name).decomposer().decompose(weight, 5)
    assert found.found_by == name
    true_error = np.linalg.norm(weight - found.factors(5).product(), 2)
    assert true_error <= found.spectral_error_bound * (1 + 1e-9)
