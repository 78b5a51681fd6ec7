"""Products in float32 against the same in float64, on rows that are hard on them too."""

import numpy as np
import pytest

from squeeze_onnx.spectral.tall_products import BLOCK_TOKENS, CrossBlocks, GramBlocks

FEATURES = 48
OUTLIERS = slice(0, 3)


def rows(seed: int, *, outlier: float = 1.0, scale: float = 1.0) -> np.ndarray:
    """Correlated float32 activations with a mean; some features ``outlier`` times as large as the others."""
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((3 * BLOCK_TOKENS, FEATURES)) @ generator.standard_normal((FEATURES, FEATURES))
    values += generator.standard_normal(FEATURES)
    values[:, OUTLIERS] *= outlier
    single: np.ndarray = (scale * values).astype(np.float32)
    return single


def blocks(values: np.ndarray) -> list[np.ndarray]:
    return np.array_split(values, 3)


def norms(values: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.linalg.norm(values.astype(np.float64), axis=0)
    return found


@pytest.mark.parametrize("outlier", [1.0, 1e3, 1e6])
@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25])
def test_every_entry_is_within_rounding_of_the_norms_of_its_columns(outlier: float, scale: float) -> None:
    left, right = rows(0, outlier=outlier, scale=scale), rows(1, outlier=outlier)
    gram, cross = GramBlocks(FEATURES), CrossBlocks(FEATURES, FEATURES)
    for part, other in zip(blocks(left), blocks(right), strict=True):
        gram.add(part)
        cross.add(part, other)
    exact, others = left.astype(np.float64), right.astype(np.float64)
    assert np.abs((gram.gram() - exact.T @ exact) / np.outer(norms(left), norms(left))).max() < 1e-6
    assert np.abs((cross.cross - exact.T @ others) / np.outer(norms(left), norms(right))).max() < 1e-6
    np.testing.assert_allclose(gram.total, exact.sum(axis=0))
    np.testing.assert_allclose(cross.total, others.sum(axis=0))


@pytest.mark.parametrize("outlier", [1.0, 1e3])
def test_sums_in_float32_are_as_near_and_take_half_the_memory(outlier: float) -> None:
    values = rows(0, outlier=outlier)
    gram = GramBlocks(FEATURES, np.float32)
    for part in blocks(values):
        gram.add(part)
    gram.add(values[:7].astype(np.float64))
    exact = np.concatenate([values, values[:7]]).astype(np.float64)
    assert gram.gram().dtype == np.float32
    assert np.abs((gram.gram() - exact.T @ exact) / np.outer(norms(exact), norms(exact))).max() < 1e-6
    np.testing.assert_array_equal(gram.gram(), gram.gram().T)


def test_float64_rows_are_multiplied_in_float64() -> None:
    values = rows(0, outlier=1e3).astype(np.float64)
    gram = GramBlocks(FEATURES)
    gram.add(values)
    np.testing.assert_allclose(gram.gram(), values.T @ values, rtol=1e-12, atol=1e-9)
    np.testing.assert_array_equal(gram.gram(), gram.gram().T)


def test_what_is_no_number_stays_none() -> None:
    values = rows(0)
    values[5, 7] = np.nan
    gram = GramBlocks(FEATURES)
    gram.add(values)
    assert np.isnan(gram.gram()[7]).all()
