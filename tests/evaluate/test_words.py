"""Perplexity of language models, against sums that are worked out here."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.evaluate.validation import validate
from squeeze_onnx.support.errors import OptionError, TokenizerError
from tests.text_models import SPECIAL, write_tagger

WORDS = ("[MASK]", "the", "film", "ends")
VOCABULARY = (*SPECIAL, *WORDS)
VECTORS = dict(zip(WORDS, np.random.default_rng(0).standard_normal((len(WORDS), len(VOCABULARY))), strict=True))
TEXTS = ("the film ends", "film", "the the film")

CAUSAL, MASKED = ["GPT2LMHeadModel"], ["BertForMaskedLM"]


def said_after(word: str, following: str) -> float:
    """Return the log-likelihood of a word at the place of another."""
    # The vectors of special tokens are zero but for that of padding.
    logits = np.asarray(VECTORS.get(word, np.zeros(len(VOCABULARY))), np.float32).astype(np.float64)
    return float(log_softmax(logits)[VOCABULARY.index(following)])


def measure(folder: Path, architectures: list[str], metric: str, **options: Any) -> float:
    vectors = {word: [float(number) for number in vector] for word, vector in VECTORS.items()}
    if not options.pop("mask", True):
        vectors = {word.strip("[]"): vector for word, vector in vectors.items()}
    model = write_tagger(folder / "model", vectors, architectures=architectures)
    (folder / "texts.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    config = ValidateConfig(data=folder / "texts.txt", metrics=(metric,), latency_rounds=1, batch_size=2, **options)
    report = validate(model, model, config).to_json()
    assert (report["primary_metric"], report["drop_points"]) == (metric, 0)
    return float(report["metrics"][metric]["baseline"])


def test_perplexity_is_of_every_token_after_those_before_it(tmp_path: Path) -> None:
    sequences = [["[CLS]", *text.split(), "[SEP]"] for text in TEXTS]
    logs = [said_after(*pair) for tokens in sequences for pair in pairwise(tokens)]
    assert measure(tmp_path, CAUSAL, "perplexity") == pytest.approx(np.exp(-np.mean(logs)), rel=1e-6)


def test_pseudo_perplexity_hides_one_word_at_a_time(tmp_path: Path) -> None:
    logs = [said_after("[MASK]", word) for text in TEXTS for word in text.split()]
    assert measure(tmp_path, MASKED, "pseudo_perplexity") == pytest.approx(np.exp(-np.mean(logs)), rel=1e-6)


@pytest.mark.parametrize(("architectures", "metric"), [(MASKED, "perplexity"), (CAUSAL, "pseudo_perplexity")])
def test_the_metric_of_the_other_kind_is_refused(tmp_path: Path, architectures: list[str], metric: str) -> None:
    with pytest.raises(OptionError, match=f"`metric` {metric} is of .* models, and .* is (masked|causal)"):
        measure(tmp_path, architectures, metric)


def test_a_tokenizer_without_a_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="has no token"):
        measure(tmp_path, MASKED, "pseudo_perplexity", mask=False)
