"""Which .onnx file is meant: the layouts that exporters and hubs have, and the float model among several precisions."""

import mmap
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from squeeze_onnx.graph.io.other_formats import EXPORT
from squeeze_onnx.graph.io.outline import parse_outline
from squeeze_onnx.support.errors import ModelError

MODEL_FILE = "model.onnx"
"""What a model is called where nothing else was asked for."""

SUBFOLDER = "onnx"
"""Where the hub, sentence-transformers and transformers.js have it, below tokenizer and configuration."""

_INTEGER_OPERATORS = frozenset(
    {"DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "MatMulNBits", "MatMulBnb4", "QLinearMatMul"}
)


def locate_model(path: str | Path) -> Path:
    """Return the .onnx file that MODEL means.

    1. A file is itself.
    2. Of a folder it is ``model.onnx``, there or else in its subfolder ``onnx``.
    3. Otherwise the only .onnx file there or else in that subfolder, or the only one of several whose weights are float32.

    Raises ModelError, which names the files, if that leaves none or more than one.
    """
    path = Path(path)
    try:
        if not path.is_dir():
            return path
    except OSError as error:
        raise unreadable(path, error) from error
    folders = (path, path / SUBFOLDER)
    for named in (folder / MODEL_FILE for folder in folders):
        if named.exists():
            return named
    files = next((found for folder in folders if (found := sorted(folder.glob("*.onnx")))), [])
    if len(files) > 1:
        return _float_model(path, files)
    if files:
        return files[0]
    deeper = sorted(path.glob("*/*.onnx"))
    hint = f"name a file such as {deeper[0]}" if deeper else EXPORT.format(folder=path)
    raise ModelError(f"{path} holds no .onnx file: {hint}")


def unreadable(path: Path, error: OSError) -> ModelError:
    """Say that ``path`` cannot be read, and why."""
    return ModelError(f"{path} cannot be read ({error.strerror}): check the path and its permissions")


def _float_model(folder: Path, files: Sequence[Path]) -> Path:
    floats = [file for file in files if _stores_floats(file)]
    if len(floats) == 1:
        return floats[0]
    names = ", ".join(str(file.relative_to(folder)) for file in files)
    raise ModelError(
        f"{folder} holds several models, none is called {MODEL_FILE}, and {'several' if floats else 'none'} of them have "
        f"float32 weights: name one of {names}"
    )


def _stores_floats(path: Path) -> bool:
    """Whether most entries of the weights in the file are float32, and no operator computes with integers in their place."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            graph = parse_outline(content, path.name).graph
    except (OSError, ValueError, DecodeError):
        return False
    if any(node.op_type in _INTEGER_OPERATORS for node in graph.node):
        return False
    sizes = [(tensor.data_type, prod(tensor.dims)) for tensor in _weights(graph) if len(tensor.dims) > 1]
    floats = sum(size for kind, size in sizes if kind == onnx.TensorProto.FLOAT)
    return bool(2 * floats > sum(size for _, size in sizes))


def _weights(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from (
            attribute.t for attribute in node.attribute if node.op_type == "Constant" and attribute.HasField("t")
        )
