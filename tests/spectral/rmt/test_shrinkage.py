"""Optimal shrinkage: the formulas against the losses they minimise."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from squeeze_onnx.spectral.rmt.shrinkage import SHRINKERS, shrink
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from tests.strategies import aspect_ratios, plant

NORMS: dict[str, Literal["fro", "nuc"] | int] = {"frobenius": "fro", "operator": 2, "nuclear": "nuc"}
every_loss = pytest.mark.parametrize("loss", SHRINKERS)


def observed(x: float, beta: float) -> float:
    """The singular value y to which noise inflates x > β^¼."""
    return float(np.sqrt((x + 1 / x) * (x + beta / x)))


@every_loss
@given(aspect_ratios, st.floats(1.02, 20))
def test_each_shrinker_minimises_its_asymptotic_loss(loss: str, beta: float, excess: float) -> None:
    """In the plane of true and observed singular vectors, at the angles of Benaych-Georges & Nadakuditi (2012)."""
    x = beta**0.25 * excess
    cosines = np.sqrt((x**4 - beta) / np.array([x**4 + beta * x**2, x**4 + x**2]))
    left, right = np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)

    def error(value: float) -> float:
        return float(np.linalg.norm(np.diag([x, 0.0]) - value * np.outer(left, right), NORMS[loss]))

    best = minimize_scalar(error, bounds=(0, 3 * x), method="bounded", options={"xatol": 1e-10})
    shrunk = SHRINKERS[loss](np.array([observed(x, beta)]), beta)[0]
    assert error(shrunk) <= best.fun + 1e-8 * x


@every_loss
@given(aspect_ratios, st.lists(st.floats(0, 50), min_size=1))
def test_what_lies_in_the_bulk_is_noise_and_the_rest_is_shrunk(loss: str, beta: float, values: list[float]) -> None:
    y = np.array(values)
    shrunk = SHRINKERS[loss](y, beta)
    assert np.all(shrunk[y <= 1 + np.sqrt(beta)] == 0)
    assert np.all((shrunk >= 0) & (shrunk <= y))


@given(st.floats(1.001, 100))
def test_operator_shrinkage_of_a_square_matrix_undoes_the_inflation(x: float) -> None:
    assert SHRINKERS["operator"](np.array([observed(x, 1.0)]), 1.0)[0] == pytest.approx(x, rel=1e-6)


@given(st.floats(2.001, 100))
def test_frobenius_shrinkage_of_a_square_matrix_is_the_published_root(y: float) -> None:
    assert SHRINKERS["frobenius"](np.array([y]), 1.0)[0] == pytest.approx(np.sqrt(y**2 - 4))


@given(aspect_ratios, st.floats(1.001, 50))
def test_nuclear_shrinks_more_than_frobenius_and_that_more_than_operator(beta: float, excess: float) -> None:
    y = np.array([(1 + np.sqrt(beta)) * excess])
    nuclear, frobenius, operator = (SHRINKERS[loss](y, beta)[0] for loss in ("nuclear", "frobenius", "operator"))
    assume(frobenius > 1e-6)
    assert nuclear <= frobenius * (1 + 1e-9)
    assert frobenius <= operator * (1 + 1e-9)


@every_loss
def test_shrunk_values_are_in_the_unit_of_the_spectrum(loss: str) -> None:
    planted = plant((80, 160), strengths=(8.0, 4.0), noise_sigma=0.1, seed=2)
    shrunk = shrink(planted.spectrum, planted.noise_sigma, SHRINKERS[loss])
    expected = SHRINKERS[loss](np.array([observed(x, 0.5) for x in (8.0, 4.0)]), 0.5) * np.sqrt(160) * 0.1
    np.testing.assert_allclose(shrunk[:2], expected, rtol=0.05)
    np.testing.assert_array_equal(shrunk[4:], 0)


@every_loss
def test_without_noise_nothing_is_shrunk(loss: str) -> None:
    spectrum = Spectrum(np.array([2.0, 1.0, 0.0]), (3, 4), weighting="identity")
    np.testing.assert_array_equal(shrink(spectrum, 0.0, SHRINKERS[loss]), spectrum.singular_values)


@every_loss
@pytest.mark.parametrize("beta", [0.01, 0.25, 1.0])
def test_at_the_edge_itself_all_is_noise(loss: str, beta: float) -> None:
    assert SHRINKERS[loss](np.array([0.0, 1 + np.sqrt(beta)]), beta).tolist() == [0.0, 0.0]


@every_loss
@given(st.floats(1e-3, 1.0))
def test_strong_signal_is_hardly_shrunk(loss: str, beta: float) -> None:
    y = np.array([1e3, 1e4])
    assert np.all(y - SHRINKERS[loss](y, beta) < 3 * (1 + beta) / np.sqrt(y))
