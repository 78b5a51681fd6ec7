"""Texts to token ids, with the model's own tokenizer.json."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from squeeze_onnx.data.model_config import ModelConfig, read_json_object
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


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """A tokenizer that truncates to ``max_tokens``, special tokens included; ``pad_id`` fills up shorter sequences."""

    path: Path
    tokenizer: Tokenizer
    max_tokens: int
    pad_id: int

    def encode(self, texts: Sequence[tuple[str, ...]]) -> tuple[TokenSequence, ...]:
        """Encode sentences (1-tuples) and pairs (2-tuples); the longer text of a pair is truncated first."""
        encodings = self.tokenizer.encode_batch([row if len(row) > 1 else row[0] for row in texts])
        sequences = tuple(
            TokenSequence(np.array(encoding.ids, dtype=np.int64), np.array(encoding.type_ids, dtype=np.int64))
            for encoding in encodings
        )
        for row, sequence in zip(texts, sequences, strict=True):
            if not len(sequence):
                raise TokenizerError(f"{self.path} makes no token of {' / '.join(row)!r}")
        return sequences

    def check_vocabulary(self, rows: int, model: Path) -> None:
        """Raise TokenizerError if the tokenizer knows an id that an embedding table of ``rows`` rows does not have."""
        largest = max(self.tokenizer.get_vocab().values())
        if largest >= rows:
            raise TokenizerError(
                f"{self.path} makes token ids up to {largest}, but {model} has {rows} tokens only; name the tokenizer "
                "of this model with --tokenizer"
            )


def load_text_encoder(source: Path, config: ModelConfig, *, max_tokens: int = DEFAULT_MAX_TOKENS) -> TextEncoder:
    """Load ``source``, a tokenizer.json or the folder of one.

    ``max_tokens`` is lowered to what the model (``config``) and tokenizer_config.json can take. Raises TokenizerError
    if the file is missing or broken, OptionError if ``max_tokens`` leaves no room for text.
    """
    path = source / "tokenizer.json" if source.is_dir() else source
    if not path.is_file():
        raise TokenizerError(f"{path} does not exist; name a tokenizer.json, or the folder of one, with --tokenizer")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers has no exception class of its own
        raise TokenizerError(f"{path} is not a tokenizer that `tokenizers` can read: {error}") from error
    settings_path = path.with_name("tokenizer_config.json")
    settings = read_json_object(settings_path) if settings_path.exists() else {}
    limits = [max_tokens, config.max_tokens, settings.get("model_max_length")]
    longest = int(min(limit for limit in limits if limit is not None))
    special = tokenizer.num_special_tokens_to_add(is_pair=True)
    if longest <= special + 1:
        raise OptionError(f"--max-length {longest} leaves no room for two texts beside {special} special tokens")
    pad_id = _pad_id(tokenizer, config, settings)
    # The file may ask for padding to a fixed length and for a truncation of its own.
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest, strategy="longest_first")
    return TextEncoder(path, tokenizer, longest, pad_id)


def _pad_id(tokenizer: Tokenizer, config: ModelConfig, settings: dict[str, Any]) -> int:
    """Find the padding id: tokenizer_config.json knows best, then config.json, then tokenizer.json.

    A model without padding of its own (GPT-2) gets 0, which the attention mask hides as well as any other id.
    """
    token = settings.get("pad_token")
    if isinstance(token, dict):
        token = token.get("content")
    named = tokenizer.token_to_id(token) if isinstance(token, str) else None
    if named is not None:
        return int(named)
    if config.pad_id is not None:
        return config.pad_id
    padding = tokenizer.padding
    return int(padding["pad_id"]) if padding else 0
