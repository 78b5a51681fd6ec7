"""How good the models are whose speed is measured: predictions on a dev set, in ONNX Runtime or in OpenVINO."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from squeeze_onnx.data.glue import find_task
from squeeze_onnx.data.model_config import read_model_config
from squeeze_onnx.data.readers import read_validation
from squeeze_onnx.data.tokenization import DEFAULT_MAX_TOKENS, load_text_encoder
from squeeze_onnx.evaluate.bootstrap import drop_interval
from squeeze_onnx.evaluate.metrics import METRICS, drop_points
from squeeze_onnx.evaluate.open_model import OpenModel
from squeeze_onnx.runtime.openvino import import_openvino
from squeeze_onnx.runtime.sessions import Feeds, Session, ValueSpec, open_session

_TYPES = {"f32": "float", "f16": "float16", "f64": "double", "i64": "int64", "i32": "int32"}
_BATCH = 32


@dataclass(frozen=True)
class _OpenVinoModel:
    """A compiled model with the one method of onnxruntime's sessions that answers need."""

    compiled: Any

    def run(self, output_names: Sequence[str], feeds: Feeds) -> list[np.ndarray]:
        answer = self.compiled(dict(feeds))
        return [np.array(answer[name]) for name in output_names]


def predictions(path: Path, dense: Path, task: str, glue: Path) -> np.ndarray:
    """Return a prediction for each row of the dev set of ``task``; what lies beside a model is taken from ``dense``."""
    settings = read_model_config(dense)
    session = open_session(path) if path.suffix == ".onnx" else _open_in_openvino(path)
    model = OpenModel.of(path.parent.name, session, settings, find_task(task))
    encoder = load_text_encoder(dense, settings, max_tokens=DEFAULT_MAX_TOKENS)
    [rows] = read_validation(find_task(task), glue)
    return model.predictions(rows.texts, encoder, batch_size=_BATCH)


def scores(task: str, glue: Path, dense: Sequence[float], candidate: Sequence[float]) -> Mapping[str, Any]:
    """Return the primary metric of ``task``, and how far it drops, in points."""
    name = find_task(task).primary_metric
    [rows] = read_validation(find_task(task), glue)
    before, after = (np.asarray(predicted) for predicted in (dense, candidate))
    interval = drop_interval(METRICS[name], rows.labels, before, after, seed=0)
    baseline, score = (float(METRICS[name](rows.labels, predicted)) for predicted in (before, after))
    return {
        "metric": name,
        "score": score,
        "drop_points": drop_points(baseline, score),
        "drop_interval": [interval.low, interval.high],
    }


def _open_in_openvino(path: Path) -> Session:
    compiled = import_openvino().Core().compile_model(str(path), "CPU")
    inputs, outputs = (
        tuple(
            ValueSpec(
                each.any_name,
                f"tensor({_TYPES[each.element_type.get_type_name()]})",
                tuple(None if size.is_dynamic else size.get_length() for size in each.partial_shape),
            )
            for each in values
        )
        for values in (compiled.inputs, compiled.outputs)
    )
    return Session(str(path), "cpu", inputs, outputs, _OpenVinoModel(compiled))
