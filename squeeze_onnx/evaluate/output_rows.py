"""What a model returns, as rows that can be compared: one a sequence, or one a token where that is all there is to a token."""

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
import onnx_ir as ir

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.evaluate.answer_heads import Head, SentenceEmbedding
from squeeze_onnx.runtime.sessions import Session, ValueSpec
from squeeze_onnx.spectral.moment_sums import Counted

Rows = Mapping[str, np.ndarray]
"""Output → (sequences or tokens, features), float64."""

MOST_FEATURES = 1 << 16
"""Of wider rows every n-th number is looked at."""

NO_FEEDS: Mapping[str, np.ndarray] = {}

_CONSTANT = 1e-10
"""Variance over energy of what does not depend on the input: rounding of float32."""


class OutputRows:
    """Takes down the floating-point outputs of a model while it runs on ``batches`` (see `run_over`), batch by batch.

    What runs over tokens is averaged over those that are text; one number a token, as where a span begins, has a row a token.
    Of the output that ``head`` makes embeddings of, the rows are these. An output whose rows would not be as wide as each other,
    such as a cache, is left out.
    """

    def __init__(
        self, outputs: Sequence[ValueSpec], batches: Sequence[CalibrationBatch], head: Head | None = None
    ) -> None:
        self.names = tuple(output.name for output in outputs)
        self._second = [output.shape[1] if len(output.shape) > 1 else None for output in outputs]
        self._lengths = {None if batch.mask is None else batch.mask.shape[1] for batch in batches}
        self._found: list[list[np.ndarray]] = [[] for _ in outputs]
        self._embedding = head if isinstance(head, SentenceEmbedding) else None

    def hear(self, values: Sequence[np.ndarray], counted: Counted) -> None:
        """Take down one batch."""
        for name, value, second, found in zip(self.names, values, self._second, self._found, strict=True):
            if self._embedding is not None and name == self._embedding.output:
                found.append(self._embedding.answers(value, _text(value, counted)))
            elif value.ndim and np.issubdtype(value.dtype, np.floating):
                found.append(_first_features(self._rows(value, second, counted)))

    def rows(self) -> Rows:
        """Return all that was heard."""
        heard = zip(self.names, self._found, strict=True)
        alike = ((name, found) for name, found in heard if len({rows.shape[1] for rows in found}) == 1)
        return {name: np.concatenate(found) for name, found in alike}

    def _rows(self, value: np.ndarray, second: int | str | None, counted: Counted) -> np.ndarray:
        mask = counted(value.shape[:2]) if value.ndim in (2, 3) else None
        if mask is not None:
            text = mask.astype(bool)
            # A fixed number may be that of the tokens of one batch by coincidence.
            if value.ndim == 3 and (not isinstance(second, int) or self._lengths == {second}):
                summed = np.einsum("stf,st->sf", value, text.astype(value.dtype), dtype=np.float64)
                return np.asarray(summed / np.maximum(text.sum(axis=1, keepdims=True), 1))
            if value.ndim == 2 and not isinstance(second, int):
                return np.asarray(value[text][:, np.newaxis], np.float64)
        return np.asarray(value.reshape(len(value), -1), np.float64)


def _text(value: np.ndarray, counted: Counted) -> np.ndarray:
    """Return which positions of ``value`` count, ones if it has none that do not."""
    mask = counted(value.shape[:2]) if value.ndim > 2 else None
    return np.ones(value.shape[:2]) if mask is None else mask


def _first_features(rows: np.ndarray) -> np.ndarray:
    return rows[:, :: ceil(rows.shape[1] / MOST_FEATURES)] if rows.shape[1] > MOST_FEATURES else rows


def declared_outputs(model: ir.Model) -> tuple[ValueSpec, ...]:
    """Return the outputs of the graph as it declares them, a dimension that varies as None; types are seen when it runs."""
    return tuple(
        ValueSpec(
            str(value.name),
            "",
            () if value.shape is None else tuple(dim if isinstance(dim, int) else None for dim in value.shape),
        )
        for value in model.graph.outputs
    )


def output_rows(
    session: Session,
    batches: Sequence[CalibrationBatch],
    other_feeds: Mapping[str, np.ndarray] = NO_FEEDS,
    head: Head | None = None,
) -> Rows:
    """Run all ``batches``, with ``other_feeds`` each, and return the rows of all outputs, read by ``head`` if it is known."""
    listener = OutputRows(session.outputs, batches, head)
    for batch in batches:
        listener.hear(session.run(listener.names, {**batch.feeds, **other_feeds}), batch.counted)
    return listener.rows()


def are_finite(rows: Rows) -> bool:
    """Say whether there is neither NaN nor infinity in any output."""
    return all(bool(np.isfinite(each).all()) for each in rows.values())


def scales_of(rows: Rows) -> dict[str, float]:
    """Return the variance of each output; where none varies, as on a single text, the squares of each stand for it."""
    scales = {name: _variance(each) for name, each in rows.items()}
    if any(scales.values()):
        return scales
    return {name: float(np.square(each[np.isfinite(each)]).sum()) for name, each in rows.items()}


def shares_moved(moved: Rows, reference: Rows, scales: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return for each output the squared distance of ``moved`` from ``reference`` over its scale, by default that of `scales_of`.

    Outputs of scale 0 are left out, and those of another width: a cache of heads that became thinner. What is not finite in
    ``reference`` is not compared; elsewhere the distance of what is not finite is infinite.
    """
    scales = scales or scales_of(reference)
    return {
        name: _squared_distance(moved[name], rows) / scales[name]
        for name, rows in reference.items()
        if scales[name] > 0 and moved[name].shape == rows.shape
    }


def share_moved(moved: Rows, reference: Rows, scales: Mapping[str, float] | None = None) -> float:
    """Return the mean of `shares_moved` over the outputs; 0 if there is none to compare."""
    shares = shares_moved(moved, reference, scales)
    return float(np.mean([*shares.values()])) if shares else 0.0


def _variance(rows: np.ndarray) -> float:
    """Return the summed squares of ``rows`` about their mean; 0 if they are as good as constant. What is infinite counts as 0."""
    known = np.where(np.isfinite(rows), rows, 0.0)
    spread = float(np.square(known - known.mean(axis=0)).sum())
    return spread if spread > _CONSTANT * float(np.square(known).sum()) else 0.0


def _squared_distance(found: np.ndarray, expected: np.ndarray) -> float:
    known = np.isfinite(expected)
    if not np.isfinite(found[known]).all():
        return float("inf")
    return float(np.square(found[known] - expected[known]).sum())
