"""Text in parts: what a step of learning holds at once is a part of its batch, however large the batch is."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import onnx_ir as ir

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.learning.losses import full_mask

MOST_TOKENS = 256
"""What a part holds, padding included, if two sequences are no longer: few values between layers, yet full products."""

LEAST_SEQUENCES = 2
"""Of a part: the largest one shows which axes run over sequences, and one sequence would show an axis of 1."""


@dataclass(frozen=True)
class PartedText:
    """``parts`` of batches, batch by batch; those of batch i are from ``ends[i]`` to ``ends[i + 1]``."""

    parts: tuple[CalibrationBatch, ...]
    ends: tuple[int, ...]

    def __len__(self) -> int:
        """Return how many batches there are."""
        return len(self.ends) - 1

    def of(self, batch: int) -> range:
        """Return the indices of the parts of a batch."""
        return range(self.ends[batch], self.ends[batch + 1])

    def sequences(self, index: int) -> int:
        """Return how many sequences a part has."""
        return _text_shape(self.parts[index])[0]

    def most_telling(self) -> int:
        """Return the index of the part that shows best which axes are sequences and tokens: it has the most of both."""
        return max(range(len(self.parts)), key=lambda index: sorted(_text_shape(self.parts[index])))


def in_parts(batches: Sequence[CalibrationBatch], model: ir.Model, *, most_tokens: int = MOST_TOKENS) -> PartedText:
    """Cut ``batches`` along their sequences into parts of nearly the same size, no more than ``most_tokens`` or two sequences.

    A batch stays whole if ``model`` fixes how many sequences it takes, or if an input does not run over the sequences.
    """
    is_fixed = any(value.shape and isinstance(value.shape[0], int) for value in model.graph.inputs)
    cut = [[batch] if is_fixed else _cut(batch, most_tokens) for batch in batches]
    ends = accumulate((len(parts) for parts in cut), initial=0)
    return PartedText(tuple(part for parts in cut for part in parts), tuple(ends))


def _cut(batch: CalibrationBatch, most_tokens: int) -> list[CalibrationBatch]:
    sequences, tokens = _text_shape(batch)
    if any(array.shape[:1] != (sequences,) for array in batch.feeds.values()):
        return [batch]
    count = -(-sequences // max(most_tokens // tokens, LEAST_SEQUENCES))
    places = [sequences * place // count for place in range(count + 1)]
    return [_sequences(batch, slice(*bounds)) for bounds in pairwise(places)]


def _text_shape(batch: CalibrationBatch) -> tuple[int, int]:
    sequences, tokens = full_mask(batch.feeds, batch.mask).shape
    return sequences, tokens


def _sequences(batch: CalibrationBatch, wanted: slice) -> CalibrationBatch:
    feeds = {name: array[wanted] for name, array in batch.feeds.items()}
    return CalibrationBatch(feeds, None if batch.mask is None else batch.mask[wanted])
