"""What those who read the folder are told: embedding_config.json of this package, and modules of sentence-transformers.

The graph keeps its output of tokens, of which sentence-transformers makes embeddings itself: with the map as a `Dense` module it
comes to the same numbers before they are stored, as floats.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from squeeze_onnx.data.companions import POOLING_FILE
from squeeze_onnx.data.embedding import Normalize
from squeeze_onnx.data.embedding_files import POOLING_FLAGS
from squeeze_onnx.data.repository import CONFIG_FILE, MODULES_FILE, Repository
from squeeze_onnx.data.safetensors import write_safetensors
from squeeze_onnx.data.stored_output import STORED_FILE, StoredOutput
from squeeze_onnx.evaluate.answer_heads import SentenceEmbedding, TokenEmbeddings
from squeeze_onnx.spectral.embedding_maps import EmbeddingMap

_TYPE = "sentence_transformers.models."
_IDENTITY = "torch.nn.modules.linear.Identity"


@dataclass(frozen=True, eq=False)
class Shrunk:
    """An output that was added: what reads the model's own embedding, of so many ``features`` a token or text (as the graph
    returns it), what it is mapped by, and how it is stored."""

    head: SentenceEmbedding
    features: int
    map: EmbeddingMap
    stored: StoredOutput

    @property
    def width(self) -> int:
        """How many numbers an embedding has before the model's own files cut it."""
        return replace(self.head.embedding, dimensions=None).width_of(self._pooled)

    @property
    def _pooled(self) -> int:
        pooled = isinstance(self.head, TokenEmbeddings)
        return self.features * (len(self.head.embedding.pooling) if pooled else 1)


def write_files(folder: Path, repository: Repository, shrunk: Shrunk) -> None:
    """Write into ``folder``, where the companions of ``repository`` lie, how the output that was added is read.

    modules.json is written too, but for a graph that pools by itself and has none: nobody could pool what it returns.
    """
    head, mapped = shrunk.head, shrunk.map
    _write(folder / STORED_FILE, shrunk.stored.to_json())
    modules = folder / MODULES_FILE
    if not modules.is_file():
        if not isinstance(head, TokenEmbeddings):
            return
        _write(modules, _first_modules(folder, repository, shrunk))
    entries = json.loads(modules.read_text(encoding="utf-8"))
    for kind in _following(head, mapped):
        number = len(entries)
        place = f"{number}_{kind}"
        entries.append({"idx": number, "name": str(number), "path": place, "type": f"{_TYPE}{kind}"})
        if kind == "Dense":
            (folder / place).mkdir(exist_ok=True)
            _write_dense(folder / place, mapped, shrunk.width)
    _write(modules, entries)


def _following(head: SentenceEmbedding, mapped: EmbeddingMap) -> list[str]:
    """Return the kinds of modules that come after those that are there."""
    modules = head.embedding.modules
    last = isinstance(modules[-1], Normalize) if modules else not isinstance(head, TokenEmbeddings)
    before = ["Normalize"] if mapped.normalized and not last else []
    if not mapped.changes:
        return before
    return [*before, "Dense", *(["Normalize"] if mapped.normalized else [])]


def _first_modules(folder: Path, repository: Repository, shrunk: Shrunk) -> list[dict[str, Any]]:
    """Return the entries of encoder and pooling of a model that had none, and write what the pooling is unless it is there."""
    pooling = folder / POOLING_FILE
    if not pooling.is_file():
        pooling.parent.mkdir(exist_ok=True)
        flags = {flag: name in shrunk.head.embedding.pooling for flag, name in POOLING_FLAGS.items()}
        _write(pooling, {"word_embedding_dimension": shrunk.features, **flags})
    encoder = repository.encoder.as_posix()
    places = {"Transformer": "" if encoder == "." else encoder, "Pooling": POOLING_FILE.parent.as_posix()}
    return [
        {"idx": number, "name": str(number), "path": path, "type": f"{_TYPE}{kind}"}
        for number, (kind, path) in enumerate(places.items())
    ]


def _write_dense(folder: Path, mapped: EmbeddingMap, width: int) -> None:
    axes = np.zeros((width, mapped.dimensions))
    axes[: len(mapped.axes)] = mapped.axes
    config = {"in_features": width, "out_features": mapped.dimensions, "bias": True, "activation_function": _IDENTITY}
    _write(folder / CONFIG_FILE, config)
    write_safetensors(folder / "model.safetensors", {"linear.weight": axes.T, "linear.bias": mapped.bias})


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
