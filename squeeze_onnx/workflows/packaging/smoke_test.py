"""One question to each form of a bundled model, to see that it runs and that the forms agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from squeeze_onnx.data.embedding_files import NOTHING_ASKED, EmbeddingOptions
from squeeze_onnx.data.model_config import ModelConfig, read_settings
from squeeze_onnx.data.readers import own_sentences
from squeeze_onnx.data.tokenization import load_text_encoder
from squeeze_onnx.evaluate.answer_heads import Head
from squeeze_onnx.evaluate.open_model import OpenModel
from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.support.errors import ModelError

LONGEST = 512
"""Tokens a text is cut to where neither the model nor its tokenizer says what it takes; most encoders have as many positions."""

TOLERANCE = 0.02
"""Largest difference of two forms' answers, as a fraction of the largest number in them: below it lie the steps of int8, above it
other models."""


@dataclass(frozen=True)
class Answer:
    """What the form ``model`` of a bundle says to the example: (answers, features), read by its ``head``."""

    model: str
    head: Head
    values: np.ndarray


def example() -> str:
    """Return the sentence that a bundle is tried on."""
    return own_sentences()[0]


def longest_sequence(settings: ModelConfig) -> int | None:
    """Return what a bundle cuts texts to, as `load_text_encoder` takes it."""
    return None if settings.text_limits.max_tokens else LONGEST


def ask(folder: Path, models: Sequence[str], asked: EmbeddingOptions = NOTHING_ASKED) -> tuple[Answer, ...]:
    """Ask ``models``, each a file of ``folder``, which holds tokenizer.json, config.json and what else they are read by.

    Raises ModelError if one of them does not run or they do not agree, TokenizerError without a usable tokenizer.
    """
    answers = []
    for name in models:
        settings = read_settings(folder / name, asked)
        opened = OpenModel.of(name, open_session(folder / name), settings, None)
        limited = settings.for_shape(opened.feeder.fixed)
        encoder = load_text_encoder(folder, limited, max_tokens=longest_sequence(settings))
        texts = encoder.encode(opened.head.sequences([(example(),)]))
        values = opened.answers(texts, padding=encoder.padding, batch_size=1)
        answers.append(Answer(name, opened.head, values))
    first = answers[0]
    for other in answers[1:]:
        difference = float(np.max(np.abs(first.values - other.values)))
        if difference > TOLERANCE * float(np.max(np.abs(first.values))):
            raise ModelError(f"{first.model} and {other.model} in {folder} differ by {difference:.2g} in one answer")
    return tuple(answers)
