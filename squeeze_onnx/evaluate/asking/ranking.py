"""Ranking: which documents answer a query, by how like their embeddings are, or by a reranker that reads every pair.

Ranks and measures are those of trec_eval: documents of equal scores come by descending name, scores count in float32.
"""

from dataclasses import replace

import numpy as np

from squeeze_onnx.data.prompts import retrieval_prompts
from squeeze_onnx.data.readers import LabelledRows
from squeeze_onnx.data.tasks import Task
from squeeze_onnx.evaluate.answer_heads import ScoreHead, SentenceEmbedding
from squeeze_onnx.evaluate.asking.base import DRAWS, Asked, Beside, Way
from squeeze_onnx.evaluate.open_model import OpenModel
from squeeze_onnx.support.errors import OptionError

DEPTH_OF_GAIN, DEPTH_OF_RECALL = 10, 100

MOST_PAIRS = 200_000
"""That a reranker reads."""


def ask_ranking(task: Task | None, model: OpenModel, rows: LabelledRows, way: Way) -> Asked:
    """Return nDCG@10, the reciprocal rank of the first hit among ten, and recall@100 of each query: (rows, 3)."""
    match model.head:
        case ScoreHead():
            asked, scores = _read_pairs(model, rows, way)
        case SentenceEmbedding() as head:
            asked, scores = _embed(model, head, rows, way)
        case _:
            raise OptionError(
                f"{model.session.label} answers with {model.head.kind.replace('_', ' ')}; documents are ranked by embeddings or "
                "by one score of a query and a document"
            )
    counts = [
        measured(ranked(row, rows, number), judged)
        for number, (row, judged) in enumerate(zip(scores, rows.labels, strict=True))
    ]
    return replace(asked, predictions=np.array(counts, np.float64), beside=Beside(lambda: _guesses(rows)))


def _guesses(rows: LabelledRows) -> np.ndarray:
    """Return the measures of documents in any order: where those that are judged come in it."""
    rng, found = np.random.default_rng(0), len(rows.documents.names)
    drawn = np.zeros((DRAWS, len(rows.labels), 3))
    for draw in range(DRAWS):
        for number, judged in enumerate(rows.labels):
            order = [-1] * min(found, DEPTH_OF_RECALL)
            for document, place in zip(judged, rng.choice(found, len(judged), replace=False), strict=True):
                if place < len(order):
                    order[place] = document
            drawn[draw, number] = measured(order, judged)
    return drawn


def _embed(model: OpenModel, head: SentenceEmbedding, rows: LabelledRows, way: Way) -> tuple[Asked, np.ndarray]:
    query, document = retrieval_prompts(model.config.repository, model.config.asked.prompt)
    texts = [*((query + text,) for (text,) in rows.texts), *((document + text,) for text in rows.documents.texts)]
    sequences = way.encoder.encode(texts)
    answers = model.answers(sequences, padding=way.encoder.padding, batch_size=way.batch_size, track=way.track)
    queries, documents = answers[: len(rows.texts)], answers[len(rows.texts) :]
    return Asked(sequences, answers, np.empty(0)), head.embedding.similarity.of_all(queries, documents)


def _read_pairs(model: OpenModel, rows: LabelledRows, way: Way) -> tuple[Asked, np.ndarray]:
    documents = rows.documents.texts
    count = len(rows.texts) * len(documents)
    if count > MOST_PAIRS:
        raise OptionError(
            f"{len(rows.texts)} queries × {len(documents)} documents are more than the {MOST_PAIRS} pairs that a reranker reads: "
            "ask fewer queries with `limit`, or give a smaller corpus"
        )
    sequences = way.encoder.encode(
        model.head.sequences([(text, document) for (text,) in rows.texts for document in documents])
    )
    answers = model.answers(sequences, padding=way.encoder.padding, batch_size=way.batch_size, track=way.track)
    return Asked(sequences, answers, np.empty(0)), answers[:, 0].reshape(len(rows.texts), len(documents))


def ranked(scores: np.ndarray, rows: LabelledRows, number: int) -> list[int]:
    """Return the numbers of the documents, the best first, without the query itself where it is one of them."""
    names = rows.documents.names
    order = sorted(
        range(len(names)), key=lambda document: (np.float32(scores[document]), names[document]), reverse=True
    )
    return [document for document in order if names[document] != rows.names[number]][:DEPTH_OF_RECALL]


def measured(order: list[int], judged: dict[int, int]) -> tuple[float, float, float]:
    """Return nDCG@10, the reciprocal rank of the first hit among ten, and recall@100 of documents in ``order``, given grades."""
    gains = np.array([max(judged.get(document, 0), 0) for document in order], np.float64)
    ideal = np.sort(np.maximum(list(judged.values()), 0))[::-1].astype(np.float64)
    best = _discounted(ideal[:DEPTH_OF_GAIN])
    hits = np.flatnonzero(gains[:DEPTH_OF_GAIN])
    relevant = np.count_nonzero(ideal)
    return (
        _discounted(gains[:DEPTH_OF_GAIN]) / best if best else 0.0,
        1 / (hits[0] + 1) if len(hits) else 0.0,
        np.count_nonzero(gains) / relevant if relevant else 0.0,
    )


def _discounted(gains: np.ndarray) -> float:
    return float(np.sum(gains / np.log2(np.arange(len(gains)) + 2)))
