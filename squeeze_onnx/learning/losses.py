"""Losses as nodes of the graph: how far the student's values are from the teacher's, padding left out.

Every head compares one value of the graph with the same value of the teacher, which is computed beforehand and fed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx_ir as ir

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.data.embedding import MEAN_OF_TOKENS, Embedding, EmbeddingModule
from squeeze_onnx.learning.emitter import Emitter
from squeeze_onnx.learning.pooling import applied, embedded
from squeeze_onnx.support.errors import OptionError

LOSS = "loss"
"""The output that is minimized: the weighted sum of the heads' losses."""

_TINY = 1e-12
"""Keeps roots and quotients of zeros finite."""


class LossHead(Protocol):
    """One term of the loss."""

    @property
    def value(self) -> str:
        """The value of the graph that is compared."""
        ...

    @property
    def axes(self) -> int | None:
        """How many axes the teacher's value has; None: as many as the student's."""
        ...

    @property
    def as_value(self) -> bool:
        """Whether the teacher's value has the shape of the student's."""
        ...

    @property
    def weight(self) -> float:
        """Factor in the sum."""
        ...

    def emit(self, emit: Emitter, student: ir.Value, teacher: ir.Value, mask: ir.Value) -> ir.Value:
        """Append the loss, a scalar; ``mask`` (…, 1) is 1 where rows of the value count. The teacher's are 0 elsewhere."""
        ...


@dataclass(frozen=True)
class HiddenStateError:
    """‖s − t‖²/‖t‖² over all rows that count, for a value (sequences, tokens, features) or of more axes."""

    value: str
    weight: float = 1.0
    axes = None
    as_value = True

    def emit(self, emit: Emitter, student: ir.Value, teacher: ir.Value, mask: ir.Value) -> ir.Value:
        """See LossHead."""
        # The teacher's values are padded with zeros: what remains of the difference there is the student's.
        difference = emit("Sub", emit("Mul", student, mask), teacher)
        return emit("Div", _square_sum(emit, difference), _square_sum(emit, teacher))


@dataclass(frozen=True)
class KeptStateError:
    """The same over the tokens that a student has left, for a value (sequences, tokens left, features).

    ``positions`` names the value of the student that says which of the teacher's these are, (sequences, tokens left), ``real``
    the one that says which of them count (None: all).
    """

    value: str
    positions: str
    real: str | None
    weight: float = 1.0
    axes = 3
    as_value = False

    def emit(self, emit: Emitter, student: ir.Value, teacher: ir.Value, mask: ir.Value) -> ir.Value:
        """See LossHead."""
        places = emit("Unsqueeze", emit.value(self.positions), emit.axes(-1))
        expected, counted = (emit("GatherND", each, places, batch_dims=1) for each in (teacher, mask))
        if self.real is not None:
            real = emit("Cast", emit.value(self.real), to=ir.DataType.FLOAT)
            counted = emit("Mul", counted, emit("Unsqueeze", real, emit.axes(-1)))
        expected = emit("Mul", expected, counted)
        difference = emit("Sub", emit("Mul", student, counted), expected)
        return emit("Div", _square_sum(emit, difference), _square_sum(emit, expected))


@dataclass(frozen=True)
class EmbeddingCosine:
    """1 − cosine of sentence embeddings, mean over the sequences; ``embedding`` makes them of those of tokens (3 axes)."""

    value: str
    axes: int = 3
    weight: float = 1.0
    embedding: Embedding = MEAN_OF_TOKENS
    as_value = True

    def emit(self, emit: Emitter, student: ir.Value, teacher: ir.Value, mask: ir.Value) -> ir.Value:
        """See LossHead."""
        s, t = (embedded(emit, value, mask, self.embedding, self.axes) for value in (student, teacher))
        return emit("Sub", emit.constant(1), emit("ReduceMean", _cosines(emit, s, t), keepdims=0))


@dataclass(frozen=True)
class TokenCosine:
    """1 − cosine of the vectors of tokens, mean over all that are text, behind the ``modules`` that each goes through."""

    value: str
    weight: float = 1.0
    modules: tuple[EmbeddingModule, ...] = ()
    axes = 3
    as_value = True

    def emit(self, emit: Emitter, student: ir.Value, teacher: ir.Value, mask: ir.Value) -> ir.Value:
        """See LossHead."""
        for module in self.modules:
            student, teacher = (applied(emit, rows, module) for rows in (student, teacher))
        distances = emit("Sub", emit.constant(1), _cosines(emit, student, teacher))
        counted = emit("Mul", distances, emit("Squeeze", mask, emit.axes(-1)))
        tokens = emit("ReduceSum", mask, keepdims=0)
        return emit("Div", emit("ReduceSum", counted, keepdims=0), tokens)


