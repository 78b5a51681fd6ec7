"""What models are timed on: random tokens, or rows of inputs that somebody saved."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from squeeze_onnx.data.batches import Batch, FeedBuilder
from squeeze_onnx.data.saved_inputs import read_saved_inputs
from squeeze_onnx.evaluate.bench_config import Shape
from squeeze_onnx.runtime.sessions import Feeds, ValueSpec

Feeder = Callable[[Shape, int], Feeds]
"""Returns the inputs of a model at a shape, (batch size, sequence length); another number gives other ones."""


def random_batch(shape: Shape, vocabulary: int, *, seed: int) -> Batch:
    """Return tokens of a vocabulary, without padding."""
    rows, length = shape
    assert length is not None, "tokens have one"
    ids = np.random.default_rng(seed).integers(vocabulary, size=(rows, length), dtype=np.int64)
    return Batch(np.arange(rows), ids, np.zeros(ids.shape, np.int64), np.ones(ids.shape, np.int64))


def random_tokens(builder: FeedBuilder, vocabulary: int) -> Feeder:
    """Return what feeds a model with tokens of a vocabulary."""
    return lambda shape, seed: builder.feeds(random_batch(shape, vocabulary, seed=seed))


def saved_rows(path: Path, inputs: Sequence[ValueSpec]) -> Feeder:
    """Return what feeds a model with these ``inputs`` with the rows of an .npz, the first ones again where there are too few.

    Raises DataError as `data.saved_inputs.read_saved_inputs` does.
    """
    saved = read_saved_inputs(path, inputs, "`data`")

    def feeds(shape: Shape, number: int) -> Feeds:
        rows = (np.arange(shape[0]) + number * shape[0]) % len(saved)
        return saved.cut(rows, shape[0])[0].feeds

    return feeds
