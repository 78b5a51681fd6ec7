"""An .onnx file without its large weights, which stay where they lie: the counterpart of `squeeze_onnx.graph.io.streaming`.

protobuf's own parser copies the whole file. Here the fields of model, graph and initializers are walked; the bytes of large
initializers are passed over, and a reference to their place is put in their stead, as if the file were a data file of its own
(ONNX's ExternalData.md). protobuf parses the rest.
"""

import mmap
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from squeeze_onnx.graph.io.wire import Content, Field, delimiter, fields

LEFT_BYTES = 2**16
"""Weights of fewer bytes come along: they are constants that many look at."""


def parse_outline(content: Content, name: str) -> onnx.ModelProto:
    """Parse the .onnx file ``name`` with this ``content``; large weights refer to the file by that name.

    Raises DecodeError if it is no such message.
    """
    model: list[bytes] = []
    for field in fields(content, 0, len(content)):
        if field.is_message(onnx.ModelProto.GRAPH_FIELD_NUMBER):
            graph = _graph(content, field, name)
            model += delimiter(field.number, len(graph)), graph
        else:
            model.append(content[field.start : field.end])
    return onnx.ModelProto.FromString(b"".join(model))


def external_locations(path: Path) -> tuple[str, ...]:
    """Return where initializers of the .onnx file ``path`` say that they lie, beside it: as they are spelled, sorted, each once.

    That of a file that cannot be read or parsed is nowhere.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            initializers = parse_outline(content, path.name).graph.initializer
    except (OSError, ValueError, DecodeError):
        return ()
    entries = [entry for tensor in initializers for entry in tensor.external_data if entry.key == "location"]
    return tuple(sorted({entry.value for entry in entries} - {path.name}))


def _graph(content: Content, graph: Field, name: str) -> bytes:
    pieces: list[bytes] = []
    for field in fields(content, graph.value, graph.end):
        if field.is_message(onnx.GraphProto.INITIALIZER_FIELD_NUMBER):
            tensor = _initializer(content, field, name)
            pieces += delimiter(field.number, len(tensor)), tensor
        else:
            pieces.append(content[field.start : field.end])
    return b"".join(pieces)


def _initializer(content: Content, initializer: Field, name: str) -> bytes:
    parts = list(fields(content, initializer.value, initializer.end))
    raw = [field for field in parts if field.is_message(onnx.TensorProto.RAW_DATA_FIELD_NUMBER)]
    if len(raw) != 1 or raw[0].end - raw[0].value < LEFT_BYTES:
        return content[initializer.value : initializer.end]
    rest = b"".join(content[field.start : field.end] for field in parts if field is not raw[0])
    tensor = onnx.TensorProto.FromString(rest)
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.data_type == onnx.TensorProto.STRING:
        return content[initializer.value : initializer.end]
    place = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL)
    for key, value in {"location": name, "offset": raw[0].value, "length": raw[0].end - raw[0].value}.items():
        place.external_data.add(key=key, value=str(value))
    reference: bytes = place.SerializeToString()
    return rest + reference
