"""Texts to token ids, with the model's own tokenizer.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, pre_tokenizers

from squeeze_onnx.data.model_config import ModelConfig
from squeeze_onnx.data.tokenizer_files import TOKENIZER_FILE, content_of, load_tokenizer, lower_cased, read_settings
from squeeze_onnx.support.errors import OptionError, TokenizerError

DEFAULT_MAX_TOKENS = 128
"""The length at which run_glue and the published GLUE scores truncate."""


@dataclass(frozen=True, eq=False)
class TokenSequence:
    """What a model reads at once, unpadded: both arrays are int64 of shape (tokens,)."""

    ids: np.ndarray
    type_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Padding:
    """What fills up shorter sequences: the id of a token, behind them or to their ``left``."""

    token: int
    left: bool = False


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """A tokenizer that truncates to ``max_tokens``, special tokens included, and how shorter sequences are filled up.

    A ``changed`` tokenizer is not what the file ``path`` says by itself.
    """

    path: Path
    tokenizer: Tokenizer
    max_tokens: int
    padding: Padding
    changed: bool = False

    def encode(self, texts: Sequence[tuple[str, ...]]) -> tuple[TokenSequence, ...]:
        """Encode sentences (1-tuples) and pairs (2-tuples); the longer text of a pair is truncated first."""
        encodings = self.tokenizer.encode_batch([row if len(row) > 1 else row[0] for row in texts])
        sequences = tuple(map(sequence_of, encodings))
        for row, sequence in zip(texts, sequences, strict=True):
            if not len(sequence):
                raise TokenizerError(f"{self.path} makes no token of {' / '.join(row)!r}")
        return sequences

    def encode_words(
        self, rows: Sequence[tuple[str, ...]]
    ) -> tuple[tuple[TokenSequence, ...], tuple[tuple[int | None, ...], ...]]:
        """Encode texts that are cut into words already; also return the place of the first token of each word.

        It is None for a word that makes no token, or that does not fit into ``max_tokens``.
        """
        tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        if isinstance(tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel):
            # Without the blank before it, a word in a text would be the end of the one before.
            tokenizer.pre_tokenizer.add_prefix_space = True
        encodings = tokenizer.encode_batch([list(row) for row in rows], is_pretokenized=True)
        places = []
        for row, encoding in zip(rows, encodings, strict=True):
            first: dict[int, int] = {}
            for place, word in enumerate(encoding.word_ids):
                if word is not None:
                    first.setdefault(word, place)
            places.append(tuple(first.get(word) for word in range(len(row))))
        return tuple(map(sequence_of, encodings)), tuple(places)

    def check_vocabulary(self, rows: int, model: Path) -> None:
        """Raise TokenizerError if the tokenizer knows an id that an embedding table of ``rows`` rows does not have."""
        largest = max(self.tokenizer.get_vocab().values())
        if largest >= rows:
            raise TokenizerError(
                f"{self.path} makes token ids up to {largest}, but {model} has {rows} tokens only; name the tokenizer "
                "of this model with `tokenizer`"
            )


def sequence_of(encoding: Any) -> TokenSequence:
    """Return the tokens of an encoding of `tokenizers`."""
    return TokenSequence(np.array(encoding.ids, dtype=np.int64), np.array(encoding.type_ids, dtype=np.int64))


def load_text_encoder(source: Path, config: ModelConfig, *, max_tokens: int | None = None) -> TextEncoder:
    """Load ``source``, a tokenizer.json or the folder of a tokenizer.

    Sequences are cut to ``max_tokens``, or if that is None to what the files of sentence-transformers say (``config``), or else
    to `DEFAULT_MAX_TOKENS`; and to the positions of the model and what tokenizer_config.json says, which those files overrule.

    Raises TokenizerError if the tokenizer is missing or broken, OptionError if ``max_tokens`` leaves no room for text.
    """
    tokenizer, path = load_tokenizer(source)
    settings = read_settings(path.parent)
    limits = config.text_limits
    wanted = (limits.max_tokens or DEFAULT_MAX_TOKENS) if max_tokens is None else max_tokens
    bounds = [wanted, config.max_tokens, None if limits.max_tokens else settings.get("model_max_length")]
    longest = int(min(bound for bound in bounds if bound is not None))
    special = tokenizer.num_special_tokens_to_add(is_pair=True)
    if longest <= special + 1:
        raise OptionError(f"`max_tokens` {longest} leaves no room for two texts beside {special} special tokens")
    padding = Padding(_pad_id(tokenizer, config, settings), left=_side(settings, "padding_side") == "left")
    changed = path.name != TOKENIZER_FILE and path.suffix != ".json"
    if limits.lower_case:
        changed |= lower_cased(tokenizer)
    # The file may ask for padding to a fixed length and for a truncation of its own.
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest, strategy="longest_first", direction=_side(settings, "truncation_side"))
    return TextEncoder(path, tokenizer, longest, padding, changed)


def _side(settings: Mapping[str, Any], key: str) -> str:
    return "left" if settings.get(key) == "left" else "right"


def _pad_id(tokenizer: Tokenizer, config: ModelConfig, settings: dict[str, Any]) -> int:
    """Find the padding id: tokenizer_config.json knows best, then config.json, then tokenizer.json.

    A model without padding of its own (GPT-2) gets 0, which the attention mask hides as well as any other id.
    """
    token = content_of(settings.get("pad_token"))
    named = None if token is None else tokenizer.token_to_id(token)
    if named is not None:
        return int(named)
    if config.pad_id is not None:
        return config.pad_id
    padding = tokenizer.padding
    return int(padding["pad_id"]) if padding else 0
