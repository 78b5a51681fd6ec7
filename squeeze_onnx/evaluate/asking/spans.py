"""Spans: the part of a context that answers a question, scored as for SQuAD (Rajpurkar et al. 2016, 2018).

There is no answer where the first token of a window is likelier than any span, if the data has questions without one.
"""

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from squeeze_onnx.data.readers import LabelledRows
from squeeze_onnx.data.tasks import Task
from squeeze_onnx.evaluate.asking.base import Asked, Beside, Way, shuffles
from squeeze_onnx.evaluate.asking.contexts import Span, read_contexts
from squeeze_onnx.evaluate.open_model import OpenModel


def ask_spans(task: Task | None, model: OpenModel, rows: LabelledRows, way: Way) -> Asked:
    """Return for each row whether the answer is exactly one of the references, and the F1 of its words: (rows, 2)."""
    read = read_contexts(model, rows.texts, way)
    may_be_none = any(not any(references) for references in rows.labels)
    answers = [
        _answer(span, texts[1], may_be_none=may_be_none) for span, texts in zip(read.spans, rows.texts, strict=True)
    ]
    return Asked(
        read.sequences, read.logits, _counts(answers, rows.labels), beside=Beside(lambda: _guesses(answers, rows))
    )


def _counts(answers: Iterable[str], references: Iterable[Sequence[str]]) -> np.ndarray:
    return np.array([scores_of_answer(*row) for row in zip(answers, references, strict=True)], np.float64)


def _guesses(answers: Sequence[str], rows: LabelledRows) -> np.ndarray:
    """Return the counts of parts anywhere in the contexts, as long as answers to other questions, or of none where those are."""
    rng, lengths = np.random.default_rng(0), np.array([len(answer.split()) for answer in answers])
    contexts = [context.split() for _, context in rows.texts]
    drawn = []
    for order in shuffles(len(answers)):
        starts = [
            int(rng.integers(max(len(words) - long, 0) + 1))
            for words, long in zip(contexts, lengths[order], strict=True)
        ]
        parts = zip(contexts, starts, lengths[order], strict=True)
        drawn.append(_counts((" ".join(words[at : at + long]) for words, at, long in parts), rows.labels))
    return np.array(drawn)


def _answer(span: Span, context: str, *, may_be_none: bool) -> str:
    return "" if may_be_none and span.no_answer > span.score else context[slice(*span.characters)]


def scores_of_answer(answer: str, references: Sequence[str]) -> tuple[float, float]:
    """Return the exact match and the F1 of the nearest reference, as SQuAD's script of version 2 counts them."""
    wanted = [text for text in references if _words(text)] or [""]
    return max(float(_words(answer) == _words(text)) for text in wanted), max(_f1(answer, text) for text in wanted)


def _f1(answer: str, reference: str) -> float:
    found, wanted = _words(answer), _words(reference)
    if not found or not wanted:
        return float(found == wanted)
    common = sum((Counter(found) & Counter(wanted)).values())
    return 2 * common / (len(found) + len(wanted))


def _words(text: str) -> list[str]:
    """Return the words in lower case, without punctuation and articles."""
    plain = "".join(character for character in text.lower() if character not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()
