"""tokenizer.json with a part of its tokens, renumbered in ascending order of their old ids.

A text that consists of tokens that stay is cut into the same ones. What is not known of the file is refused: a number that was
left as it was would be another token.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from squeeze_onnx.data.byte_characters import text_of_bytes
from squeeze_onnx.support.errors import TokenizerError

BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
_BEGINNINGS = "▁"


@dataclass(frozen=True)
class TokenizerDocument:
    """The content of a tokenizer.json, ``values``, and the ``place`` that messages name.

    Raises TokenizerError for a model of a kind that is not known.
    """

    values: Mapping[str, Any]
    place: str

    def __post_init__(self) -> None:
        if self.kind not in _MODELS:
            raise TokenizerError(
                f"{self.place} holds a tokenizer of the kind {self.kind or 'unknown'}; `keep_vocabulary` knows "
                f"{', '.join(_MODELS)}: leave it out"
            )

    @property
    def model(self) -> Mapping[str, Any]:
        """What cuts words into tokens."""
        model: Mapping[str, Any] = self.values["model"]
        return model

    @property
    def kind(self) -> str:
        """WordPiece, BPE, Unigram or WordLevel."""
        named = self.model.get("type")
        return str(named) if named else "BPE" if "merges" in self.model else ""

    @cached_property
    def ids(self) -> dict[str, int]:
        """Every token that the model makes, and its id."""
        vocabulary = self.model["vocab"]
        if self.kind == "Unigram":
            return {piece: number for number, (piece, _) in enumerate(vocabulary)}
        return dict(vocabulary)

    @property
    def added(self) -> dict[str, int]:
        """The tokens beside the model, special ones among them, and their ids."""
        return {token["content"]: token["id"] for token in self.values.get("added_tokens") or ()}

    @property
    def tokens(self) -> dict[str, int]:
        """All tokens and their ids."""
        return {**self.ids, **self.added}

    @cached_property
    def merges(self) -> tuple[tuple[str, str], ...]:
        """The pairs that BPE joins, first things first; empty for other kinds."""
        cut = (merge.split(" ", 1) if isinstance(merge, str) else merge for merge in self.model.get("merges") or ())
        return tuple((left, right) for left, right in cut)

    @cached_property
    def joined(self) -> tuple[str, ...]:
        """What each of `merges` makes."""
        prefix = len(self.model.get("continuing_subword_prefix") or "")
        return tuple(left + right[prefix:] for left, right in self.merges)

    @cached_property
    def reads_bytes(self) -> bool:
        """Whether the characters of tokens stand for bytes, as in GPT-2."""
        return any(
            '"type": "ByteLevel"' in json.dumps(self.values.get(part)) for part in ("pre_tokenizer", "normalizer")
        )

    def surface(self, token: str) -> str:
        """Return what ``token`` stands for in a text, without what says where in a word it stands."""
        if self.reads_bytes:
            return text_of_bytes(token)
        if self.kind == "WordPiece":
            return token.removeprefix(self.model.get("continuing_subword_prefix") or "##")
        prefix, suffix = (self.model.get(name) or "" for name in ("continuing_subword_prefix", "end_of_word_suffix"))
        return token.removeprefix(prefix).removesuffix(suffix).lstrip(_BEGINNINGS) or token

    def needed(self) -> set[int]:
        """Return the ids of the tokens without which this tokenizer does not work, or would cut other texts otherwise."""
        found = {*self.added.values(), *_numbers_of_processor(self.values.get("post_processor"), self.place)}
        found |= {number for token, number in self.ids.items() if BYTE_PIECE.fullmatch(token)}
        padding, unknown = self.values.get("padding"), self.model.get("unk_token")
        if padding and padding.get("pad_id") in self.tokens.values():
            found.add(padding["pad_id"])
        if unknown in self.ids:
            found.add(self.ids[unknown])
        if self.kind == "Unigram":
            if self.model.get("unk_id") is not None:
                found.add(self.model["unk_id"])
            # What is unknown costs more than the least likely piece, by a fixed amount.
            found.add(min(range(len(self.ids)), key=lambda number: self.model["vocab"][number][1]))
        return found

    def closed(self, kept: Collection[int]) -> set[int]:
        """Return ``kept``, and what BPE joins those tokens of."""
        found = set(kept)
        parts: dict[str, list[str]] = {}
        for joined, merge in zip(self.joined, self.merges, strict=True):
            parts.setdefault(joined, []).extend(merge)
        names = {number: token for token, number in self.ids.items()} if parts else {}
        waiting = [names[number] for number in found if number in names]
        while waiting:
            for part in parts.get(waiting.pop(), ()):
                if self.ids[part] not in found:
                    found.add(self.ids[part])
                    waiting.append(part)
        return found

    def trimmed(self, numbers: Mapping[int, int]) -> dict[str, Any]:
        """Return the content of a tokenizer.json with the tokens ``numbers`` alone: old id → new id."""
        padding = self.values.get("padding")
        return {
            **self.values,
            "padding": padding and {**padding, "pad_id": numbers.get(padding["pad_id"], 0)},
            "added_tokens": [
                {**token, "id": numbers[token["id"]]}
                for token in self.values.get("added_tokens") or ()
                if token["id"] in numbers
            ],
            "post_processor": _renumbered_processor(self.values.get("post_processor"), numbers),
            "model": {**self.model, **_MODELS[self.kind](self, numbers)},
        }


def _words(document: TokenizerDocument, numbers: Mapping[int, int]) -> dict[str, Any]:
    return {"vocab": {token: numbers[number] for token, number in document.ids.items() if number in numbers}}


def _pairs(document: TokenizerDocument, numbers: Mapping[int, int]) -> dict[str, Any]:
    stay = {token for token, number in document.ids.items() if number in numbers}
    merges = [
        written
        for written, merge, joined in zip(document.model["merges"], document.merges, document.joined, strict=True)
        if joined in stay and stay.issuperset(merge)
    ]
    return {**_words(document, numbers), "merges": merges}


def _pieces(document: TokenizerDocument, numbers: Mapping[int, int]) -> dict[str, Any]:
    vocabulary = [entry for number, entry in enumerate(document.model["vocab"]) if number in numbers]
    unknown = document.model.get("unk_id")
    return {"vocab": vocabulary, "unk_id": None if unknown is None else numbers[unknown]}


_MODELS: Mapping[str, Callable[[TokenizerDocument, Mapping[int, int]], dict[str, Any]]] = {
    "WordPiece": _words,
    "WordLevel": _words,
    "BPE": _pairs,
    "Unigram": _pieces,
}


def _numbers_of_processor(processor: Mapping[str, Any] | None, place: str) -> set[int]:
    """Return the ids in a post-processor; raises TokenizerError for one of a kind that is not known."""
    if processor is None or processor["type"] == "ByteLevel":
        return set()
    if processor["type"] == "Sequence":
        return {number for each in processor["processors"] for number in _numbers_of_processor(each, place)}
    if processor["type"] == "TemplateProcessing":
        return {number for token in processor["special_tokens"].values() for number in token["ids"]}
    if processor["type"] in ("BertProcessing", "RobertaProcessing"):
        return {processor["sep"][1], processor["cls"][1]}
    raise TokenizerError(
        f"{place}: `keep_vocabulary` does not know the numbers in a post_processor {processor['type']}: leave it out"
    )


def _renumbered_processor(processor: Mapping[str, Any] | None, numbers: Mapping[int, int]) -> dict[str, Any] | None:
    if processor is None:
        return None
    if processor["type"] == "Sequence":
        return {**processor, "processors": [_renumbered_processor(each, numbers) for each in processor["processors"]]}
    if processor["type"] == "TemplateProcessing":
        special = {
            name: {**token, "ids": [numbers[number] for number in token["ids"]]}
            for name, token in processor["special_tokens"].items()
        }
        return {**processor, "special_tokens": special}
    ends = {name: [processor[name][0], numbers[processor[name][1]]] for name in ("sep", "cls") if name in processor}
    return {**processor, **ends}
