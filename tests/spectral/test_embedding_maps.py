"""Maps of embeddings to fewer dimensions."""

import numpy as np
import pytest

from squeeze_onnx.spectral.embedding_maps import learned_map, principal_map, random_rotation, sign_rotation, unit


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Return 200 texts of 12 features that are about few things, with a mean."""
    random = np.random.default_rng(0)
    strengths = 2.0 ** -np.arange(12)
    turned = random_rotation(12, 1)
    return np.asarray((random.standard_normal((200, 12)) * strengths + 0.2) @ turned)


def off(found: np.ndarray, rows: np.ndarray) -> float:
    return float(np.square(unit(found) @ unit(found).T - unit(rows) @ unit(rows).T).mean())


def test_a_rotation_by_the_second_moment_keeps_most_of_it_and_all_of_it_uncut(rows: np.ndarray) -> None:
    whole = principal_map(rows, 12, centred=False, normalized=True).apply(rows)
    np.testing.assert_allclose(whole @ whole.T, unit(rows) @ unit(rows).T, atol=1e-12)
    energy = np.square(whole).sum(axis=0)
    assert np.array_equal(energy, np.sort(energy)[::-1])


def test_without_normalizing_distances_are_kept_without_the_mean_too(rows: np.ndarray) -> None:
    found = principal_map(rows, 12, centred=True, normalized=False).apply(rows)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(found[0] - found[1]), np.linalg.norm(rows[0] - rows[1]))


def test_learning_brings_cosines_of_pairs_nearer_and_leaves_dimensions_nested(rows: np.ndarray) -> None:
    start = principal_map(rows, 3, centred=False, normalized=True)
    found = learned_map(start, rows).apply(rows)
    near = unit(rows) @ unit(rows).T > 0.8
    differences = [
        np.square(each @ each.T - unit(rows) @ unit(rows).T)[near].mean() for each in (found, start.apply(rows))
    ]
    assert differences[0] < 0.95 * differences[1]
    assert off(found[:, :2], rows) < off(found[:, 1:], rows)


def test_signs_of_a_learned_rotation_lie_nearer(rows: np.ndarray) -> None:
    centred = principal_map(rows, 8, centred=True, normalized=True).apply(rows)
    learned, by_chance = sign_rotation(centred, 0), random_rotation(8, 0)
    for rotation in (learned, by_chance):
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(8), atol=1e-12)
    lost = [np.square(np.sign(centred @ each) - centred @ each).sum() for each in (learned, by_chance)]
    assert lost[0] < lost[1]
