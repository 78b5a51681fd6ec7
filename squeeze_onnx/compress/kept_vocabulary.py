"""A part of the vocabulary: the model, its tokenizer and all that speaks of token ids, with the tokens that stay alone.

It comes before everything else: what is squeezed, and held against it, is the model with that part. On the texts whose tokens
stay it answers as before; any other text is cut into smaller tokens, or the unknown one, as the tokenizer does.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squeeze_onnx.compress.calibration_source import CalibrationConfig, calibration_rows
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.vocabulary_choice import choose_tokens, open_vocabulary, read_wanted, with_prompts
from squeeze_onnx.data.companions import copy_companions
from squeeze_onnx.data.kept_tokens import Vocabulary
from squeeze_onnx.data.model_config import ModelConfig, read_settings
from squeeze_onnx.data.renumbered_files import ids_named, renumber_files
from squeeze_onnx.data.repository import Repository, find_repository
from squeeze_onnx.data.tokenizer_files import TOKENIZER_FILE, tokenizer_place
from squeeze_onnx.graph.io.model import OnnxModel, load_model, save_model
from squeeze_onnx.graph.io.size import ModelSize, measure_size
from squeeze_onnx.graph.rewrite.trimmed_table import TokenTables, find_token_tables, keep_rows
from squeeze_onnx.support.errors import ModelError, TokenizerError

_FEW = 1024
"""Tokens that may stay for the sake of the numbers of those after them."""


@dataclass(frozen=True)
class KeptVocabulary:
    """What was kept: ``sources`` as they were named, ``scripts`` of those that are languages, and what it came to.

    ``gone`` is the share of the tokens of the calibration text that do not stay, None without one; ``left_out`` are files that
    hold the old vocabulary in a form that is not rewritten.
    """

    sources: tuple[str, ...]
    scripts: tuple[str, ...]
    texts: int
    tokens: tuple[int, int]
    rows: tuple[int, int]
    sizes: tuple[ModelSize, ModelSize]
    gone: float | None
    left_out: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        before, after = self.sizes
        pairs = {
            "tokens": self.tokens,
            "table_rows": self.rows,
            "bytes": (before.bytes, after.bytes),
            "parameters": (before.parameters, after.parameters),
        }
        return {
            "kept": list(self.sources),
            "scripts": list(self.scripts),
            "texts": self.texts,
            **{name: {"before": old, "after": new} for name, (old, new) in pairs.items()},
            "calibration_gone": self.gone,
            "left_out": list(self.left_out),
        }


def keep_vocabulary(
    path: str | Path, config: OptimizeConfig, calibration: CalibrationConfig | None, folder: Path
) -> KeptVocabulary:
    """Write the model at ``path`` into ``folder`` with the tokens that ``config`` keeps; what texts are read from is told there.

    The data of glue:TASK, and the columns of a table, are those of ``calibration``.

    Raises ModelError, TokenizerError, DataError or OptionError for what cannot be had, each with the way out.
    """
    repository = find_repository(path)
    model = load_model(repository.model_path)
    before = measure_size(model)
    tables = find_token_tables(model.ir)
    settings = read_settings(model.path, config.asked)
    wanted = read_wanted(config.keep_vocabulary, calibration)
    place = tokenizer_place(repository)
    vocabulary = open_vocabulary(place, settings)
    largest = max(vocabulary.document.tokens.values())
    if largest >= tables.rows:
        raise TokenizerError(f"{place} has token ids up to {largest}, but {model.path} has {tables.rows} tokens only")
    texts = with_prompts(wanted.texts, settings)
    numbers, trimmed = choose_tokens(
        vocabulary, wanted, texts, _fixed(vocabulary, tables, repository, settings), settings
    )
    _refuse_moved(model, tables, vocabulary, numbers, settings)
    keep_rows(tables, sorted(numbers))
    target = repository.place_in(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    save_model(model.ir, target)
    copy_companions(repository, folder)
    left_out = [
        name
        for home in dict.fromkeys((folder / repository.encoder, target.parent, folder))
        for name in renumber_files(home, vocabulary.document, trimmed, numbers)
    ]
    place_in_folder = folder / place.absolute().relative_to(repository.root.absolute())
    (place_in_folder / TOKENIZER_FILE).write_text(json.dumps(trimmed, ensure_ascii=False, indent=1), encoding="utf-8")
    return KeptVocabulary(
        config.keep_vocabulary,
        tuple(sorted(wanted.scripts)),
        len(wanted.texts),
        (len(set(vocabulary.document.tokens.values())), len(numbers)),
        (tables.rows, len(numbers)),
        (before, measure_size(load_model(target))),
        _gone(vocabulary, calibration, numbers),
        tuple(dict.fromkeys(left_out)),
    )


def _gone(vocabulary: Vocabulary, calibration: CalibrationConfig | None, numbers: Mapping[int, int]) -> float | None:
    """Return the share of the tokens of the calibration text that do not stay."""
    texts = [text for row in (calibration_rows(calibration) if calibration is not None else ()) for text in row]
    stays = [number in numbers for _, ids in vocabulary.encoded(texts) for number in ids]
    return 1 - sum(stays) / len(stays) if stays else None


def _fixed(vocabulary: Vocabulary, tables: TokenTables, repository: Repository, settings: ModelConfig) -> set[int]:
    """Return the ids that stay whatever the texts are: those that files name, and those up to one that keeps its number."""
    known = set(vocabulary.document.tokens.values())
    named = {number for folder in repository.folders for number in ids_named(folder)}
    last = max(_compared(tables, settings), default=-1)
    before = set(range(last + 1)) if last < _FEW else {last}
    return (named | before) & known


def _compared(tables: TokenTables, settings: ModelConfig) -> set[int]:
    """Return the ids that must keep their numbers: the graph compares with them, or counts positions from them."""
    padding = {settings.first_position - 1} if settings.first_position else set()
    return {number for number in tables.fixed | padding if 0 <= number < tables.rows}


def _refuse_moved(
    model: OnnxModel,
    tables: TokenTables,
    vocabulary: Vocabulary,
    numbers: Mapping[int, int],
    settings: ModelConfig,
) -> None:
    names = {number: token for token, number in vocabulary.document.tokens.items()}
    for number in sorted(_compared(tables, settings)):
        if numbers.get(number) != number and (number in numbers or number < len(numbers)):
            raise ModelError(
                f"{model.path} compares token ids with {number} ({names.get(number, 'no token')}), which would be another's: "
                "leave out `keep_vocabulary`"
            )
