"""The certificate of a squeezed model, measured on the text that was held back from it."""

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from squeeze_onnx.compress.held_back import IN_SAMPLE, held_back_of, rows_of
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.data.embedding_files import NOTHING_ASKED, EmbeddingOptions
from squeeze_onnx.evaluate.answers import read_answers
from squeeze_onnx.evaluate.certificate import Certificate
from squeeze_onnx.evaluate.certifying import certify
from squeeze_onnx.evaluate.model_head import head_of
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.support.errors import ModelError
from squeeze_onnx.support.progress import Track, silent


def certificate_of(
    dense: OnnxModel,
    squeezed: ir.Model,
    calibration: Sequence[CalibrationBatch],
    *,
    asked: EmbeddingOptions = NOTHING_ASKED,
    provider: str = "cpu",
    track: Track = silent,
) -> Certificate:
    """Measure how far the answers moved from those of ``dense``, and bound it where the head is linear.

    That is on what is held back beside ``calibration``; on ``calibration`` itself, and the certificate says so, if nothing is.
    Raises ModelError if an answer is NaN or infinite.
    """
    held_back = held_back_of(calibration)
    batches, notes = (held_back, ()) if held_back else (calibration, (IN_SAMPLE,))
    try:
        head = head_of(dense, asked)
    except ModelError as error:  # any model can be squeezed, but not all answer in a way that can be compared
        return Certificate(rows_of(batches), (f"Nothing was measured: {error}.",), held_back=bool(held_back))
    expected, found = (
        read_answers(model, head, batches, provider=provider, track=track) for model in (dense.ir, squeezed)
    )
    certificate = certify(expected, found, head)
    return replace(certificate, held_back=bool(held_back), notes=(*certificate.notes, *notes))
