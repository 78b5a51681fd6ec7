"""What the files beside a model say about it, as far as scoring it needs to know."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from squeeze_onnx.data.embedding import Activation, Embedding, EmbeddingModule
from squeeze_onnx.data.embedding_files import (
    NOTHING_ASKED,
    EmbeddingOptions,
    parse_pooling,
    read_embedding,
    tells_of_embeddings,
)
from squeeze_onnx.data.embedding_modules import (
    check_modules,
    read_activation,
    read_token_modules,
    vectors_of_tokens,
)
from squeeze_onnx.data.fixed_shape import FixedShape
from squeeze_onnx.data.json_files import read_json_object
from squeeze_onnx.data.prompts import read_prompt
from squeeze_onnx.data.repository import CONFIG_FILE, SETTINGS_FILE, Repository, repository_of
from squeeze_onnx.data.sentence_files import NO_LIMITS, TextLimits, read_sentence_config, read_text_limits
from squeeze_onnx.data.stored_output import StoredOutput, read_stored_output
from squeeze_onnx.support.errors import ModelError

_POSITIONS_BEHIND_PADDING = frozenset(
    {"camembert", "ibert", "longformer", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl"}
)
"""Model types whose first token stands at position ``pad_token_id + 1``, as fairseq has it."""


_UNLIMITED = 10**9


@dataclass(frozen=True)
class ModelConfig:
    """A model's config.json; None and empty where it says nothing (or there is no such file).

    ``labels`` are the class names by class number, ``max_tokens`` is the longest sequence that has positions, and
    ``first_position`` the position of its first token. ``score_activation`` is what a CrossEncoder puts its one logit through.
    With ``several_labels`` a text has any number of them, each by a sigmoid of its own.

    The rest is what sentence-transformers says: ``text_limits`` of the encoder, and ``repository``, whose further files are read
    when a text's embedding is asked for (`embedding`), with what was ``asked`` on the command line. ``stored`` is an output of
    embeddings to be stored, where `optimize` wrote one.
    """

    path: Path | None = None
    architectures: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    vocabulary_size: int | None = None
    max_tokens: int | None = None
    first_position: int = 0
    pad_id: int | None = None
    score_activation: Activation | None = None
    several_labels: bool = False
    text_limits: TextLimits = NO_LIMITS
    repository: Repository | None = None
    asked: EmbeddingOptions = NOTHING_ASKED
    stored: StoredOutput | None = None

    @property
    def classifies_sequences(self) -> bool:
        """Say whether the model was saved with a class or regression head over whole sequences."""
        return any(name.endswith("ForSequenceClassification") for name in self.architectures)

    @property
    def tells_of_embeddings(self) -> bool:
        """Say whether any file of sentence-transformers lies in the repository."""
        return self.repository is not None and tells_of_embeddings(self.repository)

    def for_shape(self, fixed: FixedShape) -> "ModelConfig":
        """Return this with no longer sequences than a graph of this shape takes."""
        return replace(self, max_tokens=fixed.most(self.max_tokens))

    def embedding(self) -> Embedding:
        """Read what the embedding of a text is; raises as `read_embedding` does. Without a repository it is assumed."""
        if self.repository is None:
            pooling = self.asked.pooling
            return Embedding(parse_pooling(pooling), source="`pooling`") if pooling else Embedding()
        return read_embedding(self.repository, self.asked)

    @property
    def answers_by_token(self) -> bool:
        """Say whether each token has a vector that is an answer: what is asked for, or said by the files, as PyLate's do."""
        if self.asked.pooling is not None or self.repository is None:
            return self.asked.unpooled
        return vectors_of_tokens(self.repository)

    def token_modules(self) -> tuple[EmbeddingModule, ...]:
        """Read what the vector of a token goes through; raises RepositoryError for files that cannot be followed."""
        return () if self.repository is None else read_token_modules(self.repository)

    def check_modules(self) -> None:
        """Raise RepositoryError for a module whose part in an answer is not known, unless what the answer is was said."""
        if self.repository is not None and self.asked.answer is None and self.asked.pooling is None:
            check_modules(self.repository)

    def prompt(self) -> str:
        """Read the text that stands before every other; raises RepositoryError for a file that is malformed."""
        return "" if self.repository is None else read_prompt(self.repository, self.asked.prompt).text


