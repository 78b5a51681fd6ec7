"""Losses as nodes of the graph: how far the student's values are from the teacher's, padding left out.

Every head compares one value of the graph with the same value of the teacher, which is computed beforehand and fed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx_ir as ir

from squeeze_onnx.learning.emitter import Emitter
from squeeze_onnx.support.errors import OptionError

LOSS = "loss"
"""The output that is minimized: the weighted sum of the heads' losses."""

MASK = "loss/mask"
"""The float32 input (sequences, tokens) that is 1 at text and 0 at padding."""

_TINY = 1e-12
"""Keeps roots and quotients of zeros finite."""


class LossHead(Protocol):
    """One term of the loss."""

    @property
    def value(self) -> str:
        """The value of the graph that is compared."""
        ...

    @property
    def axes(self) -> int:
        """How many axes the teacher's value has."""
        ...

    @property
    def weight(self) -> float:
        """Factor in the sum."""
        ...

    def emit(self, emit: Emitter, student: ir.Value, teacher: ir.Value, mask: ir.Value) -> ir.Value:
        """Append the loss, a scalar; ``mask`` has shape (sequences, tokens, 1). The teacher's values are 0 at padding."""
        ...


@dataclass(frozen=True)
class HiddenStateError:
    """‖s − t‖²/‖t‖² over all tokens, for a value (sequences, tokens, features)."""

    value: str
    weight: float = 1.0
    axes = 3

    def emit(self, emit: Emitter, student: ir.Value, teacher: ir.Value, mask: ir.Value) -> ir.Value:
        """See LossHead."""
        # The teacher's values are padded with zeros: what remains of the difference there is the student's.
        difference = emit("Sub", emit("Mul", student, mask), teacher)
        return emit("Div", _square_sum(emit, difference), _square_sum(emit, teacher))


@dataclass(frozen=True)
class EmbeddingCosine:
    """1 − cosine of sentence embeddings, mean over the sequences; of token embeddings it is the masked mean (3 axes)."""

    value: str
    axes: int = 3
    weight: float = 1.0

    def emit(self, emit: Emitter, student: ir.Value, teacher: ir.Value, mask: ir.Value) -> ir.Value:
        """See LossHead."""
        s, t = (pooled(emit, value, mask, self.axes) for value in (student, teacher))
        norms = emit("Sqrt", emit("Mul", row_dot(emit, s, s), row_dot(emit, t, t)))
        cosine = emit("Div", row_dot(emit, s, t), emit("Add", norms, emit.constant(_TINY)))
        return emit("Sub", emit.constant(1), emit("ReduceMean", cosine, keepdims=0))


@dataclass(frozen=True)
class EmbeddingError:
    """‖s − t‖²/‖t‖² of sentence embeddings, pooled as in `EmbeddingCosine`, or of scores."""

    value: str
    axes: int = 3
    weight: float = 1.0

    def emit(self, emit: Emitter, student: ir.Value, teacher: ir.Value, mask: ir.Value) -> ir.Value:
        """See LossHead."""
        s, t = (pooled(emit, value, mask, self.axes) for value in (student, teacher))
        return emit("Div", _square_sum(emit, emit("Sub", s, t)), _square_sum(emit, t))


@dataclass(frozen=True)
class LogitDivergence:
    """T² · KL(softmax(t/T) ‖ softmax(s/T)) in nats (Hinton, Vinyals & Dean 2015, arXiv 1503.02531).

    It is the mean over the sequences, or over the tokens that are text if there are logits of tokens (3 axes).
    """

    value: str
    temperature: float = 1.0
    weight: float = 1.0
    axes: int = 2

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise OptionError(f"the temperature of a divergence of logits is above 0; got {self.temperature}")

    def emit(self, emit: Emitter, student: ir.Value, teacher: ir.Value, mask: ir.Value) -> ir.Value:
        """See LossHead."""
        cooled = emit.constant(1 / self.temperature)
        expected, found = (emit("LogSoftmax", emit("Mul", value, cooled), axis=-1) for value in (teacher, student))
        divergence = emit("Mul", emit("Exp", expected), emit("Sub", expected, found))
        if self.axes == 3:
            tokens = emit("ReduceSum", mask, keepdims=0)
            mean = emit("Div", emit("ReduceSum", emit("Mul", divergence, mask), keepdims=0), tokens)
        else:
            mean = emit("ReduceMean", emit("ReduceSum", divergence, emit.axes(-1), keepdims=0), keepdims=0)
        return emit("Mul", mean, emit.constant(self.temperature**2))


