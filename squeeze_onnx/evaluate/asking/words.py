"""Words: how likely a language model finds the words of a text.

A causal one is asked for every token after those before it. A masked one is asked for every token that is no special one with
all others around it, one at a time (Salazar et al. 2020, arXiv 1910.14659, pseudo-log-likelihood).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.special import logsumexp

from squeeze_onnx.data.readers import LabelledRows
from squeeze_onnx.data.tasks import Task
from squeeze_onnx.data.tokenization import TokenSequence, sequence_of
from squeeze_onnx.evaluate.answer_heads import WordLogits
from squeeze_onnx.evaluate.asking.base import Asked, Beside, Way
from squeeze_onnx.evaluate.fidelity import score_fidelity
from squeeze_onnx.evaluate.open_model import OpenModel
from squeeze_onnx.support.errors import OptionError, TokenizerError

MASKED = "pseudo_perplexity"

_MOST_LOGITS = 2**25
"""Numbers that a batch may answer with: 128 MB."""

_MASK_TOKENS = ("[MASK]", "<mask>")


def ask_words(task: Task | None, model: OpenModel, rows: LabelledRows, way: Way) -> Asked:
    """Return for each row the sum of the negative log-likelihoods of its tokens, in nats, and their number: (rows, 2)."""
    assert task is not None, "texts that nobody scores are asked about as texts"
    masked = task.primary_metric == MASKED
    _check_kind(model, task, masked=masked)
    texts = [text for (text,) in rows.texts]
    encodings = way.encoder.tokenizer.encode_batch(texts)
    if masked:
        sequences = _one_masked(encodings, way)
        owners = [row for row, encoding in enumerate(encodings) for _ in _plain_places(encoding)]
        wanted = [encoding.ids[place] for encoding in encodings for place in _plain_places(encoding)]
        places = [place for encoding in encodings for place in _plain_places(encoding)]
        nats = _at_places(model, sequences, places, wanted, way)
        counts = np.zeros((len(texts), 2))
        np.add.at(counts, owners, np.stack([nats, np.ones_like(nats)], axis=1))
    else:
        sequences = [sequence_of(encoding) for encoding in encodings]
        counts = _of_all_tokens(model, sequences, way)
    if not counts[:, 1].sum():
        raise OptionError(f"no text has a token that {task.primary_metric} could be counted on: give longer ones")
    answers = model.finite(counts[:, :1] / np.maximum(counts[:, 1:], 1))
    alike = np.log(_vocabulary(model, way))  # nats of a token if every one is as likely
    return Asked(
        sequences, answers, counts, score_fidelity, beside=Beside(lambda: counts[np.newaxis, :, 1:] * [alike, 1])
    )


def _check_kind(model: OpenModel, task: Task, *, masked: bool) -> None:
    """Raise OptionError if config.json says that the model is of the other kind."""
    names = model.config.architectures
    if masked and any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names):
        raise OptionError(
            f"`metric` {task.primary_metric} is of masked models, and {model.session.label} is causal: perplexity"
        )
    if not masked and any(name.endswith("ForMaskedLM") for name in names):
        raise OptionError(f"`metric` perplexity is of causal models, and {model.session.label} is masked: {MASKED}")
    if not isinstance(model.head, WordLogits):
        raise OptionError(f"`metric` {task.primary_metric} is of language models, and {model.session.label} is none")


def _plain_places(encoding: Any) -> list[int]:
    return [place for place, special in enumerate(encoding.special_tokens_mask) if not special]


def _one_masked(encodings: Sequence[Any], way: Way) -> list[TokenSequence]:
    known = (way.encoder.tokenizer.token_to_id(token) for token in _MASK_TOKENS)
    mask = next((number for number in known if number is not None), None)
    if mask is None:
        raise TokenizerError(
            f"{way.encoder.path} has no token {' or '.join(_MASK_TOKENS)}, with which words are hidden"
        )
    sequences = []
    for encoding in encodings:
        whole = sequence_of(encoding)
        for place in _plain_places(encoding):
            ids = whole.ids.copy()
            ids[place] = mask
            sequences.append(TokenSequence(ids, whole.type_ids))
    return sequences


def _at_places(
    model: OpenModel, sequences: Sequence[TokenSequence], places: Sequence[int], wanted: Sequence[int], way: Way
) -> np.ndarray:
    """Return the negative log-likelihood of the token ``wanted`` at one place of each sequence."""
    nats = np.zeros(len(sequences))
    for numbers, mask, (logits,) in _logits(model, sequences, way):
        for number, shown, text in zip(numbers, logits, mask.astype(bool), strict=True):
            at = shown[text][places[number]].astype(np.float64)
            nats[number] = logsumexp(at) - at[wanted[number]]
    return nats


def _of_all_tokens(model: OpenModel, sequences: Sequence[TokenSequence], way: Way) -> np.ndarray:
    counts = np.zeros((len(sequences), 2))
    for numbers, mask, (logits,) in _logits(model, sequences, way):
        for number, shown, text in zip(numbers, logits, mask.astype(bool), strict=True):
            before, said = shown[text][:-1].astype(np.float64), sequences[number].ids[1:]
            nats = logsumexp(before, axis=1) - before[np.arange(len(said)), said]
            counts[number] = nats.sum(), len(said)
    return counts


def _logits(
    model: OpenModel, sequences: Sequence[TokenSequence], way: Way
) -> Iterator[tuple[np.ndarray, np.ndarray, list[np.ndarray]]]:
    longest = max(map(len, sequences))
    batch_size = max(1, min(way.batch_size, _MOST_LOGITS // (longest * _vocabulary(model, way))))
    return model.outputs(
        sequences, (model.head.output,), padding=way.encoder.padding, batch_size=batch_size, track=way.track
    )


def _vocabulary(model: OpenModel, way: Way) -> int:
    """Return of how many tokens the model says how likely they are."""
    spoken = next(value.shape[2] for value in model.session.outputs if value.name == model.head.output)
    return spoken if isinstance(spoken, int) else way.encoder.tokenizer.get_vocab_size()
