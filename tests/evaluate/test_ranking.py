"""Ranking of documents, as trec_eval measures it."""

import numpy as np
import pytest
import pytrec_eval

from squeeze_onnx.data.readers import Documents, LabelledRows
from squeeze_onnx.data.tasks import VALIDATION
from squeeze_onnx.evaluate.asking.ranking import measured, ranked

DOCUMENTS = tuple(f"d{number}" for number in np.random.default_rng(0).permutation(150))
QUERIES = 12


@pytest.fixture(scope="module")
def scores() -> np.ndarray:
    """Return scores with ties."""
    return np.round(np.random.default_rng(1).standard_normal((QUERIES, len(DOCUMENTS))), 1)


@pytest.fixture(scope="module")
def judged() -> list[dict[int, int]]:
    """Return grades from −1 to 3 of a few documents each; the first query has none that answers it."""
    rng = np.random.default_rng(2)
    drawn = [rng.choice(len(DOCUMENTS), 20, replace=False) for _ in range(QUERIES)]
    grades = [rng.integers(-1, 4, 20) * (number > 0) for number in range(QUERIES)]
    return [dict(zip(map(int, row), map(int, grade), strict=True)) for row, grade in zip(drawn, grades, strict=True)]


def rows(names: tuple[str, ...]) -> LabelledRows:
    texts = tuple((name,) for name in names)
    return LabelledRows(VALIDATION, texts, np.zeros(len(names)), names, Documents(DOCUMENTS, DOCUMENTS))


def test_measures_are_those_of_pytrec_eval(scores: np.ndarray, judged: list[dict[int, int]]) -> None:
    names = tuple(f"q{number}" for number in range(QUERIES))
    own = [measured(ranked(scores[number], rows(names), number), judged[number]) for number in range(QUERIES)]
    grades = {
        name: {DOCUMENTS[number]: grade for number, grade in row.items()}
        for name, row in zip(names, judged, strict=True)
    }
    run = {name: dict(zip(DOCUMENTS, map(float, row), strict=True)) for name, row in zip(names, scores, strict=True)}
    # The reciprocal rank has no cut of its own there: it is that of the first ten.
    ten = {
        name: dict(sorted(row.items(), key=lambda item: (item[1], item[0]), reverse=True)[:10])
        for name, row in run.items()
    }
    whole = pytrec_eval.RelevanceEvaluator(grades, {"ndcg_cut.10", "recall.100"}).evaluate(run)
    first = pytrec_eval.RelevanceEvaluator(grades, {"recip_rank"}).evaluate(ten)
    published = [(whole[name]["ndcg_cut_10"], first[name]["recip_rank"], whole[name]["recall_100"]) for name in names]
    np.testing.assert_allclose(own, published, atol=1e-6)
    assert np.ptp(published, axis=0).min() > 0.2


def test_a_query_that_is_a_document_does_not_find_itself() -> None:
    scores = -np.arange(len(DOCUMENTS), dtype=np.float64)
    assert ranked(scores, rows((DOCUMENTS[0],)), 0)[:2] == [1, 2]