@dataclass(frozen=True)
class LossGraph:
    """A graph that returns losses only: `LOSS`, and that of each head by the name of the value it compares.

    ``targets`` are the inputs for the teacher's values, by the name of the value. The input `MASK` is there whatever the heads.
    """

    model: ir.Model
    heads: tuple[str, ...]
    targets: Mapping[str, str]


def attach_losses(model: ir.Model, heads: Sequence[LossHead]) -> LossGraph:
    """Return a copy of ``model`` (weights are shared) that computes the losses of ``heads`` instead of its outputs."""
    copy = model.clone()
    graph, emit = copy.graph, Emitter(copy, LOSS)
    values = {str(value.name): value for value in (*graph.inputs, *(out for node in graph for out in node.outputs))}
    mask = _input(graph, MASK, [None, None])
    columns = emit("Unsqueeze", mask, emit.axes(-1))
    targets: dict[str, ir.Value] = {}
    terms, weighted = [], []
    for head in heads:
        if head.value not in values:
            raise OptionError(f"the model has no value {head.value!r} to compare with the dense model's")
        if head.value not in targets:
            known = values[head.value].shape
            sizes = known.dims if known is not None and len(known) == head.axes else [None] * head.axes
            targets[head.value] = _input(graph, f"loss/target of {head.value}", sizes)
        terms.append(head.emit(emit, values[head.value], targets[head.value], columns))
        weighted.append(emit("Mul", terms[-1], emit.constant(head.weight)))
    total = emit("Sum", *weighted)
    total.name = LOSS
    graph.outputs[:] = [total, *terms]
    for value in graph.outputs:
        value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([])
    return LossGraph(
        copy,
        tuple(str(term.name) for term in terms),
        {value: str(target.name) for value, target in targets.items()},
    )


def full_mask(feeds: Mapping[str, np.ndarray], mask: np.ndarray | None) -> np.ndarray:
    """Return what `MASK` is fed: ``mask``, or ones where a batch has no padding."""
    if mask is None:
        sequences, tokens, *_ = next(array.shape for array in feeds.values() if array.ndim > 1)
        return np.ones((sequences, tokens), np.float32)
    return mask.astype(np.float32)


def _input(graph: ir.Graph, name: str, sizes: Sequence[object]) -> ir.Value:
    """Add an input; of ``sizes`` only numbers count: an axis known to be 1 is no axis that something is broadcast along."""
    shape = ir.Shape([size if isinstance(size, int) else None for size in sizes])
    value = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=shape)
    graph.inputs.append(value)
    return value


def pooled(emit: Emitter, value: ir.Value, mask: ir.Value, axes: int) -> ir.Value:
    """Return (sequences, features): the mean over the tokens that are text, if there are tokens."""
    if axes == 2:
        return value
    total = emit("ReduceSum", emit("Mul", value, mask), emit.axes(1), keepdims=0)
    return emit("Div", total, emit("ReduceSum", mask, emit.axes(1), keepdims=0))


def row_dot(emit: Emitter, left: ir.Value, right: ir.Value) -> ir.Value:
    """Return the inner products of rows, (sequences,)."""
    return emit("ReduceSum", emit("Mul", left, right), emit.axes(-1), keepdims=0)


def _square_sum(emit: Emitter, value: ir.Value) -> ir.Value:
    return emit("ReduceSumSquare", value, keepdims=0)
