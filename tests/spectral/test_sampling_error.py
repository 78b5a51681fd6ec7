"""By how much more a truncation loses on rows that it was not fitted to."""

import numpy as np
import pytest

from squeeze_onnx.spectral.moments import SecondMoment
from squeeze_onnx.spectral.sampling_error import excess_error

INPUTS, OUTPUTS, RANK = 24, 20, 8


def moment(rows: np.ndarray) -> SecondMoment:
    return SecondMoment(rows.T @ rows, len(rows))


def weight() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((INPUTS, OUTPUTS))


def test_it_is_what_two_factors_lose_on_other_rows() -> None:
    rng = np.random.default_rng(1)
    read, fresh = (rng.standard_normal((60, INPUTS)) for _ in range(2))
    _, _, right = np.linalg.svd(read @ weight(), full_matrices=False)
    left_out = weight() @ (np.eye(OUTPUTS) - right[:RANK].T @ right[:RANK])
    lost = [np.square(rows @ left_out).mean() for rows in (read, fresh)]
    assert excess_error(weight(), moment(read), moment(fresh), RANK) == pytest.approx(lost[1] / lost[0] - 1, rel=1e-9)


def test_the_rows_that_were_read_lose_no_more() -> None:
    rows = moment(np.random.default_rng(1).standard_normal((60, INPUTS)))
    assert excess_error(weight(), rows, rows, RANK) == pytest.approx(0, abs=1e-12)


def test_twice_the_rows_halve_it() -> None:
    def mean_excess(count: int) -> float:
        rng = np.random.default_rng(2)
        drawn = [moment(rng.standard_normal((count, INPUTS))) for _ in range(80)]
        return float(
            np.mean([excess_error(weight(), *pair, rank=RANK) for pair in zip(drawn[::2], drawn[1::2], strict=True)])
        )

    assert mean_excess(400) == pytest.approx(mean_excess(200) / 2, rel=0.2)


def test_nothing_lost_is_no_number() -> None:
    rows = moment(np.random.default_rng(1).standard_normal((60, INPUTS)))
    assert np.isnan(excess_error(weight(), rows, rows, OUTPUTS))