def read_settings(model: Path, asked: EmbeddingOptions = NOTHING_ASKED) -> ModelConfig:
    """Read what lies beside the .onnx file ``model``, wherever its repository has it.

    Raises ModelError for a malformed config.json, RepositoryError for another file that is.
    """
    repository = repository_of(model)
    path = repository.find(CONFIG_FILE)
    config = ModelConfig() if path is None else _read(path)
    return replace(
        config,
        score_activation=config.score_activation or _default_activation(repository),
        text_limits=_text_limits(repository, config),
        repository=repository,
        asked=asked,
        stored=read_stored_output(repository),
    )


def _text_limits(repository: Repository, config: ModelConfig) -> TextLimits:
    """Return what sentence-transformers cuts texts to: what the tokenizer says where its own file does not (version 5.7)."""
    limits = read_text_limits(repository)
    longest = read_sentence_config(repository).document_tokens
    if longest is not None:
        return replace(limits, max_tokens=longest)
    if limits.max_tokens is not None or not repository.modules:
        return limits
    path = repository.find(SETTINGS_FILE)
    told = None if path is None else read_json_object(path).get("model_max_length")
    # A tokenizer without a limit says 1e30.
    bounds = [bound for bound in (told, config.max_tokens) if isinstance(bound, int) and 0 < bound < _UNLIMITED]
    return replace(limits, max_tokens=min(bounds, default=None))


def read_model_config(folder: Path) -> ModelConfig:
    """Read ``folder/config.json``; without the file nothing is known. Raises ModelError if it is malformed."""
    path = folder / CONFIG_FILE
    return _read(path) if path.exists() else ModelConfig()


def _read(path: Path) -> ModelConfig:
    values = read_json_object(path)
    pad_id = _optional_int(path, values, "pad_token_id")
    positions = _optional_int(path, values, "max_position_embeddings") or _optional_int(path, values, "n_positions")
    first_position = 0
    if values.get("model_type") in _POSITIONS_BEHIND_PADDING:
        first_position = (1 if pad_id is None else pad_id) + 1
    return ModelConfig(
        path=path,
        architectures=tuple(values.get("architectures") or ()),
        labels=_labels(path, values.get("id2label") or {}),
        vocabulary_size=_optional_int(path, values, "vocab_size"),
        max_tokens=None if positions is None else positions - first_position,
        first_position=first_position,
        pad_id=pad_id,
        score_activation=_score_activation(path, values),
        several_labels=values.get("problem_type") == "multi_label_classification",
    )


def _score_activation(path: Path, values: Mapping[str, Any]) -> Activation | None:
    """Return what a CrossEncoder's config.json names, in the forms of versions 1 to 6; None for other models."""
    section = values.get("sentence_transformers")
    named = section.get("activation_fn") if isinstance(section, dict) else None
    named = named or values.get("sbert_ce_default_activation_function")
    return None if named is None else read_activation(path, named)


def _default_activation(repository: Repository) -> Activation | None:
    """Return that of a CrossEncoder whose config.json names none: what its own file names, or the sigmoid."""
    config = read_sentence_config(repository)
    if config.model_type != "CrossEncoder" or config.path is None:
        return None
    return Activation.SIGMOID if config.activation is None else read_activation(config.path, config.activation)


def _optional_int(path: Path, values: Mapping[str, Any], key: str) -> int | None:
    value = values.get(key)
    if value is not None and (not isinstance(value, int) or value < 0):
        raise ModelError(f"{path}: {key} is {value!r}, not a number")
    return value


def _labels(path: Path, names_by_id: Any) -> tuple[str, ...]:
    if not isinstance(names_by_id, dict):
        raise ModelError(f"{path}: id2label is not an object: {names_by_id!r}")
    numbers = [str(number) for number in range(len(names_by_id))]
    if set(names_by_id) != set(numbers):
        raise ModelError(f"{path}: id2label does not number its labels 0, 1, 2 …: {', '.join(names_by_id)}")
    return tuple(str(names_by_id[number]) for number in numbers)
