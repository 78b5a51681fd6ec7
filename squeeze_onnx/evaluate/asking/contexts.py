"""The part of a context that answers a question, chosen as the scripts do that SQuAD models are published with.

A context that is longer than the model takes is read in windows that overlap. Of each the likeliest starts and ends are paired;
the best pair of all windows is the answer. How likely it is that there is none says the first token of a window.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from squeeze_onnx.data.readers import Texts
from squeeze_onnx.data.tasks import Kind, Task
from squeeze_onnx.data.tokenization import TokenSequence, sequence_of
from squeeze_onnx.evaluate.asking.base import Way
from squeeze_onnx.evaluate.open_model import OpenModel
from squeeze_onnx.evaluate.span_head import SpanLogits
from squeeze_onnx.support.errors import OptionError

QUESTIONS = Task("questions", ("question", "context"), (), ("span_f1", "exact_match"), "span_f1", kind=Kind.SPANS)
"""What a model that answers by a span is for."""

LONGEST_QUESTION, LONGEST_ANSWER = 64, 30
"""In tokens; these, the overlap and the number of candidates are those of the scripts that SQuAD models are published with."""
OVERLAP = 128
CANDIDATES = 20


@dataclass(frozen=True)
class Span:
    """The best span of a context: its ``characters`` from … to, and the sum of the logits of its start and its end.

    ``no_answer`` is that sum at the first token of a window, the least of all windows: SQuAD 2.0 takes it that there is no answer
    where it is larger than ``score``. Where no span fits, ``score`` is minus infinity and there are no characters.
    """

    characters: tuple[int, int]
    score: float
    no_answer: float


@dataclass(frozen=True, eq=False)
class Reading:
    """What a model made of questions and contexts: its windows, the logits (tokens, 2) of all of them, and a span a row."""

    sequences: Sequence[TokenSequence]
    logits: np.ndarray
    spans: Sequence[Span]


@dataclass(frozen=True, eq=False)
class _Window:
    """A part of the context of the row ``row``: the characters of each token, None for one that is not of the context."""

    row: int
    sequence: TokenSequence
    characters: tuple[tuple[int, int] | None, ...]


def read_contexts(model: OpenModel, rows: Sequence[Texts], way: Way) -> Reading:
    """Let ``model`` answer ``rows`` of a question and its context.

    Raises OptionError if its tokens leave no room for a context, ModelError for NaN or infinity.
    """
    head = model.head
    assert isinstance(head, SpanLogits), "chosen by choose_head"
    tokenizer = Tokenizer.from_str(way.encoder.tokenizer.to_str())
    tokenizer.no_truncation()
    windows = [
        window
        for number, texts in enumerate(rows)
        for window in _windows(number, texts, tokenizer, way.encoder.max_tokens)
    ]
    sequences = [window.sequence for window in windows]
    found: list[tuple[np.ndarray, np.ndarray]] = [(np.empty(0), np.empty(0))] * len(windows)
    for numbers, mask, (starts, ends) in model.outputs(
        sequences, (head.start, head.end), padding=way.encoder.padding, batch_size=way.batch_size, track=way.track
    ):
        for number, start, end, shown in zip(numbers, starts, ends, mask.astype(bool), strict=True):
            found[number] = start[shown].astype(np.float64), end[shown].astype(np.float64)
    logits = model.finite(np.concatenate([np.stack(pair, axis=1) for pair in found]))
    best = [Span((0, 0), -np.inf, np.inf) for _ in rows]
    for window, (start, end) in zip(windows, found, strict=True):
        best[window.row] = _better(best[window.row], window, start, end)
    return Reading(sequences, logits, best)


def _better(best: Span, window: _Window, start: np.ndarray, end: np.ndarray) -> Span:
    """Return the best span so far after a look at the logits (tokens,) of another window."""
    characters, score = best.characters, best.score
    for first in np.argsort(-start, kind="stable")[:CANDIDATES]:
        for last in np.argsort(-end, kind="stable")[:CANDIDATES]:
            begin, finish = window.characters[first], window.characters[last]
            if begin is None or finish is None or not 0 <= last - first < LONGEST_ANSWER:
                continue
            if start[first] + end[last] > score:
                characters, score = (begin[0], finish[1]), float(start[first] + end[last])
    return Span(characters, score, min(best.no_answer, float(start[0] + end[0])))


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
