"""Bases of attention heads against brute force on the activations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze_onnx.spectral.head_bases import context_bases, context_errors, score_bases, thin_weight

TOKENS, HEADS, OUT = 300, 3, 7


def rows(features: int, seed: int) -> np.ndarray:
    """Return correlated activations (heads, tokens, features) of different strength."""
    generator = np.random.default_rng(seed)
    mixing = generator.standard_normal((HEADS, features, features)) * generator.uniform(0.1, 2, features)
    mixed: np.ndarray = generator.standard_normal((HEADS, TOKENS, features)) @ mixing
    return mixed


def moment(activations: np.ndarray) -> np.ndarray:
    found: np.ndarray = activations.swapaxes(-1, -2) @ activations / TOKENS
    return found


def side_by_side(activations: np.ndarray) -> np.ndarray:
    """(heads, tokens, width) → (tokens, heads · width)."""
    return activations.swapaxes(0, 1).reshape(len(activations[0]), -1)


def test_two_dimensions_by_hand() -> None:
    """Queries of mean squares 4 and 1, keys of 1 and 9, uncorrelated: their products are worth 4 and 9."""
    found = score_bases(np.diag([4.0, 1.0])[None], np.diag([1.0, 9.0])[None])
    assert found.lost == pytest.approx([1, 4 / 13, 0])
    np.testing.assert_allclose(found.query[0, :, :1] @ found.key[0, :, :1].T, [[0, 0], [0, 1]], atol=1e-7)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), width=st.integers(1, 8))
def test_scores_lose_what_is_said_and_no_truncation_loses_less(seed: int, width: int) -> None:
    queries, keys = rows(width, seed), rows(width, seed + 1)
    found = score_bases(moment(queries), moment(keys))
    scores = queries @ keys.swapaxes(-1, -2)
    for kept in range(width + 1):
        thin = (queries @ found.query[..., :kept]) @ (keys @ found.key[..., :kept]).swapaxes(-1, -2)
        lost = np.square(scores - thin).sum() / np.square(scores).sum()
        best = np.square(np.linalg.svd(scores, compute_uv=False)[:, kept:]).sum() / np.square(scores).sum()
        assert lost == pytest.approx(best, abs=1e-6)
        assert found.lost[kept] == pytest.approx(best, abs=1e-4)


def test_the_spectrum_is_that_of_the_whitened_product_of_the_weights() -> None:
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((TOKENS, 12)) @ generator.standard_normal((12, 12))
    query, key = generator.standard_normal((2, 12, 5))
    root = np.linalg.cholesky(inputs.T @ inputs / TOKENS).T
    energy = np.square(np.linalg.svd(root @ query @ key.T @ root.T, compute_uv=False)[:5])
    found = score_bases(moment((inputs @ query)[None]), moment((inputs @ key)[None]))
    assert found.lost[:5] == pytest.approx(energy[::-1].cumsum()[::-1] / energy.sum(), abs=1e-4)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), width=st.integers(1, 8).filter(lambda width: width <= OUT))
def test_contexts_come_as_close_as_least_squares(seed: int, width: int) -> None:
    contexts, weight = rows(width, seed), np.random.default_rng(seed).standard_normal((HEADS, width, OUT))
    flat, whole = side_by_side(contexts), weight.reshape(-1, OUT)
    bases = context_bases(moment(contexts), weight)
    expected = context_errors(flat.T @ flat / TOKENS, whole, bases)
    errors = [np.square(flat @ whole).sum()]
    for kept in range(1, width + 1):
        thin_rows = side_by_side(contexts @ bases[..., :kept])
        thin = thin_weight(flat.T @ flat / TOKENS, whole, bases[..., :kept])
        best, *_ = np.linalg.lstsq(thin_rows, flat @ whole)
        error = np.square(flat @ whole - thin_rows @ thin).sum()
        assert error == pytest.approx(np.square(flat @ whole - thin_rows @ best).sum(), rel=1e-4, abs=1e-6)
        errors.append(error)
    np.testing.assert_allclose(expected * TOKENS, errors, rtol=1e-4, atol=1e-5 * errors[0])
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == pytest.approx(0, abs=1e-6)


def test_a_head_alone_loses_no_more_than_the_best_projection_of_its_output() -> None:
    contexts, weight = rows(6, 3), np.random.default_rng(4).standard_normal((HEADS, 6, OUT))
    bases = context_bases(moment(contexts), weight)
    for head in range(HEADS):
        output = contexts[head] @ weight[head]
        thin = thin_weight(moment(contexts[head]), weight[head], bases[head : head + 1, :, :2])
        error = np.square(output - contexts[head] @ bases[head, :, :2] @ thin).sum()
        assert error == pytest.approx(np.square(np.linalg.svd(output, compute_uv=False)[2:]).sum(), rel=1e-5)


def test_heads_that_do_nothing_leave_everything_finite() -> None:
    contexts, weight = rows(4, 0), np.ones((HEADS, 4, OUT))
    contexts[1], weight[2] = 0, 0
    seen = side_by_side(contexts)
    moments = moment(contexts)
    found = score_bases(moments, moments)
    bases = context_bases(moments, weight)
    ridged = seen.T @ seen / TOKENS + 0.01 * np.eye(4 * HEADS)
    thin = thin_weight(ridged, weight.reshape(-1, OUT), bases)
    for array in (found.query, found.key, found.lost, bases, thin):
        assert np.isfinite(array).all()
    np.testing.assert_allclose(seen @ weight.reshape(-1, OUT), side_by_side(contexts @ bases) @ thin, atol=1e-3)
    assert np.isfinite(score_bases(np.zeros((1, 2, 2)), np.zeros((1, 2, 2))).query).all()
