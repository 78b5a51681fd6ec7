"""How large a model is, and which bytes exactly it is."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import onnx_ir as ir

from squeeze_onnx.graph.io.external_data import tensor_places
from squeeze_onnx.graph.io.model import OnnxModel


@dataclass(frozen=True)
class ModelSize:
    """Bytes of the .onnx file with its external data, elements of all its tensors, and the SHA-256 of each file by name."""

    bytes: int
    parameters: int
    sha256: Mapping[str, str]


def measure_size(model: OnnxModel) -> ModelSize:
    """Measure the files of ``model``, and count the elements of its initializers and of tensors in Constant nodes."""
    return measure_files([model.path, *model.data_files], model.ir)


def measure_files(files: Sequence[Path], model: ir.Model) -> ModelSize:
    """Measure ``files``, which hold ``model``, as `measure_size` does, without loading what was just written."""
    return ModelSize(
        bytes=sum(file.stat().st_size for file in files),
        parameters=sum(prod(place.tensor.shape.numpy()) for place in tensor_places(model)),
        sha256=digest_files(files),
    )


def digest_files(files: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of ``files``, by name."""
    digests = {}
    for file in files:
        with file.open("rb") as stream:
            digests[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return digests
