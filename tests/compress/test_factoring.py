"""Truncation against plain linear algebra, and the rewrite of what a plan says."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze_onnx.compress.eligibility import choose_eligible
from squeeze_onnx.compress.factoring import Truncating, rewrite_sites
from squeeze_onnx.compress.planning import planned_site
from squeeze_onnx.compress.truncation import truncate, truncate_jointly
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.spectral.decompositions import Exact
from squeeze_onnx.spectral.moments import SecondMoment
from squeeze_onnx.spectral.rmt.spectrum import effective_rank, stable_rank
from squeeze_onnx.spectral.weightings import Identity, Standardization, Weighting, Whitening
from tests.strategies import shapes
from tests.tiny_encoder import encoder_model, weights_of
from tests.tracks import RecordingTrack

IDENTITY, STANDARDIZATION = Identity(), Standardization()


def random_weight(shape: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape) + 0.3


def whitening(features: int, seed: int) -> Whitening:
    inputs = np.random.default_rng(seed).standard_normal((4 * features, features)) * np.arange(1, features + 1)
    return Whitening(SecondMoment(inputs.T @ inputs, len(inputs)))


class TestTruncation:
    @given(shape=shapes(smallest=2, largest=20), seed=st.integers(0, 99), data=st.data())
    def test_by_svd_has_the_least_error_there_is(self, shape: tuple[int, int], seed: int, data: st.DataObject) -> None:
        weight = random_weight(shape, seed)
        rank = data.draw(st.integers(1, min(shape)))
        factors, errors = truncate(weight, rank, IDENTITY, Exact())
        values = np.linalg.svd(weight, compute_uv=False)
        dropped = np.linalg.norm(values[rank:]) / np.linalg.norm(values)
        assert factors.rank == rank
        assert np.linalg.norm(weight - factors.product()) / np.linalg.norm(weight) == pytest.approx(dropped, abs=1e-7)
        assert errors.relative_error == pytest.approx(dropped, abs=1e-7)
        assert errors.weighted_error == pytest.approx(dropped, abs=1e-7)
        assert errors.energy_kept == pytest.approx(1 - dropped**2)
        assert errors.weight_cosine == pytest.approx(np.sqrt(1 - dropped**2))
        assert errors.effective_rank_after == pytest.approx(effective_rank(values[:rank]))
        assert errors.stable_rank_after == pytest.approx(stable_rank(values[:rank]))

    @pytest.mark.parametrize(
        "weighting", [IDENTITY, STANDARDIZATION, whitening(9, seed=1)], ids=["svd", "squeeze", "whiten"]
    )
    def test_at_full_rank_gives_the_weight_back(self, weighting: Weighting) -> None:
        weight = random_weight((9, 14), seed=0)
        factors, errors = truncate(weight, 9 + weighting.apply(weight).extra_rank, weighting, Exact())
        np.testing.assert_allclose(factors.product(), weight, atol=1e-10)
        assert errors.relative_error < 1e-10
        assert errors.weighted_error < 1e-7
        assert errors.energy_kept == pytest.approx(1)

    @pytest.mark.parametrize("weighting", [IDENTITY, STANDARDIZATION, whitening(9, seed=1)])
    @pytest.mark.parametrize("rank", [1, 4])
    def test_of_zeros_is_zeros_and_loses_nothing(self, weighting: Weighting, rank: int) -> None:
        factors, errors = truncate(np.zeros((9, 14)), rank, weighting, Exact())
        assert factors.left.shape == (9, rank)
        np.testing.assert_array_equal(factors.product(), np.zeros((9, 14)))
        assert (errors.weighted_error, errors.relative_error, errors.weight_cosine, errors.energy_kept) == (0, 0, 1, 1)

    def test_of_a_standardized_weight_to_rank_1_leaves_its_mean(self) -> None:
        weight = random_weight((9, 14), seed=2)
        factors, errors = truncate(weight, 1, STANDARDIZATION, Exact())
        np.testing.assert_allclose(factors.product(), np.full((9, 14), weight.mean()))
        assert errors.energy_kept == pytest.approx(0, abs=1e-12)
        assert errors.energy_kept >= 0
        assert errors.weighted_error == pytest.approx(1)
        assert (errors.effective_rank_after, errors.stable_rank_after) == (0, 0)

    def test_of_whitened_outputs_has_the_weighted_error_it_tells(self) -> None:
        weight, inputs = random_weight((9, 14), seed=3), np.random.default_rng(4).standard_normal((50, 9))
        weighting = Whitening(SecondMoment(inputs.T @ inputs, len(inputs)))
        factors, errors = truncate(weight, 3, weighting, Exact())
        outputs = inputs @ weight
        lost = np.linalg.norm(outputs - inputs @ factors.product()) / np.linalg.norm(outputs)
        assert errors.weighted_error == pytest.approx(lost, rel=1e-4)
        plain, _ = truncate(weight, 3, IDENTITY, Exact())
        assert lost < np.linalg.norm(outputs - inputs @ plain.product()) / np.linalg.norm(outputs)


class TestJointTruncation:
    WEIGHTS = tuple(random_weight((9, columns), seed) for seed, columns in enumerate((7, 7, 4)))

    def output_error(self, products: Sequence[np.ndarray], by: Sequence[float], weighting: Whitening) -> float:
        """Sum sensitivity times relative squared error of the outputs."""
        return sum(
            sensitivity * _energy(weighting, weight - product) / _energy(weighting, weight)
            for sensitivity, weight, product in zip(by, self.WEIGHTS, products, strict=True)
        )

    @given(seed=st.integers(0, 99), by=st.tuples(*[st.floats(0.01, 100)] * 3), rank=st.integers(1, 8))
    def test_loses_less_of_the_outputs_together_than_other_factors(
        self, seed: int, by: tuple[float, ...], rank: int
    ) -> None:
        weighting = whitening(9, seed=1)
        factors, errors = truncate_jointly(self.WEIGHTS, rank, weighting, by, Exact())
        left = factors[0].left
        assert all(each.left is left for each in factors)
        assert left.shape == (9, rank)
        best = self.output_error([each.product() for each in factors], by, weighting)
        told = sum(each.weighted_error**2 * sensitivity for each, sensitivity in zip(errors, by, strict=True))
        assert told == pytest.approx(best, rel=1e-6)
        generator = np.random.default_rng(seed)
        moved = left * (1 + 0.01 * generator.standard_normal(left.shape))
        rights = [each.right * (1 + 0.01 * generator.standard_normal(each.right.shape)) for each in factors]
        assert best < self.output_error([moved @ right for right in rights], by, weighting)

    @pytest.mark.parametrize("by", [(1, 1, 1), (0, 0, 0), (0, 1, 3)], ids=["alike", "none matters", "one does not"])
    @pytest.mark.parametrize("weighting", [IDENTITY, STANDARDIZATION, whitening(9, seed=1)])
    def test_at_full_rank_gives_all_weights_back(self, by: tuple[float, ...], weighting: Weighting) -> None:
        rank = 9 + weighting.apply(self.WEIGHTS[0]).extra_rank
        factors, errors = truncate_jointly(self.WEIGHTS, rank, weighting, by, Exact())
        for weight, each, lost in zip(self.WEIGHTS, factors, errors, strict=True):
            np.testing.assert_allclose(each.product(), weight, atol=1e-6)
            assert lost.relative_error < 1e-6

    def test_follows_the_weight_that_matters(self) -> None:
        _, errors = truncate_jointly(self.WEIGHTS, 4, IDENTITY, (1e-6, 1e-6, 1), Exact())
        assert errors[2].relative_error < 1e-3
        assert errors[0].relative_error > 0.3

    def test_of_zeros_is_zeros_and_loses_nothing(self) -> None:
        weights = [self.WEIGHTS[0], np.zeros((9, 5))]
        factors, errors = truncate_jointly(weights, 3, whitening(9, seed=1), (1, 1), Exact())
        np.testing.assert_allclose(factors[1].product(), 0, atol=1e-12)
        assert (errors[1].weighted_error, errors[1].energy_kept) == (0, 1)


def _energy(weighting: Whitening, matrix: np.ndarray) -> float:
    return float(np.square(weighting.apply(matrix).matrix).sum())


class TestRewrite:
    def test_does_to_each_site_what_the_plan_says_and_leaves_the_others(self) -> None:
        before = weights_of(encoder_model())
        model = ir.from_proto(encoder_model())
        query, key, value, *others = choose_eligible(find_sites(model).sites).sites
        fates = [planned_site(query, 4, ""), planned_site(key, 20, ""), planned_site(value, None, "")]
        track = RecordingTrack()
        errors = rewrite_sites(model, [query, key, value], fates, Truncating(lambda _: IDENTITY, Exact(), track=track))
        after = weights_of(ir.to_proto(model))
        assert list(errors) == ["layer.0/query", "layer.0/key"]
        assert track.taken == {"Rewriting": 2}
        assert after["layer.0/query/left"].shape == (32, 4)
        assert np.linalg.matrix_rank(after["layer.0/key/weight"], tol=1e-4) == 20
        untouched = ["layer.0/value.weight", *(site.weight.name for site in others)]
        for name in untouched:
            np.testing.assert_array_equal(after[name], before[name])
