"""Token sequences to the arrays a graph takes: length-bucketed batches, padded no further than they must be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from squeeze_onnx.data.fixed_shape import ANY_SHAPE, TEXT_INPUTS, FixedShape
from squeeze_onnx.data.tokenization import Padding, TokenSequence
from squeeze_onnx.runtime.sessions import Session, ValueSpec
from squeeze_onnx.support.errors import ModelError


@dataclass(frozen=True, eq=False)
class Batch:
    """Padded sequences: ``rows`` are their numbers, the arrays int64 of shape (sequences, tokens); mask 1 = token.

    Where a graph takes more sequences than there are rows, those at the end are the first ones once more.
    """

    rows: np.ndarray
    ids: np.ndarray
    type_ids: np.ndarray
    mask: np.ndarray


MASK_INPUT = "attention_mask"

_DTYPES: Mapping[str, type[np.generic]] = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_MASK_DTYPES = {**_DTYPES, "tensor(bool)": np.bool_, "tensor(float)": np.float32, "tensor(float16)": np.float16}
"""A mask is 1 or 0 in other types as well."""

_CACHE_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_CACHE_NAMES = ("past", "cache")
"""How exporters call the keys and values of earlier tokens."""


@dataclass(frozen=True)
class FeedBuilder:
    """Makes a graph's inputs of a batch, by their names and types; ``first_position`` is that of the first token."""

    inputs: tuple[ValueSpec, ...]
    first_position: int = 0

    @classmethod
    def for_session(cls, session: Session, *, first_position: int = 0) -> "FeedBuilder":
        """Return that of an open model; raises as `for_inputs` does."""
        return cls.for_inputs(session.label, session.inputs, first_position=first_position)

    @classmethod
    def for_inputs(cls, label: str, inputs: Sequence[ValueSpec], *, first_position: int = 0) -> "FeedBuilder":
        """Raise ModelError for an input of the model ``label`` that text does not determine, or one of an unexpected type."""
        for value in inputs:
            if _is_cache(value):
                continue
            if value.name not in TEXT_INPUTS:
                raise ModelError(
                    f"{label} has an input {value.name!r}; a text model is fed {', '.join(TEXT_INPUTS)} and an empty cache "
                    "only: give an .npz of all inputs instead"
                )
            if value.type not in _types_of(value):
                known = ", ".join(_types_of(value))
                raise ModelError(
                    f"{label}: input {value.name!r} is a {value.type}, none of {known}: give an .npz of all inputs"
                )
        return cls(tuple(inputs), first_position)

    @property
    def takes_mask(self) -> bool:
        """Say whether the graph can tell padding from text."""
        return any(value.name == MASK_INPUT for value in self.inputs)

    @property
    def fixed(self) -> FixedShape:
        """The shape that the graph was exported for."""
        return FixedShape.of((value.name, value.shape) for value in self.inputs)

    def feeds(self, batch: Batch) -> dict[str, np.ndarray]:
        """Return the arrays to run the graph on."""
        before = np.argmax(batch.mask, axis=1)[:, np.newaxis]  # padding on the left
        positions = self.first_position + np.maximum(np.arange(batch.ids.shape[1]) - before, 0)
        arrays = dict(zip(TEXT_INPUTS, (batch.ids, batch.mask, batch.type_ids, positions), strict=True))
        return {
            value.name: _empty_cache(value, len(batch.ids))
            if _is_cache(value)
            else arrays[value.name].astype(_types_of(value)[value.type])
            for value in self.inputs
        }


def _types_of(value: ValueSpec) -> Mapping[str, type[np.generic]]:
    return _MASK_DTYPES if value.name == MASK_INPUT else _DTYPES


def _is_cache(value: ValueSpec) -> bool:
    """Whether an input takes the keys or values of earlier tokens: (sequences, …, earlier tokens, …) of floats."""
    named = any(word in value.name for word in _CACHE_NAMES)
    return named and value.type in _CACHE_DTYPES and any(not isinstance(size, int) for size in value.shape[1:])


def _empty_cache(value: ValueSpec, sequences: int) -> np.ndarray:
    """Return the keys or values of no token at all."""
    sizes = (size if isinstance(size, int) else 0 for size in value.shape[1:])
    return np.zeros((sequences, *sizes), _CACHE_DTYPES[value.type])


def make_batches(
    sequences: Sequence[TokenSequence],
    batch_size: int,
    *,
    padding: Padding,
    may_pad: bool = True,
    fixed: FixedShape = ANY_SHAPE,
) -> list[Batch]:
    """Put sequences of like length together, shortest first, at most ``batch_size`` at a time.

    With ``may_pad`` False (a graph without attention mask would read the padding) only equal lengths share a batch. A graph of a
    ``fixed`` shape gets that: every sequence padded to its length, and the last batch filled up with its own sequences.
    """

    def length(row: int) -> int:
        return len(sequences[row])

    size = fixed.batch or batch_size
    by_length = sorted(range(len(sequences)), key=length)
    one_group = may_pad or fixed.tokens is not None
    groups = [by_length] if one_group else [list(rows) for _, rows in groupby(by_length, key=length)]
    return [
        _pad(group[start : start + size], sequences, padding, fixed)
        for group in groups
        for start in range(0, len(group), size)
    ]


def _pad(rows: Sequence[int], sequences: Sequence[TokenSequence], padding: Padding, fixed: FixedShape) -> Batch:
    filled = np.resize(np.array(rows), fixed.batch or len(rows))
    shape = (len(filled), fixed.tokens or max(len(sequences[row]) for row in rows))
    batch = Batch(
        np.array(rows), np.full(shape, padding.token, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    )
    for index, row in enumerate(filled):
        length = len(sequences[row])
        place = slice(shape[1] - length, None) if padding.left else slice(length)
        batch.ids[index, place] = sequences[row].ids
        batch.type_ids[index, place] = sequences[row].type_ids
        batch.mask[index, place] = 1
    return batch
