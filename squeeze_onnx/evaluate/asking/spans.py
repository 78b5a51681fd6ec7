"""Spans: the part of a context that answers a question, scored as for SQuAD (Rajpurkar et al. 2016, 2018).

There is no answer where the first token of a window is likelier than any span, if the data has questions without one.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

from squeeze_onnx.data.readers import LabelledRows
from squeeze_onnx.data.tasks import Task
from squeeze_onnx.evaluate.asking.base import Asked, Way
from squeeze_onnx.evaluate.asking.contexts import Span, read_contexts
from squeeze_onnx.evaluate.open_model import OpenModel


def ask_spans(task: Task | None, model: OpenModel, rows: LabelledRows, way: Way) -> Asked:
    """Return for each row whether the answer is exactly one of the references, and the F1 of its words: (rows, 2)."""
    read = read_contexts(model, rows.texts, way)
    may_be_none = any(not any(references) for references in rows.labels)
    counts = [
        scores_of_answer(_answer(span, texts[1], may_be_none=may_be_none), references)
        for span, texts, references in zip(read.spans, rows.texts, rows.labels, strict=True)
    ]
    return Asked(read.sequences, read.logits, np.array(counts, np.float64))


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
