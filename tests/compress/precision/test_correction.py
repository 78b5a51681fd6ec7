"""Low-rank corrections of rounding residuals, and one budget for all."""

import numpy as np

from squeeze_onnx.compress.precision.correction import RANK_STEP, Residual, allocate_ranks
from squeeze_onnx.spectral.decompositions import Exact
from squeeze_onnx.spectral.moments import SecondMoment

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((300, 40)) * np.linspace(0.1, 3, 40)
MOMENTS = SecondMoment(ROWS.T @ ROWS, len(ROWS))
WEIGHT = RNG.standard_normal((40, 36))


def residual(size: float) -> Residual:
    return Residual.of(WEIGHT, WEIGHT + size * RNG.standard_normal(WEIGHT.shape), MOMENTS)


def test_gains_are_what_a_correction_takes_off_the_output_error() -> None:
    lost = residual(0.1)
    before = np.square(MOMENTS.weigh(lost.entries)).sum()
    after = np.square(MOMENTS.weigh(lost.entries - lost.factors(RANK_STEP, Exact()).product())).sum()
    np.testing.assert_allclose((before - after) / lost.output_energy, lost.gains()[0], rtol=1e-6)
    assert list(lost.gains()) == sorted(lost.gains(), reverse=True)


def test_bytes_go_where_more_was_lost() -> None:
    residuals = {"much": residual(0.5), "little": residual(0.01)}
    ranks = allocate_ranks(residuals, 250, {"much": 100, "little": 100})
    assert ranks == {"much": 2 * RANK_STEP, "little": 0}


def test_the_budget_is_kept_and_the_whole_rank_is_the_most() -> None:
    costs = {"a": 70, "b": 100}
    for budget in (0, 69, 70, 400, 10_000):
        ranks = allocate_ranks({"a": residual(0.3), "b": residual(0.2)}, budget, costs)
        assert sum(ranks[name] // RANK_STEP * cost for name, cost in costs.items()) <= budget
        assert max(ranks.values()) <= min(WEIGHT.shape)


def test_what_lost_nothing_gets_nothing() -> None:
    assert allocate_ranks({"exact": Residual.of(WEIGHT, WEIGHT, MOMENTS)}, 1000, {"exact": 10}) == {"exact": 0}
