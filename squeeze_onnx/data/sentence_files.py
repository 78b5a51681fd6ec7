"""What sentence-transformers writes about the whole of a model: sequence length and case, prompts, dimensions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from squeeze_onnx.data.json_files import read_json_object
from squeeze_onnx.data.repository import Repository
from squeeze_onnx.data.similarity import Similarity
from squeeze_onnx.support.errors import RepositoryError

_TRANSFORMER_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""How the encoder is called; the names of older versions follow."""

_MODEL_FILE = "config_sentence_transformers.json"

_LARGEST_COSINES = "MaxSim"
_QUERY, _DOCUMENT = "query", "document"


@dataclass(frozen=True)
class TextLimits:
    """What sentence_bert_config.json says: the longest sequence in tokens (None: nothing), and whether text is lower-cased."""

    max_tokens: int | None = None
    lower_case: bool = False


NO_LIMITS = TextLimits()


@dataclass(frozen=True)
class SentenceConfig:
    """What config_sentence_transformers.json says; ``path`` is None without the file.

    ``prompts`` are texts by name, ``default_prompt`` is the name of the one that is used unless another is asked for,
    ``dimensions`` how many of an embedding count (None: all), ``model_type`` the class that wrote it, ``similarity`` how two
    embeddings are compared; ``compares_tokens`` says that each token has a vector, compared by the largest cosines (ColBERT), and
    ``document_tokens`` how long such a text may be.
    """

    path: Path | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    dimensions: int | None = None
    model_type: str | None = None
    activation: str | None = None
    similarity: Similarity = Similarity.COSINE
    compares_tokens: bool = False
    document_tokens: int | None = None


def compares_tokens(repository: Repository) -> bool:
    """Say whether config_sentence_transformers.json has vectors of tokens compared."""
    return read_sentence_config(repository).compares_tokens


def read_text_limits(repository: Repository) -> TextLimits:
    """Read the file of the encoder; raises RepositoryError if it is malformed."""
    path = repository.find(*_TRANSFORMER_FILES)
    if path is None:
        return NO_LIMITS
    values = read_json_object(path, RepositoryError)
    longest = _count(path, values, "max_seq_length")
    return TextLimits(longest, bool(values.get("do_lower_case", False)))


def read_sentence_config(repository: Repository) -> SentenceConfig:
    """Read config_sentence_transformers.json; raises RepositoryError if it is malformed."""
    path = repository.root / _MODEL_FILE
    if not path.is_file():
        return SentenceConfig()
    values = read_json_object(path, RepositoryError)
    return SentenceConfig(
        path,
        _prompts(path, values.get("prompts") or {}) | _prefixes(path, values),
        _name(path, values, "default_prompt_name") or (_DOCUMENT if values.get(f"{_DOCUMENT}_prefix") else None),
        _count(path, values, "truncate_dim", "dimensions"),
        _name(path, values, "model_type"),
        _name(path, values, "activation_fn"),
        _similarity(path, values),
        values.get("similarity_fn_name") == _LARGEST_COSINES,
        _count(path, values, "document_length"),
    )


def _prompts(path: Path, given: Any) -> dict[str, str]:
    if not isinstance(given, dict) or not all(isinstance(text, str | None) for text in given.values()):
        raise RepositoryError(f"{path}: prompts are texts by name; got {given!r}")
    return {name: text or "" for name, text in given.items()}


def _prefixes(path: Path, values: Mapping[str, Any]) -> dict[str, str]:
    """Return PyLate's tokens before queries and documents, which come after [CLS] as a prompt's do."""
    return {kind: text for kind in (_QUERY, _DOCUMENT) if (text := _name(path, values, f"{kind}_prefix"))}


def _name(path: Path, values: Mapping[str, Any], key: str) -> str | None:
    value = values.get(key)
    if value is not None and not isinstance(value, str):
        raise RepositoryError(f"{path}: {key} is {value!r}, not a name")
    return value


def _similarity(path: Path, values: Mapping[str, Any]) -> Similarity:
    name = _name(path, values, "similarity_fn_name") or Similarity.COSINE
    if name == _LARGEST_COSINES:
        return Similarity.COSINE
    if name not in [*Similarity]:
        raise RepositoryError(
            f"{path}: similarity_fn_name is {name!r}, none of {', '.join(Similarity)}: correct it, or leave it out for the cosine"
        )
    return Similarity(name)


def _count(path: Path, values: Mapping[str, Any], key: str, of: str = "tokens") -> int | None:
    given = values.get(key)
    if given is not None and (not isinstance(given, int) or given < 1):
        raise RepositoryError(f"{path}: {key} is {given!r}, not a number of {of}")
    return given
