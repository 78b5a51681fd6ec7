"""What config.json says about a model, as far as scoring it needs to know."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squeeze_onnx.support.errors import ModelError

_POSITIONS_BEHIND_PADDING = frozenset(
    {"camembert", "ibert", "longformer", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl"}
)
"""Model types whose first token stands at position ``pad_token_id + 1``, as fairseq has it."""


@dataclass(frozen=True)
class ModelConfig:
    """A model's config.json; None and empty where it says nothing (or there is no such file).

    ``labels`` are the class names by class number, ``max_tokens`` is the longest sequence that has positions, and
    ``first_position`` the position of its first token.
    """

    path: Path | None = None
    architectures: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    vocabulary_size: int | None = None
    max_tokens: int | None = None
    first_position: int = 0
    pad_id: int | None = None

    @property
    def classifies_sequences(self) -> bool:
        """Say whether the model was saved with a class or regression head over whole sequences."""
        return any(name.endswith("ForSequenceClassification") for name in self.architectures)


def read_model_config(folder: Path) -> ModelConfig:
    """Read ``folder/config.json``; without the file nothing is known. Raises ModelError if it is malformed."""
    path = folder / "config.json"
    if not path.exists():
        return ModelConfig()
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
    )


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises ModelError if the file holds anything else."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is not a readable JSON file: {error}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} is not a JSON object")
    return values


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
