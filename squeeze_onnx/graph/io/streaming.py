"""An .onnx file with its weights inside, written a weight at a time.

protobuf's own serializer holds the whole message several times over. But a message is no more than its fields, in any
order (see `wire`). So protobuf serializes all that surrounds the large weights, and their bytes are copied in
between:

    model        fields of ModelProto without graph, then the graph
    graph        fields of GraphProto without initializer, then each initializer
    initializer  fields of TensorProto without raw_data, then the bytes of the weight
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir

from squeeze_onnx.graph.io.external_data import large_places, replaced
from squeeze_onnx.graph.io.wire import delimiter

Piece = bytes | ir.TensorProtocol


@dataclass(frozen=True)
class ModelStream:
    """The bytes of an .onnx file in order, some of them still in their tensors."""

    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return _size(self.pieces)

    def write(self, path: Path) -> None:
        """Write the file."""
        with path.open("wb") as file:
            for piece in self.pieces:
                file.write(piece if isinstance(piece, bytes) else piece.tobytes())


def stream_model(model: ir.Model) -> ModelStream:
    """Serialize ``model``, but leave the large initializers of its main graph in their tensors.

    Tensors that are external as they stand stay references.
    """
    places = large_places([model.graph])
    outlines = [_without_data(place.tensor) for place in places]
    with replaced(zip(places, outlines, strict=True)):
        message = ir.to_proto(model)  # this gives each outline the name of its initializer
    weights = {outline.name: place.tensor for outline, place in zip(outlines, places, strict=True)}
    graph: list[Piece] = []
    for initializer in message.graph.initializer:
        content: list[Piece] = []
        if initializer.name in weights:
            weight = weights[initializer.name]
            initializer.ClearField("data_location")
            initializer.ClearField("external_data")
            content = [_delimiter(onnx.TensorProto.RAW_DATA_FIELD_NUMBER, [weight]), weight]
        content.insert(0, initializer.SerializeToString())
        graph += [_delimiter(onnx.GraphProto.INITIALIZER_FIELD_NUMBER, content), *content]
    message.graph.ClearField("initializer")
    graph.insert(0, message.graph.SerializeToString())
    message.ClearField("graph")
    return ModelStream(
        (message.SerializeToString(), _delimiter(onnx.ModelProto.GRAPH_FIELD_NUMBER, graph), *graph),
    )


def _without_data(tensor: ir.TensorProtocol) -> ir.ExternalTensor:
    """Return a tensor that serializes as ``tensor`` without its bytes."""
    return ir.ExternalTensor(
        "",
        None,
        None,
        tensor.dtype,
        shape=ir.Shape(tensor.shape.numpy()),
        name=tensor.name or "",
        doc_string=tensor.doc_string,
        metadata_props=dict(tensor.metadata_props),
    )


def _delimiter(field_number: int, content: Sequence[Piece]) -> bytes:
    """Return what precedes ``content`` in its field."""
    return delimiter(field_number, _size(content))


def _size(pieces: Sequence[Piece]) -> int:
    return sum(len(piece) if isinstance(piece, bytes) else piece.nbytes for piece in pieces)
