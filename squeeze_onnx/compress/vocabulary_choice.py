"""Which tokens of a vocabulary stay for the sake of texts or languages, so that those texts are cut as before.

A language stands for its scripts: all tokens without a letter of another script stay, those of other languages with the same
script among them, and what this package's general sentences of the language are cut into.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from squeeze_onnx.compress.calibration_source import NAMED_SOURCES, TASK_PREFIX, CalibrationConfig, all_rows
from squeeze_onnx.data.general_text import LANGUAGES as WITH_TEXTS
from squeeze_onnx.data.general_text import general_texts
from squeeze_onnx.data.json_files import read_json_object
from squeeze_onnx.data.kept_tokens import Vocabulary
from squeeze_onnx.data.model_config import ModelConfig
from squeeze_onnx.data.prompts import read_prompt, retrieval_prompts
from squeeze_onnx.data.scripts import LANGUAGES, scripts_of_language, scripts_of_texts
from squeeze_onnx.data.sentence_files import read_sentence_config
from squeeze_onnx.data.tokenizer_files import load_tokenizer, lower_cased
from squeeze_onnx.data.trimmed_tokenizer import TokenizerDocument
from squeeze_onnx.support.errors import OptionError, TokenizerError
from squeeze_onnx.support.suggestions import did_you_mean

_ATTEMPTS = 3
"""How often what a text needs is added. Once is enough for what is known of the kinds of tokenizers."""


@dataclass(frozen=True)
class Wanted:
    """The texts whose tokens stay, and the scripts of which all do."""

    texts: tuple[str, ...]
    scripts: frozenset[str]


def read_wanted(sources: Sequence[str], calibration: CalibrationConfig | None) -> Wanted:
    """Read the texts of ``sources``, and which of them are languages; raises as the reader of calibration data does."""
    texts: list[str] = []
    scripts: set[str] = set()
    for source in sources:
        if source in LANGUAGES:
            scripts |= scripts_of_language(source)
            texts += [text for row in (general_texts(source) if source in WITH_TEXTS else ()) for text in row]
            continue
        if not source.startswith(NAMED_SOURCES) and not Path(source).exists():
            raise OptionError(
                f"`keep_vocabulary` {source} is no file, and no language that is known ({', '.join(LANGUAGES)})"
                f"{did_you_mean(source, LANGUAGES)}"
            )
        told = calibration if calibration is not None and calibration.source == source else None
        data = None if calibration is None else calibration.data
        if source.startswith(TASK_PREFIX) and data is None:
            raise OptionError(
                f"`keep_vocabulary` {source} needs the `data` that `calibration` reads: name a task there too, or a file of texts"
            )
        texts += [text for row in all_rows(told or CalibrationConfig(source, data)) for text in row]
    return Wanted(tuple(dict.fromkeys(texts)), frozenset(scripts))


def open_vocabulary(place: Path, settings: ModelConfig) -> Vocabulary:
    """Open the tokenizer in the folder ``place``; raises TokenizerError as `load_tokenizer` does, and for unknown kinds."""
    tokenizer, file = load_tokenizer(place)
    values = read_json_object(file) if file.suffix == ".json" else json.loads(tokenizer.to_str())
    return Vocabulary(_as_read(tokenizer, settings), TokenizerDocument(values, str(file)))


def _as_read(tokenizer: Tokenizer, settings: ModelConfig) -> Tokenizer:
    """Return ``tokenizer`` as texts are read by it, but for their length."""
    if settings.text_limits.lower_case:
        lower_cased(tokenizer)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def with_prompts(texts: Sequence[str], settings: ModelConfig) -> list[str]:
    """Return ``texts``, and each behind the prompts that it is read with."""
    repository, asked = settings.repository, settings.asked.prompt
    if repository is None:
        return [*texts]
    usual = {read_prompt(repository, asked).text, *retrieval_prompts(repository, asked)} - {""}
    named = {*read_sentence_config(repository).prompts.values(), *usual} - {""}
    return [*texts, *sorted(named), *(prompt + text for prompt in sorted(usual) for text in texts)]


def choose_tokens(
    vocabulary: Vocabulary, wanted: Wanted, texts: Sequence[str], fixed: Iterable[int], settings: ModelConfig
) -> tuple[dict[int, int], dict[str, Any]]:
    """Return the tokens that stay, old id → new id, and the content of the new tokenizer.json.

    All ``texts`` are cut as before. Raises TokenizerError if that cannot be had.
    """
    document = vocabulary.document
    kept = {*document.needed(), *fixed, *vocabulary.met(texts)}
    if wanted.scripts:
        kept |= vocabulary.of_scripts(wanted.scripts)
    kept |= vocabulary.characters(wanted.scripts | scripts_of_texts(wanted.texts))
    changed: list[str] = []
    for _ in range(_ATTEMPTS):
        kept = document.closed(kept | (vocabulary.within(changed) if changed else set()))
        numbers = {number: place for place, number in enumerate(sorted(kept))}
        trimmed = document.trimmed(numbers)
        smaller = Vocabulary(_tokenizer_of(trimmed, document.place, settings), document)
        _check_numbers(smaller.tokenizer, document, numbers)
        changed = _cut_otherwise(vocabulary, smaller, texts, numbers)
        if not changed:
            return numbers, trimmed
    raise TokenizerError(
        f"{document.place} would cut {changed[0]!r} otherwise with a part of its tokens: leave out `keep_vocabulary`"
    )


def _tokenizer_of(trimmed: Mapping[str, Any], place: str, settings: ModelConfig) -> Tokenizer:
    try:
        return _as_read(Tokenizer.from_str(json.dumps(trimmed)), settings)
    except Exception as error:  # tokenizers has no exception class of its own
        raise TokenizerError(
            f"{place} cannot be read with some tokens only ({error}): leave out `keep_vocabulary`"
        ) from error


def _check_numbers(tokenizer: Tokenizer, document: TokenizerDocument, numbers: Mapping[int, int]) -> None:
    found = tokenizer.get_vocab()
    for token, number in document.tokens.items():
        if number in numbers and found.get(token) != numbers[number]:
            raise TokenizerError(
                f"{document.place} numbers its tokens so that {token!r} cannot be given another id: leave out `keep_vocabulary`"
            )


def _cut_otherwise(
    vocabulary: Vocabulary, smaller: Vocabulary, texts: Sequence[str], numbers: Mapping[int, int]
) -> list[str]:
    """Return those of ``texts`` that the ``smaller`` vocabulary cuts otherwise."""
    pairs = zip(texts, vocabulary.encoded(texts), smaller.encoded(texts), strict=True)
    return [
        text
        for text, (tokens, ids), (new_tokens, new_ids) in pairs
        if tokens != new_tokens or [numbers.get(number) for number in ids] != new_ids
    ]
