"""The files beside a model that speak of token ids, other than tokenizer.json: brought to the new ids, or left out.

config.json, generation_config.json and tokenizer_config.json name ids of special tokens; added_tokens.json, vocab.txt, vocab.json
and merges.txt hold the vocabulary once more. A model of SentencePiece or tiktoken would give the old ids: it is left out.
"""

import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from squeeze_onnx.data.json_files import read_json, read_json_object
from squeeze_onnx.data.repository import SETTINGS_FILE
from squeeze_onnx.data.trimmed_tokenizer import TokenizerDocument
from squeeze_onnx.support.errors import TokenizerError

CONFIGURATIONS = ("config.json", "generation_config.json", SETTINGS_FILE)
_STALE = ("*.model", "*.spm", "*.tiktoken", "bpe.codes", "dict.txt")
_OF_IDS = ("_token_id", "_token_ids", "suppress_tokens", "bad_words_ids")
_SIZES = ("vocab_size",)


def ids_named(folder: Path) -> set[int]:
    """Return the ids that the configurations in ``folder`` name."""
    found: set[int] = set()
    for path in (folder / name for name in CONFIGURATIONS):
        if path.is_file():
            values = read_json_object(path)
            found |= {*_named(values), *map(int, _decoded(values))}
    return found


def renumber_files(
    folder: Path, document: TokenizerDocument, trimmed: Mapping[str, Any], numbers: Mapping[int, int]
) -> list[str]:
    """Bring the files in ``folder`` from old ids to ``numbers``; return the names of those that are left out.

    ``document`` is the tokenizer as it was, ``trimmed`` the content of its new tokenizer.json. Raises TokenizerError, or
    ModelError for a file that is malformed.
    """
    for name in CONFIGURATIONS:
        if (folder / name).is_file():
            values = _renumbered(read_json_object(folder / name), numbers)
            if decoded := _decoded(values):
                new = {str(numbers[int(number)]): token for number, token in decoded.items() if int(number) in numbers}
                values["added_tokens_decoder"] = new
            _write(folder / name, values)
    tokens = {token: numbers[number] for token, number in document.tokens.items() if number in numbers}
    for name in ("added_tokens.json", "vocab.json"):
        if (folder / name).is_file():
            _write(folder / name, {token: tokens[token] for token in _tokens_in(folder / name) if token in tokens})
    if (folder / "vocab.txt").is_file():
        _write_lines(folder / "vocab.txt", sorted(tokens, key=tokens.__getitem__))
    if (folder / "merges.txt").is_file():
        merges = (merge if isinstance(merge, str) else " ".join(merge) for merge in trimmed["model"].get("merges", ()))
        _write_lines(folder / "merges.txt", ["#version: 0.2", *merges])
    stale = sorted(path.name for path in folder.iterdir() if any(fnmatch(path.name, pattern) for pattern in _STALE))
    for name in stale:
        (folder / name).unlink()
    return stale


def _decoded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the added tokens that tokenizer_config.json lists by their ids."""
    decoder = values.get("added_tokens_decoder")
    return {key: token for key, token in decoder.items() if key.isdecimal()} if isinstance(decoder, dict) else {}


def _tokens_in(path: Path) -> Mapping[str, Any]:
    found = read_json(path, TokenizerError)
    if not isinstance(found, dict):
        raise TokenizerError(f"{path} is not an object of tokens and their ids: get the file again")
    return found


def _named(values: Any, key: str = "") -> Iterable[int]:
    if isinstance(values, dict):
        for name, value in values.items():
            yield from _named(value, name)
    elif isinstance(values, list):
        for value in values:
            yield from _named(value, key)
    elif isinstance(values, int) and not isinstance(values, bool) and key.endswith(_OF_IDS):
        yield values


def _renumbered(values: Any, numbers: Mapping[int, int], key: str = "") -> Any:
    """Return ``values`` with new ids. An id that no token has, as library defaults are, is taken out: it may be one now."""
    if isinstance(values, dict):
        return {name: _renumbered(value, numbers, name) for name, value in values.items()}
    if isinstance(values, list):
        return [_renumbered(value, numbers, key) for value in values]
    if not isinstance(values, int) or isinstance(values, bool):
        return values
    if key in _SIZES:
        return len(numbers)
    return numbers.get(values, values if values < 0 else None) if key.endswith(_OF_IDS) else values


def _write(path: Path, values: Any) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
