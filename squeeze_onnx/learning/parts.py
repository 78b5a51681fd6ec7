"""Text in parts: what a step of learning holds at once is a part of its batch, however large the batch is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import ceil

import onnx_ir as ir

from squeeze_onnx.data.calibration import CalibrationBatch, session_showing
from squeeze_onnx.data.positions import TOKENS

MOST_TOKENS = 256
"""What a part holds, padding included, if two sequences are no longer: few values between layers, yet full products."""

LEAST_SEQUENCES = 2
"""Of a part: the largest one shows which axes run over sequences, and one sequence would show an axis of 1."""


Tokens = Callable[[CalibrationBatch], int]
"""Returns how many tokens, patches or frames a sequence of a batch has."""


@dataclass(frozen=True)
class PartedText:
    """``parts`` of batches, batch by batch; those of batch i are from ``ends[i]`` to ``ends[i + 1]``.

    ``shapes`` are (sequences, tokens) of each part.
    """

    parts: tuple[CalibrationBatch, ...]
    ends: tuple[int, ...]
    shapes: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        """Return how many batches there are."""
        return len(self.ends) - 1

    def of(self, batch: int) -> range:
        """Return the indices of the parts of a batch."""
        return range(self.ends[batch], self.ends[batch + 1])

    def sequences(self, index: int) -> int:
        """Return how many sequences a part has."""
        return self.shapes[index][0]

    def most_telling(self) -> int:
        """Return the index of the part that shows best which axes are sequences and tokens: it has the most of both."""
        return max(range(len(self.parts)), key=lambda index: sorted(self.shapes[index]))


def in_parts(
    batches: Sequence[CalibrationBatch],
    model: ir.Model,
    tokens: Tokens | None = None,
    *,
    most_tokens: int = MOST_TOKENS,
) -> PartedText:
    """Cut ``batches`` along their sequences into parts of nearly the same size, no more than ``most_tokens`` or two sequences.

    ``tokens`` counts those of a sequence (None: as text has them). A batch stays whole if ``model`` fixes how many sequences it
    takes, or if an input does not run over the sequences.
    """
    count = tokens or tokens_of_text
    is_fixed = any(value.shape and isinstance(value.shape[0], int) for value in model.graph.inputs)
    cut = [[batch] if is_fixed else _cut(batch, most_tokens // max(count(batch), 1)) for batch in batches]
    ends = accumulate((len(parts) for parts in cut), initial=0)
    parts = tuple(part for parts in cut for part in parts)
    return PartedText(parts, tuple(ends), tuple((part.sequences, count(part)) for part in parts))


def tokens_of_text(batch: CalibrationBatch) -> int:
    """Return how many tokens the sequences of ``batch`` have; of what is no text, the size of the second axis."""
    shapes = [batch.feeds[name].shape for name in TOKENS if name in batch.feeds]
    shapes += [batch.mask.shape] if batch.mask is not None else []
    shapes += [array.shape for array in batch.feeds.values() if array.ndim > 1]
    return int(shapes[0][1])


def tokens_measured(model: ir.Model, value: str, batches: Sequence[CalibrationBatch], provider: str = "cpu") -> Tokens:
    """Return what counts the rows of ``value`` that each sequence has: of text its tokens, of images what two of them show.

    The rows of other sequences are as many as these have, in proportion to their size.
    """
    (example, *_) = _cut(batches[0], LEAST_SEQUENCES)
    if any(name in example.feeds for name in TOKENS):
        return tokens_of_text
    with session_showing(model, [value], provider) as session:
        (found,) = session.run([value], example.feeds)
    rows = found.size // found.shape[-1] / example.sequences
    return lambda batch: ceil(rows * _entries(batch) / _entries(example))


def _entries(batch: CalibrationBatch) -> float:
    """Return how many numbers the model is fed for a sequence."""
    return sum(array.size for array in batch.feeds.values()) / batch.sequences


def _cut(batch: CalibrationBatch, most_sequences: int) -> list[CalibrationBatch]:
    """Cut ``batch`` into parts of at most so many sequences, or `LEAST_SEQUENCES`."""
    sequences = batch.sequences
    if any(array.shape[:1] != (sequences,) for array in batch.feeds.values()):
        return [batch]
    count = -(-sequences // max(most_sequences, LEAST_SEQUENCES))
    places = [sequences * place // count for place in range(count + 1)]
    return [_sequences(batch, slice(*bounds)) for bounds in pairwise(places)]


def _sequences(batch: CalibrationBatch, wanted: slice) -> CalibrationBatch:
    feeds = {name: array[wanted] for name, array in batch.feeds.items()}
    return CalibrationBatch(feeds, None if batch.mask is None else batch.mask[wanted])
