"""One question to each form of a bundled model, to see that it runs and that the forms agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from squeeze_onnx.data.embedding_files import NOTHING_ASKED, EmbeddingOptions
from squeeze_onnx.data.model_config import ModelConfig, read_settings
from squeeze_onnx.data.readers import own_sentences
from squeeze_onnx.data.saved_inputs import read_saved_inputs
from squeeze_onnx.data.tokenization import TextEncoder, load_text_encoder
from squeeze_onnx.evaluate.answer_heads import Head
from squeeze_onnx.evaluate.asking.base import Way
from squeeze_onnx.evaluate.asking.contexts import QUESTIONS, read_contexts
from squeeze_onnx.evaluate.open_model import OpenModel
from squeeze_onnx.evaluate.own_data import usual_length
from squeeze_onnx.evaluate.span_head import SpanLogits, answers_by_span
from squeeze_onnx.runtime.sessions import ValueSpec, open_session
from squeeze_onnx.support.errors import ModelError

LONGEST = 512
"""Tokens a text is cut to where neither the model nor its tokenizer says what it takes; most encoders have as many positions."""

TOLERANCE = 0.02
"""Largest difference of two forms' answers, as a fraction of the largest number in them: below it lie the steps of int8, above it
other models."""


@dataclass(frozen=True)
class Answer:
    """What the form ``model`` of a bundle says to the example: (answers, features), read by its ``head``; without one, of a
    model of other inputs than text, all numbers of its outputs in a row."""

    model: str
    values: np.ndarray
    head: Head | None = None


def example(head: Head) -> str | list[str]:
    """Return the sentence that a bundle is tried on, or the question and its context."""
    first, second = own_sentences()[:2]
    return ["Who left early?", f"{first} {second}"] if isinstance(head, SpanLogits) else first


def longest_sequence(settings: ModelConfig, outputs: Sequence[ValueSpec]) -> int | None:
    """Return what the bundle of a model with ``outputs`` cuts texts to, as `load_text_encoder` takes it."""
    if answers_by_span(outputs, settings.asked.answer):
        return usual_length(QUESTIONS)
    return None if settings.text_limits.max_tokens else LONGEST


def ask(folder: Path, models: Sequence[str], asked: EmbeddingOptions = NOTHING_ASKED) -> tuple[Answer, ...]:
    """Ask ``models``, each a file of ``folder``, which holds tokenizer.json, config.json and what else they are read by.

    Raises ModelError if one of them does not run or they do not agree, TokenizerError without a usable tokenizer.
    """
    answers = []
    for name in models:
        settings, session = read_settings(folder / name, asked), open_session(folder / name)
        task = QUESTIONS if answers_by_span(session.outputs, settings.asked.answer) else None
        opened = OpenModel.of(name, session, settings, task)
        limited = settings.for_shape(opened.feeder.fixed)
        encoder = load_text_encoder(folder, limited, max_tokens=longest_sequence(settings, session.outputs))
        answers.append(Answer(name, _values(opened, encoder), opened.head))
    return _alike(answers, folder)


def _values(opened: OpenModel, encoder: TextEncoder) -> np.ndarray:
    text = example(opened.head)
    if not isinstance(text, str):
        question, context = text
        return read_contexts(opened, [(question, context)], Way(encoder, batch_size=1)).logits
    sequences = encoder.encode(opened.head.sequences([(text,)]))
    return opened.answers(sequences, padding=encoder.padding, batch_size=1)


def ask_saved(folder: Path, models: Sequence[str], example: str) -> tuple[Answer, ...]:
    """Run ``models``, each a file of ``folder``, on the inputs saved in its file ``example``.

    Raises ModelError if one of them does not run, gives no number or they do not agree; DataError for inputs of another model.
    """
    answers = []
    for name in models:
        session = open_session(folder / name)
        saved = read_saved_inputs(folder / example, session.inputs, "the example")
        outputs = session.run(None, saved.cut(np.arange(len(saved)), len(saved))[0].feeds)
        numbers = [output.ravel().astype(np.float64) for output in outputs if output.dtype.kind in "fiub"]
        values = np.concatenate(numbers) if numbers else np.zeros(0)
        if not values.size or not np.all(np.isfinite(values)):
            raise ModelError(f"{name} in {folder} answers the example with NaN, infinity or nothing")
        answers.append(Answer(name, values))
    return _alike(answers, folder)


def _alike(answers: Sequence[Answer], folder: Path) -> tuple[Answer, ...]:
    """Return ``answers`` to the same; raises ModelError if they differ."""
    first = answers[0]
    for other in answers[1:]:
        difference = float(np.max(np.abs(first.values - other.values)))
        if difference > TOLERANCE * float(np.max(np.abs(first.values))):
            raise ModelError(f"{first.model} and {other.model} in {folder} differ by {difference:.2g} in one answer")
    return tuple(answers)
