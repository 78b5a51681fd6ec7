"""What the embedding of a text is: a prompt before it, pooling over its tokens, and modules that follow.

The definitions are those of sentence-transformers (Reimers & Gurevych 2019, arXiv 1908.10084; version 6.2 of the package).
Arrays are float64, one row a text.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from scipy.special import erf, expit

from squeeze_onnx.data.similarity import Similarity

_LEAST = 1e-9
"""Denominators are at least that, so that a text without tokens has the zero vector."""

_SHORTEST = 1e-12
"""A vector shorter than that is not lengthened to 1."""


class Pooling(StrEnum):
    """How the vectors of tokens become one, by the names of sentence-transformers."""

    CLS = "cls"
    MAX = "max"
    MEAN = "mean"
    MEAN_SQRT_LENGTH = "mean_sqrt_len_tokens"
    WEIGHTED_MEAN = "weightedmean"
    LAST = "lasttoken"


class Activation(StrEnum):
    """The functions after a `DenseLayer` module, by the names of their classes in PyTorch."""

    IDENTITY = "Identity"
    TANH = "Tanh"
    RELU = "ReLU"
    GELU = "GELU"
    SIGMOID = "Sigmoid"
    SILU = "SiLU"

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Return the function of every entry."""
        match self:
            case Activation.TANH:
                return np.asarray(np.tanh(rows))
            case Activation.RELU:
                return np.asarray(np.maximum(rows, 0))
            case Activation.GELU:
                return np.asarray(rows * 0.5 * (1 + erf(rows / np.sqrt(2))))
            case Activation.SIGMOID:
                return np.asarray(expit(rows))
            case Activation.SILU:
                return np.asarray(rows * expit(rows))
            case _:
                return rows


class EmbeddingModule(Protocol):
    """What may follow the pooling."""

    @property
    def in_features(self) -> int | None:
        """How many numbers it takes; None for any."""
        ...

    @property
    def out_features(self) -> int | None:
        """How many numbers it returns; None for as many as it takes."""
        ...

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Map (texts, in) to (texts, out)."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return plain values that tell it from any other."""
        ...


@dataclass(frozen=True)
class DenseLayer:
    """activation(x W + b), plus x or x R if there is a residual connection.

    ``weight`` and ``residual`` have shape (in, out), ``bias`` (out,); ``file`` is where they come from, relative to the
    repository, and ``sha256`` tells it from others: two modules are equal if these are.
    """

    file: str
    sha256: str
    activation: Activation
    adds_input: bool
    weight: np.ndarray = field(compare=False, repr=False)
    bias: np.ndarray | None = field(compare=False, repr=False, default=None)
    residual: np.ndarray | None = field(compare=False, repr=False, default=None)

    @property
    def in_features(self) -> int:
        """See Module."""
        return int(self.weight.shape[0])

    @property
    def out_features(self) -> int:
        """See Module."""
        return int(self.weight.shape[1])

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """See Module."""
        product = rows @ self.weight
        found = self.activation.apply(product if self.bias is None else product + self.bias)
        if not self.adds_input:
            return found
        return np.asarray(found + (rows if self.residual is None else rows @ self.residual))

    def to_json(self) -> dict[str, Any]:
        """See Module."""
        return {
            "type": "Dense",
            "file": self.file,
            "sha256": self.sha256,
            "in_features": self.in_features,
            "out_features": self.out_features,
            "activation": str(self.activation),
            "bias": self.bias is not None,
            "adds_input": self.adds_input,
        }


@dataclass(frozen=True)
class LayerNorm:
    """(x − mean)/√(variance + ε) times ``weight`` plus ``bias``, each (features,); ``file`` and ``sha256`` as of `DenseLayer`."""

    file: str
    sha256: str
    weight: np.ndarray = field(compare=False, repr=False)
    bias: np.ndarray = field(compare=False, repr=False)

    EPSILON = 1e-5

    @property
    def in_features(self) -> int:
        """See Module."""
        return len(self.weight)

    out_features = in_features

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """See Module."""
        centred = rows - rows.mean(axis=-1, keepdims=True)
        scale = np.sqrt(np.mean(np.square(centred), axis=-1, keepdims=True) + self.EPSILON)
        return np.asarray(centred / scale * self.weight + self.bias)

    def to_json(self) -> dict[str, Any]:
        """See Module."""
        return {"type": "LayerNorm", "file": self.file, "sha256": self.sha256, "in_features": self.in_features}


@dataclass(frozen=True)
class Normalize:
    """x/‖x‖."""

    in_features = None
    out_features = None

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """See Module."""
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), _SHORTEST))

    def to_json(self) -> dict[str, Any]:
        """See Module."""
        return {"type": "Normalize"}


