"""How far the outputs move as the lowered model computes them, beside what was predicted of weights rounded one by one.

A prediction swaps weights within the graph as it was. What is written is another graph, with other operators: only its own
outputs say what they are worth.
"""

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from squeeze_onnx.compress.precision.base import Evidence, Lowered, Precision
from squeeze_onnx.compress.precision.fp32 import Float32
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.evaluate.answer_heads import Head
from squeeze_onnx.evaluate.output_error import probe_batches
from squeeze_onnx.evaluate.output_rows import Rows, are_finite, output_rows, share_moved
from squeeze_onnx.runtime.graph_session import open_graph
from squeeze_onnx.runtime.sessions import SessionSettings
from squeeze_onnx.support.processor import int8_products_saturate

_INTEGER_OPERATORS = frozenset({"DynamicQuantizeLinear", "MatMulInteger", "QuantizeLinear"})

_NOTICEABLE = 1.2
"""By how much saturation has to widen the distance to be told."""


def lower_measured(precision: Precision, model: ir.Model, evidence: Evidence) -> Lowered:
    """Lower ``model``, whose graph may change on the way, and measure how far its outputs moved on the data that checks.

    Nothing is measured without data, nor in fp32, nor where outputs are NaN or infinite.
    """
    if not evidence.batches or isinstance(precision, Float32):
        return precision.lower(model, evidence)
    batches = probe_batches(evidence.checking)
    before = _outputs(model, batches, evidence)
    lowered = precision.lower(model, evidence)
    after = _outputs(lowered.model, batches, evidence)
    if not are_finite(before) or not are_finite(after):
        verb = "become" if are_finite(before) else "are"
        note = f"Outputs {verb} NaN or infinite on the calibration data: how far they move was not measured."
        return replace(lowered, notes=(*lowered.notes, note))
    measured = share_moved(after, before)
    return replace(
        lowered, measured=measured, notes=lowered.notes + _saturation(lowered, before, measured, batches, evidence.head)
    )


def _saturation(
    lowered: Lowered,
    before: Rows,
    measured: float,
    batches: Sequence[CalibrationBatch],
    head: Head | None,
) -> tuple[str, ...]:
    """Say how much of what was ``measured`` is the saturation of this processor's integer products, if that is noticeable."""
    if not int8_products_saturate() or not any(node.op_type in _INTEGER_OPERATORS for node in lowered.model.graph):
        return ()
    session = open_graph(lowered.model, "cpu", SessionSettings(precise_integers=True))
    precise = share_moved(output_rows(session, batches, head=head), before)
    if measured < _NOTICEABLE * precise:
        return ()
    return (
        f"This processor has no VNNI, so its integer products saturate: the outputs move by {measured:.2g} of their variance, "
        f"on one that has it by {precise:.2g} (ONNX Runtime's session option session.x64quantprecision=1 does the same here).",
    )


def _outputs(model: ir.Model, batches: Sequence[CalibrationBatch], evidence: Evidence) -> Rows:
    session = open_graph(model, evidence.provider)
    return output_rows(session, batches, head=evidence.head)
