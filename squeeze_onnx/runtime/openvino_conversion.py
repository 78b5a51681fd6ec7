"""A model in int8 for OpenVINO, as its users convert it: quantized after training by NNCF, in a process of its own.

This module is that process too (``python -m squeeze_onnx.runtime.openvino_conversion``).
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from squeeze_onnx.runtime.child_process import ChildProcess, pack, serve, unpack
from squeeze_onnx.runtime.openvino import import_nncf, import_openvino, reason_of
from squeeze_onnx.runtime.sessions import Feeds
from squeeze_onnx.support.errors import ModelError


def convert_int8(source: Path, target: Path, feeds: Sequence[Feeds]) -> None:
    """Write to ``target``, an .xml with a .bin beside it, the int8 form of the .onnx file ``source``.

    The ranges of activations are those on ``feeds``; everything else is as NNCF has it for transformers.

    Raises ModelError with its reason if OpenVINO cannot read the model or NNCF cannot quantize it, MissingPackageError without
    either of them.
    """
    with ChildProcess(__name__, f"converts {source} for OpenVINO") as process:
        process.ask("convert", source=str(source), target=str(target), feeds=[pack(each) for each in feeds])


def _convert(*, source: str, target: str, feeds: list[dict[str, Any]]) -> None:
    openvino, nncf = import_openvino(), import_nncf()
    nncf.set_log_level(logging.ERROR)
    try:
        model = openvino.Core().read_model(source)
        dataset = nncf.Dataset([unpack(each) for each in feeds])
        quantized = nncf.quantize(model, dataset, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(feeds))
        openvino.save_model(quantized, target)
    except (RuntimeError, ValueError, nncf.ValidationError, nncf.UnsupportedModelError) as error:
        raise ModelError(f"{source} cannot be converted for OpenVINO: {reason_of(error)}") from error


if __name__ == "__main__":
    serve({"convert": _convert})