@dataclass(frozen=True)
class EmbeddingError:
    """‖s − t‖²/‖t‖² of sentence embeddings, made as in `EmbeddingCosine`, or of scores."""

    value: str
    axes: int = 3
    weight: float = 1.0
    embedding: Embedding = MEAN_OF_TOKENS
    as_value = True

    def emit(self, emit: Emitter, student: ir.Value, teacher: ir.Value, mask: ir.Value) -> ir.Value:
        """See LossHead."""
        s, t = (embedded(emit, value, mask, self.embedding, self.axes) for value in (student, teacher))
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
    as_value = True

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
class LabelDivergence:
    """Σ_k KL(σ(t_k) ‖ σ(s_k)) in nats over the labels of a text, mean over the sequences: each label says yes or no by itself.

    With softplus(x) = −log σ(−x) that is Σ_k σ(t_k) (t_k − s_k) + softplus(s_k) − softplus(t_k).
    """

    value: str
    weight: float = 1.0
    axes = 2
    as_value = True

    def emit(self, emit: Emitter, student: ir.Value, teacher: ir.Value, mask: ir.Value) -> ir.Value:
        """See LossHead."""
        linear = emit("Mul", emit("Sigmoid", teacher), emit("Sub", teacher, student))
        divergence = emit("Add", linear, emit("Sub", emit("Softplus", student), emit("Softplus", teacher)))
        return emit("ReduceMean", emit("ReduceSum", divergence, emit.axes(-1), keepdims=0), keepdims=0)


@dataclass(frozen=True)
class LossGraph:
    """A graph that returns losses only: `LOSS`, and that of each head by the name of the value it compares.

    ``targets`` and ``masks`` are the inputs for the teacher's values and for which of their rows count, by the name of the value.
    """

    model: ir.Model
    heads: tuple[str, ...]
    targets: Mapping[str, str]
    masks: Mapping[str, str]

    def feeds(
        self,
        batch: CalibrationBatch,
        taught: Mapping[str, np.ndarray],
        rows: Mapping[str, tuple[int, ...]] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return what the graph is fed for ``batch`` beside the inputs of the model, given the values of the teacher.

        ``rows`` are the shapes of the values without their features, where ``taught`` is something else.
        """
        rows = rows or {name: array.shape[:-1] for name, array in taught.items()}
        found = {self.targets[name]: array for name, array in taught.items()}
        return found | {self.masks[name]: counted_or_all(batch, shape) for name, shape in rows.items()}


def attach_losses(model: ir.Model, heads: Sequence[LossHead]) -> LossGraph:
    """Return a copy of ``model`` (weights are shared) that computes the losses of ``heads`` instead of its outputs."""
    copy = model.clone()
    graph, emit = copy.graph, Emitter(copy, LOSS)
    values = {str(value.name): value for value in (*graph.inputs, *(out for node in graph for out in node.outputs))}
    targets: dict[str, ir.Value] = {}
    masks: dict[str, ir.Value] = {}
    columns: dict[str, ir.Value] = {}
    terms, weighted = [], []
    for head in heads:
        if head.value not in values:
            raise OptionError(f"the model has no value {head.value!r} to compare with the dense model's")
        if head.value not in targets:
            known = _sizes(values[head.value], head.axes)
            sizes = known if head.as_value or known is None else [None] * len(known)
            targets[head.value] = _input(graph, f"loss/target of {head.value}", sizes)
            masks[head.value] = _input(graph, f"loss/rows of {head.value} that count", None)
            columns[head.value] = emit("Unsqueeze", masks[head.value], emit.axes(-1))
        terms.append(head.emit(emit, values[head.value], targets[head.value], columns[head.value]))
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
        {value: str(mask.name) for value, mask in masks.items()},
    )


def counted_or_all(batch: CalibrationBatch, rows: tuple[int, ...]) -> np.ndarray:
    """Return which of the ``rows`` of a value count in ``batch``, float32 in their shape."""
    mask = batch.counted(rows)
    return np.ones(rows, np.float32) if mask is None else mask.astype(np.float32)


def _sizes(value: ir.Value, axes: int | None) -> Sequence[object] | None:
    """Return the sizes of a target of so many axes, as far as they are known of ``value``, which it is compared with."""
    known = value.shape
    if known is not None and axes in (None, len(known)):
        return tuple(known.dims)
    return None if axes is None else [None] * axes


def _input(graph: ir.Graph, name: str, sizes: Sequence[object] | None) -> ir.Value:
    """Add an input; of ``sizes`` only numbers count: an axis known to be 1 is no axis that something is broadcast along."""
    shape = None if sizes is None else ir.Shape([size if isinstance(size, int) else None for size in sizes])
    value = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=shape)
    graph.inputs.append(value)
    return value


def row_dot(emit: Emitter, left: ir.Value, right: ir.Value) -> ir.Value:
    """Return the inner products of rows, (sequences,)."""
    return emit("ReduceSum", emit("Mul", left, right), emit.axes(-1), keepdims=0)


def _cosines(emit: Emitter, left: ir.Value, right: ir.Value) -> ir.Value:
    """Return the cosines of rows. What is added stands below the root, whose slope at 0, at padding, would not be finite."""
    squares = emit("Mul", row_dot(emit, left, left), row_dot(emit, right, right))
    return emit("Div", row_dot(emit, left, right), emit("Sqrt", emit("Add", squares, emit.constant(_TINY**2))))


def _square_sum(emit: Emitter, value: ir.Value) -> ir.Value:
    return emit("ReduceSumSquare", value, keepdims=0)
