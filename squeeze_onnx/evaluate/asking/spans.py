"""Spans: the part of a context that answers a question, chosen and scored as for SQuAD (Rajpurkar et al. 2016, 2018).

A context that is longer than the model takes is read in windows that overlap. Of each the likeliest starts and ends are paired;
the best pair of all windows is the answer, or no answer if the first token of a window is likelier, where the data has questions
without one.
"""

import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from squeeze_onnx.data.readers import LabelledRows, Texts
from squeeze_onnx.data.tasks import Task
from squeeze_onnx.data.tokenization import TokenSequence, sequence_of
from squeeze_onnx.evaluate.asking.base import Asked, Way
from squeeze_onnx.evaluate.open_model import OpenModel
from squeeze_onnx.evaluate.span_head import SpanLogits
from squeeze_onnx.support.errors import OptionError

LONGEST_QUESTION, LONGEST_ANSWER = 64, 30
"""In tokens; these, the overlap and the number of candidates are those of the scripts that SQuAD models are published with."""
OVERLAP = 128
CANDIDATES = 20


@dataclass(frozen=True, eq=False)
class _Window:
    """A part of the context of the row ``row``: the characters of each token, None for one that is not of the context."""

    row: int
    sequence: TokenSequence
    characters: tuple[tuple[int, int] | None, ...]


def ask_spans(task: Task | None, model: OpenModel, rows: LabelledRows, way: Way) -> Asked:
    """Return for each row whether the answer is exactly one of the references, and the F1 of its words: (rows, 2)."""
    head = model.head
    assert isinstance(head, SpanLogits), "chosen by choose_head"
    tokenizer = Tokenizer.from_str(way.encoder.tokenizer.to_str())
    tokenizer.no_truncation()
    windows = [
        window
        for number, texts in enumerate(rows.texts)
        for window in _windows(number, texts, tokenizer, way.encoder.max_tokens)
    ]
    sequences = [window.sequence for window in windows]
    found: list[tuple[np.ndarray, np.ndarray]] = [(np.empty(0), np.empty(0))] * len(windows)
    for numbers, mask, (starts, ends) in model.outputs(
        sequences, (head.start, head.end), padding=way.encoder.padding, batch_size=way.batch_size, track=way.track
    ):
        for number, start, end, shown in zip(numbers, starts, ends, mask.astype(bool), strict=True):
            found[number] = start[shown].astype(np.float64), end[shown].astype(np.float64)
    may_be_none = any(not any(references) for references in rows.labels)
    best = [_Best() for _ in rows.texts]
    for window, (start, end) in zip(windows, found, strict=True):
        best[window.row].look_at(window, start, end)
    counts = [
        scores_of_answer(chosen.text(texts[1], may_be_none=may_be_none), references)
        for chosen, texts, references in zip(best, rows.texts, rows.labels, strict=True)
    ]
    answers = model.finite(np.concatenate([np.stack(pair, axis=1) for pair in found]))
    return Asked(sequences, answers, np.array(counts, np.float64))


class _Best:
    """The best span of a row so far, and how likely it is that there is none."""

    def __init__(self) -> None:
        self._score, self._span, self._none = -np.inf, (0, 0), np.inf

    def look_at(self, window: _Window, start: np.ndarray, end: np.ndarray) -> None:
        """Take in a window's logits (tokens,)."""
        self._none = min(self._none, float(start[0] + end[0]))
        for first in np.argsort(-start, kind="stable")[:CANDIDATES]:
            for last in np.argsort(-end, kind="stable")[:CANDIDATES]:
                begin, finish = window.characters[first], window.characters[last]
                fits = begin is not None and finish is not None and 0 <= last - first < LONGEST_ANSWER
                if fits and start[first] + end[last] > self._score:
                    assert begin is not None and finish is not None
                    self._score, self._span = float(start[first] + end[last]), (begin[0], finish[1])

    def text(self, context: str, *, may_be_none: bool) -> str:
        """Return the answer."""
        return "" if may_be_none and self._none > self._score else context[slice(*self._span)]


def _windows(row: int, texts: Texts, tokenizer: Tokenizer, max_tokens: int) -> Iterator[_Window]:
    question = tokenizer.encode(texts[0], add_special_tokens=False)
    question.truncate(LONGEST_QUESTION)
    context = tokenizer.encode(texts[1], add_special_tokens=False)
    room = max_tokens - len(question.ids) - tokenizer.num_special_tokens_to_add(is_pair=True)
    if room < 1:
        raise OptionError(f"`max_tokens` {max_tokens} leaves no room for a context beside {texts[0]!r}")
    context.truncate(room, stride=min(OVERLAP, room // 2))
    for part in (context, *context.overflowing):
        encoding = tokenizer.post_process(question, part)
        characters = tuple(
            span if number == 1 else None for number, span in zip(encoding.sequence_ids, encoding.offsets, strict=True)
        )
        yield _Window(row, sequence_of(encoding), characters)


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