@dataclass(frozen=True)
class Embedding:
    """What the embedding of a text is.

    ``pooling`` names one way or several, whose results are joined; ``prompt`` stands before every text, and if it is not
    ``include_prompt``, its ``prompt_tokens`` are not pooled. ``modules`` follow in order; the first ``dimensions`` of what they
    return are the embedding (None: all). ``prompts`` are the names of those that can be asked for.
    ``source`` says where the pooling was read, and is None if it is assumed. ``similarity`` is how two of them are compared.
    """

    pooling: tuple[Pooling, ...] = (Pooling.MEAN,)
    modules: tuple[EmbeddingModule, ...] = ()
    dimensions: int | None = None
    prompt: str = ""
    include_prompt: bool = True
    prompt_tokens: int = 0
    prompts: tuple[str, ...] = ()
    source: str | None = None
    similarity: Similarity = Similarity.COSINE

    @property
    def unpooled(self) -> int:
        """How many of the first tokens of a text are not pooled."""
        return 0 if self.include_prompt else self.prompt_tokens

    @property
    def in_features(self) -> int | None:
        """How many numbers the modules take; None for any."""
        return next((module.in_features for module in self.modules if module.in_features is not None), None)

    def width_of(self, features: int) -> int:
        """Return how many numbers the embedding has, made of so many pooled ``features``."""
        for module in self.modules:
            features = module.out_features or features
        return features if self.dimensions is None else min(features, self.dimensions)

    def outside_of_graph(self, features: int | None) -> "Embedding":
        """Return what is left to do with embedding of so many ``features`` (None: unknown) that a graph returns.

        A graph that pools contains the modules too, as sentence-transformers' models are exported, unless what it returns is as
        wide as what they take and not as what they return. To normalize it again changes nothing.
        """
        weighted = [index for index, module in enumerate(self.modules) if module.in_features is not None]
        if not weighted:
            return self
        outside = features == self.in_features != self.modules[weighted[-1]].out_features
        return self if outside else replace(self, modules=self.modules[weighted[-1] + 1 :])

    def of_tokens(self, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return the embeddings of ``tokens`` (texts, tokens, features) where ``mask`` (texts, tokens) says which are text."""
        return self.of_pooled(pool(self.pooling, tokens.astype(np.float64), mask, unpooled=self.unpooled))

    def of_pooled(self, rows: np.ndarray) -> np.ndarray:
        """Return the embeddings of what is pooled already, (texts, features)."""
        for module in self.modules:
            rows = module.apply(rows)
        return rows if self.dimensions is None else rows[:, : self.dimensions]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "pooling": [str(name) for name in self.pooling],
            "modules": [module.to_json() for module in self.modules],
            "dimensions": self.dimensions,
            "prompt": self.prompt,
            "include_prompt": self.include_prompt,
            "prompt_tokens": self.prompt_tokens,
            "prompts": list(self.prompts),
            "source": self.source,
        }


MEAN_OF_TOKENS = Embedding()
"""What an embedding is unless something says otherwise."""


def pool(names: tuple[Pooling, ...], tokens: np.ndarray, mask: np.ndarray, *, unpooled: int = 0) -> np.ndarray:
    """Pool ``tokens`` (texts, tokens, features) by each of ``names`` and join the results, (texts, names × features).

    ``mask`` (texts, tokens) is 1 at text, wherever the padding stands; of each text the first ``unpooled`` tokens are left out.
    """
    text = mask.astype(np.float64)
    places = np.cumsum(text, axis=1) * text
    counted = text * (places > unpooled)
    return np.concatenate([_pooled(name, tokens, counted, places) for name in names], axis=1)


def _pooled(name: Pooling, tokens: np.ndarray, counted: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Pool the tokens that are ``counted``; ``places`` are 1, 2, 3 … along each text."""
    if name is Pooling.MAX:
        return np.asarray(np.max(np.where(counted[:, :, np.newaxis] > 0, tokens, -np.inf), axis=1))
    weights = _weights(name, counted, places)
    summed = np.asarray(np.einsum("stf,st->sf", tokens, weights))
    if name in (Pooling.CLS, Pooling.LAST):
        return summed
    total = np.maximum(weights.sum(axis=1, keepdims=True), _LEAST)
    return np.asarray(summed / (np.sqrt(total) if name is Pooling.MEAN_SQRT_LENGTH else total))


def _weights(name: Pooling, counted: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return what counts how much, (texts, tokens); all ways of pooling but `Pooling.MAX` are sums with weights."""
    match name:
        case Pooling.CLS:
            return np.asarray(counted * (np.cumsum(counted, axis=1) == 1))
        case Pooling.LAST:
            return np.asarray(counted * (np.cumsum(counted[:, ::-1], axis=1)[:, ::-1] == 1))
        case Pooling.WEIGHTED_MEAN:
            return np.asarray(counted * places)
        case _:
            return counted
