import numpy as np
import pytest
import scipy.stats

from squeeze_onnx.evaluate.bootstrap import (
    Interval,
    bootstrap_interval,
    drop_interval,
    mean_speedup_interval,
    speedup_interval,
)
from squeeze_onnx.evaluate.metrics import METRICS


def test_equal_predictions_drop_by_exactly_nothing() -> None:
    rng = np.random.default_rng(1)
    truth, predicted = rng.integers(0, 2, size=(2, 300))
    assert drop_interval(METRICS["accuracy"], truth, predicted, predicted, seed=0) == Interval(0.0, 0.0)


def test_the_drop_is_in_points_and_positive_if_the_candidate_is_worse() -> None:
    truth = np.zeros(400, dtype=np.int64)
    worse = np.where(np.arange(400) < 80, 1, 0)
    interval = drop_interval(METRICS["accuracy"], truth, truth, worse, seed=0)
    assert 10 < interval.low < 20 < interval.high < 30


def test_an_accuracy_interval_is_that_of_the_binomial_distribution() -> None:
    truth = np.zeros(1000, dtype=np.int64)
    worse = np.where(np.arange(1000) < 100, 1, 0)
    interval = drop_interval(METRICS["accuracy"], truth, truth, worse, seed=3, resamples=4000)
    expected = 100 * scipy.stats.binom(1000, 0.1).ppf([0.025, 0.975]) / 1000
    np.testing.assert_allclose([interval.low, interval.high], expected, atol=0.2)


def test_the_interval_covers_the_true_drop_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    rows, true_drop = 200, 5.0
    covered = 0
    for seed in range(200):
        draw = rng.random(rows)
        # The baseline is right on 85 % of the rows, the candidate on 80 % of all, and wrong wherever the baseline is.
        baseline, candidate = (draw > 0.15).astype(int), (draw > 0.20).astype(int)
        interval = drop_interval(METRICS["accuracy"], np.ones(rows, int), baseline, candidate, seed=seed, resamples=200)
        covered += interval.low <= true_drop <= interval.high
    # 200 trials tell 0.95 from 0.90 and 0.99; percentile intervals of a rare event run a little short.
    assert 0.90 <= covered / 200 <= 0.99


def test_pairing_makes_the_interval_narrower_than_two_separate_samples_would() -> None:
    rng = np.random.default_rng(2)
    truth = rng.standard_normal(300)
    baseline = truth + rng.standard_normal(300)
    candidate = baseline + 0.1 * rng.standard_normal(300)
    paired = drop_interval(METRICS["spearman"], truth, baseline, candidate, seed=0)
    alone = bootstrap_interval(
        lambda drawn: 100 * METRICS["spearman"](truth[drawn], baseline[drawn]), 300, seed=0, resamples=1000, level=0.95
    )
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)


def test_the_seed_decides() -> None:
    rng = np.random.default_rng(4)
    truth, baseline, candidate = rng.standard_normal((3, 100))
    first, again, other = (
        drop_interval(METRICS["spearman"], truth, baseline, candidate, seed=seed) for seed in (5, 5, 6)
    )
    assert first == again != other


def test_chunks_do_not_change_how_many_resamples_there_are() -> None:
    seen: list[int] = []

    def count(drawn: np.ndarray) -> np.ndarray:
        seen.append(len(drawn))
        return np.zeros(len(drawn))

    bootstrap_interval(count, 3_000_000, seed=0, resamples=3, level=0.9)
    assert seen == [1, 1, 1]


def test_a_speedup_is_the_ratio_of_medians_and_holds_the_true_one() -> None:
    rng = np.random.default_rng(0)
    noise = rng.gamma(2.0, 0.1, size=(2, 40, 3))
    interval = speedup_interval(4 + noise[0], 2 + noise[1], seed=0)
    assert interval.low < 2.0 < interval.high + 0.1
    assert interval.high - interval.low < 0.2


def test_identical_latencies_are_a_speedup_of_one() -> None:
    times = np.full((5, 2), 3.0)
    assert speedup_interval(times, times, seed=0) == Interval(1.0, 1.0)


def test_the_mean_speedup_over_shapes_is_geometric() -> None:
    times = np.full((5, 2), 3.0)
    interval = mean_speedup_interval([(8 * times, times), (times, 2 * times)], seed=0)
    assert (interval.low, interval.high) == pytest.approx((2.0, 2.0))
