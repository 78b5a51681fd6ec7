"""How large an answer is before the model has been run on a batch: what is drawn has to be as large."""

from collections.abc import Callable, Mapping, Sequence

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.learning.parts import tokens_of_text
from squeeze_onnx.runtime.sessions import Session

ShapeOf = Callable[[CalibrationBatch], tuple[int, ...]]
"""Returns the shape of the answer to a batch."""

_Sizes = tuple[tuple[int, ...], ...]


def answer_shapes(session: Session, output: str, batches: Sequence[CalibrationBatch]) -> ShapeOf:
    """Return what tells the shape of ``output`` of the model that is open as ``session`` on each of ``batches``.

    An answer to a sequence is always as large, one to each token has its tokens; where an output runs over frames or patches, the
    model is run once on each shape of input.
    """

    def inner(batch: CalibrationBatch) -> tuple[int, ...]:
        return tuple(session.run([output], batch.feeds)[0].shape[1:])

    first = inner(batches[0])
    if len(first) < 2:
        return lambda batch: (batch.sequences, *first)
    if first[:-1] == (tokens_of_text(batches[0]),):
        return lambda batch: (batch.sequences, tokens_of_text(batch), first[-1])
    examples = {_sizes(batch): batch for batch in batches}
    known: Mapping[_Sizes, tuple[int, ...]] = {sizes: inner(batch) for sizes, batch in examples.items()}
    return lambda batch: (batch.sequences, *known[_sizes(batch)])


def _sizes(batch: CalibrationBatch) -> _Sizes:
    """Return the shapes of the inputs without the sequences."""
    return tuple(array.shape[1:] for _, array in sorted(batch.feeds.items()))
