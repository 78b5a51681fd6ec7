"""The certificate's numbers: the bound holds whatever became of head and features, and is sharp where it can be."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from squeeze_onnx.evaluate.certificate import (
    BoundedMeasure,
    Certificate,
    ClassProbabilities,
    CosineDistance,
    HeadBound,
    HeadRecord,
    Score,
    Spread,
    bound_deviation,
    notes_on,
)

TEXTS = 5


def heads(
    seed: int, *, features: int = 4, classes: int = 3, scale: float = 1.0, moved: float = 1.0, rounding: float = 0.0
) -> tuple[HeadRecord, HeadRecord]:
    """Return a random head and a perturbed one: features, weight, bias and logits move by ``moved``, or ``rounding``."""
    rng = np.random.default_rng(seed)

    def entries(size: float, *shape: int) -> np.ndarray:
        return size * rng.standard_normal(shape)

    read, weight, bias = entries(scale, TEXTS, features), entries(scale, features, classes), entries(scale, classes)
    records = []
    for size in (0.0, moved):
        h, w, b = (array + entries(size, *array.shape) for array in (read, weight, bias))
        records.append(HeadRecord(h, w, b, h @ w + b + entries(rounding, TEXTS, classes)))
    return records[0], records[1]


perturbed = st.builds(
    heads,
    st.integers(0, 2**32 - 1),
    features=st.integers(1, 6),
    classes=st.integers(2, 5),
    scale=st.floats(1e-3, 10),
    moved=st.floats(0, 3),
    rounding=st.sampled_from([0.0, 1e-6, 0.1]),
)


def worst(dense: HeadRecord, squeezed: HeadRecord, measure: BoundedMeasure) -> float:
    return float(measure.deviation(dense.logits, squeezed.logits).max())


@given(perturbed)
def test_no_class_probability_moves_further_than_its_bound(pair: tuple[HeadRecord, HeadRecord]) -> None:
    bound = bound_deviation(*pair, ClassProbabilities())
    measured = Spread.of(ClassProbabilities().deviation(*(head.logits for head in pair)))
    assert measured.worst <= bound.total.worst * (1 + 1e-9) + 1e-12
    assert measured.mean <= bound.total.mean * (1 + 1e-9) + 1e-12


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.floats(0, 3), st.sampled_from([0.0, 1e-6, 0.1]))
def test_no_score_moves_further_than_its_bound(seed: int, features: int, moved: float, rounding: float) -> None:
    pair = heads(seed, features=features, classes=1, moved=moved, rounding=rounding)
    assert worst(*pair, Score()) <= bound_deviation(*pair, Score()).total.worst * (1 + 1e-9) + 1e-12


@given(perturbed)
def test_a_head_alone_is_bounded_by_its_spectral_error(pair: tuple[HeadRecord, HeadRecord]) -> None:
    """½ ‖h‖ ‖W − Ŵ‖₂ bounds the Euclidean change of the probabilities, if nothing but the weight changed."""
    dense = HeadRecord(pair[0].features, pair[0].weight, pair[0].bias, pair[0].features @ pair[0].weight + pair[0].bias)
    squeezed = HeadRecord(dense.features, pair[1].weight, dense.bias, dense.features @ pair[1].weight + dense.bias)
    change = np.linalg.norm(softmax(dense.logits, axis=1) - softmax(squeezed.logits, axis=1), axis=1)
    known = 0.5 * np.linalg.norm(dense.features, axis=1) * np.linalg.norm(dense.weight - squeezed.weight, 2)
    assert np.all(change <= known * (1 + 1e-9) + 1e-12)
    bound = bound_deviation(dense, squeezed, ClassProbabilities())
    assert bound.from_features.worst == bound.bias_error == 0
    assert bound.from_head.worst <= known.max() * (1 + 1e-9)


def test_the_bound_is_sharp_for_two_classes_that_share_the_probability_evenly() -> None:
    dense = HeadRecord(np.array([[2.0]]), np.array([[1.0, 1.0]]), np.zeros(2), np.array([[2.0, 2.0]]))
    weight = dense.weight + np.array([5e-4, -5e-4])
    squeezed = HeadRecord(dense.features, weight, dense.bias, dense.features @ weight)
    assert worst(dense, squeezed, ClassProbabilities()) == pytest.approx(
        bound_deviation(dense, squeezed, ClassProbabilities()).total.worst, rel=1e-6
    )


def test_what_all_classes_share_is_no_deviation() -> None:
    dense, _ = heads(1)
    shifted = HeadRecord(
        dense.features, dense.weight + 3, dense.bias - 7, dense.features @ (dense.weight + 3) + dense.bias - 7
    )
    bound = bound_deviation(dense, shifted, ClassProbabilities())
    assert bound.total.worst == pytest.approx(0, abs=1e-12)
    assert worst(dense, shifted, ClassProbabilities()) == pytest.approx(0, abs=1e-12)


def test_the_parts_make_the_total() -> None:
    bound = bound_deviation(*heads(2, rounding=0.1), ClassProbabilities())
    parts = (bound.from_features, bound.from_head, bound.from_rounding)
    assert bound.total.mean == pytest.approx(sum(part.mean for part in parts))
    assert bound.from_features.worst == pytest.approx(
        bound.lipschitz * bound.weight_norm * bound.feature_deviation.worst
    )
    assert bound.from_head.worst == pytest.approx(
        bound.lipschitz * (bound.feature_norm.worst * bound.spectral_error + bound.bias_error)
    )


def test_cosine_distance() -> None:
    found = CosineDistance().deviation(
        np.array([[1.0, 0], [1, 0], [1, 0], [0, 0]]), np.array([[3.0, 0], [0, 1], [-1, 0], [1, 1]])
    )
    assert found == pytest.approx([0, 1, 2, 1])


def bound_of(**options: float) -> HeadBound:
    return bound_deviation(*heads(3, **options), ClassProbabilities())  # type: ignore[arg-type]


def test_notes_say_when_the_bound_says_nothing() -> None:
    nothing = "for the worst text the bound says nothing"
    assert any(nothing in note for note in notes_on(bound_of(moved=10.0), ClassProbabilities()))
    assert not any(nothing in note for note in notes_on(bound_of(moved=1e-3), ClassProbabilities()))


def test_notes_say_when_the_head_did_not_change() -> None:
    told = "The head is as it was"
    assert any(told in note for note in notes_on(bound_of(moved=0.0), ClassProbabilities()))
    assert not any(told in note for note in notes_on(bound_of(moved=0.1), ClassProbabilities()))


def test_notes_on_a_score_do_not_speak_of_classes() -> None:
    notes = notes_on(bound_deviation(*heads(4, classes=1, moved=10.0), Score()), Score())
    assert notes and not any("probability" in note for note in notes)


def test_is_plain_json() -> None:
    certificate = Certificate(5, ("loose",), "class probability change", Spread(0.2, 0.1), bound_of())
    document = json.loads(json.dumps(certificate.to_json(), allow_nan=False))
    assert document["bound"] == asdict(bound_of())
    assert (document["texts"], document["notes"], document["measured"]) == (5, ["loose"], {"worst": 0.2, "mean": 0.1})
