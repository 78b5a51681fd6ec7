"""What a ModelProto must hold before the rest of the package trusts it.

onnx_ir is lenient where we cannot be: of two initializers of one name it keeps the last, it drops sparse initializers
and training graphs, and it looks at the bytes of a tensor only when they are used. Each of these would end in a wrong
model or in a crash far from its cause, so they are refused here, on the parsed protobuf, before onnx_ir sees it.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from squeeze_onnx.graph.io.confinement import check_external_data
from squeeze_onnx.graph.io.other_formats import what_it_is
from squeeze_onnx.support.errors import ModelError

LOST_IN_LOADING: dict[type[Message], str] = {
    onnx.SparseTensorProto: "sparse tensors",
    onnx.TypeProto.Map: "values of map type (ZipMap)",
    onnx.TypeProto.Opaque: "values of opaque type",
    onnx.TrainingInfoProto: "training graphs",
}
"""What onnx_ir cannot represent, so that it would be missing from the model written."""


def check_model(model: onnx.ModelProto, path: Path) -> None:
    """Raise ModelError, which names ``path``, at the first thing that makes ``model`` unusable.

    Afterwards: names are text and unique per graph, every used value is defined, every tensor has exactly the data that
    its type and shape call for, and external data lies inside the folder of ``path``. No external data is read.
    """
    present = {field.name for field, _ in model.ListFields()}
    for field in ("ir_version", "opset_import", "graph"):
        if field not in present:
            why = (
                what_it_is(path) or f"{path} is not a whole ONNX model (it has no {field}): download or export it again"
            )
            raise ModelError(why)
    _check_message(model, "the model", path)
    _check_opsets(model.opset_import, path)
    _check_graph(model.graph, frozenset(), path)
    _check_unique("function", [f"{f.domain}.{f.name}:{f.overload}" for f in model.functions], path)
    for function in model.functions:
        _check_opsets(function.opset_import, path)
        _check_scope(function.input, (), function.output, function.node, outer=frozenset(), path=path)


def _check_message(message: Message, owner: str, path: Path) -> None:
    """Check ``message`` after its own texts and all messages in it; ``owner`` is the innermost node around it."""
    if isinstance(message, onnx.NodeProto):
        owner = f"node {message.name!r} ({message.op_type})"
    for field, value in _fields(message):
        values = [value] if isinstance(value, Message | str | bytes) else value
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for nested in values:
                _check_message(nested, owner, path)
        elif field.type == FieldDescriptor.TYPE_STRING and not all(isinstance(text, str) for text in values):
            # protobuf hands out bytes where a string of the file is not UTF-8.
            raise ModelError(f"{path} has a {field.name} that is not text, in {owner}: download or export it again")
    match message:
        case onnx.TensorProto():
            _check_tensor(message, f"tensor {message.name!r}" if message.name else f"the tensor of {owner}", path)
        case onnx.AttributeProto():
            _check_attribute(message, owner, path)
        case onnx.NodeProto():
            _check_unique(f"attribute of {owner}:", [attribute.name for attribute in message.attribute], path)
        case onnx.FunctionProto() if any(_is_external(attribute.t) for attribute in message.attribute_proto):
            raise ModelError(
                f"{path} keeps a default of function {message.name!r} in a data file: export it without external data"
            )
        case _ if type(message) in LOST_IN_LOADING:
            raise ModelError(
                f"{path} holds {LOST_IN_LOADING[type(message)]}, which cannot be carried over: export it without them"
            )


def _fields(message: Message) -> Iterator[tuple[FieldDescriptor, Any]]:
    """Yield the fields that ``message`` has, but for the weights in it: protobuf would hand out a copy of them."""
    if not isinstance(message, onnx.TensorProto):
        yield from message.ListFields()
        return
    for field in message.DESCRIPTOR.fields:
        if field.name == "raw_data":
            continue
        value = getattr(message, field.name)
        if not isinstance(value, Message) or message.HasField(field.name):
            yield field, value


def _check_attribute(attribute: onnx.AttributeProto, owner: str, path: Path) -> None:
    """Check that ``attribute`` has a value, or stands for one of a function's attributes, in a way that onnx_ir knows."""
    is_reference, kind = bool(attribute.ref_attr_name), attribute.type
    has_value = {
        onnx.AttributeProto.UNDEFINED: is_reference,
        onnx.AttributeProto.TENSOR: is_reference or attribute.HasField("t"),
        onnx.AttributeProto.GRAPH: attribute.HasField("g") and not is_reference,
        onnx.AttributeProto.GRAPHS: not is_reference,
    }
    if not has_value.get(kind, True):
        raise ModelError(f"{path} has no value for attribute {attribute.name!r} of {owner}: export the model again")
    if any(map(_is_external, attribute.tensors)):
        raise ModelError(f"{path} keeps a list of tensors of {owner} in a data file: export it without external data")


def _check_tensor(tensor: onnx.TensorProto, label: str, path: Path) -> None:
    """Check that ``tensor`` has exactly the data that its type and shape call for."""
    if tensor.data_type not in set(ir.DataType) - {ir.DataType.UNDEFINED}:
        raise ModelError(f"{path} gives {label} the unknown element type {tensor.data_type}: export the model again")
    if any(dimension < 0 for dimension in tensor.dims):
        raise ModelError(f"{path} gives {label} the impossible shape {list(tensor.dims)}: export the model again")
    dtype = ir.DataType(tensor.data_type)
    if _is_external(tensor):
        if dtype == ir.DataType.STRING:
            raise ModelError(f"{path} keeps the strings of {label} in a data file: export it without external data")
        check_external_data(tensor, label, path)
        return
    is_raw = tensor.HasField("raw_data") and dtype != ir.DataType.STRING
    field = "raw_data" if is_raw else onnx.helper.tensor_dtype_to_field(dtype)
    stored, needed = len(getattr(tensor, field)), _count_needed(dtype, math.prod(tensor.dims), field)
    if stored != needed:
        raise ModelError(
            f"{path} stores {stored} items of {field} for {label} where {dtype}{list(tensor.dims)} needs {needed}: "
            "download or export it again"
        )


def _is_external(tensor: onnx.TensorProto) -> bool:
    """Say whether the content of ``tensor`` lies in a data file."""
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def _count_needed(dtype: ir.DataType, elements: int, field: str) -> int:
    """Return how many items ``field`` of a TensorProto holds for so many elements (see TensorProto in onnx.proto)."""
    if field == "raw_data":
        return math.ceil(elements * dtype.itemsize)
    if dtype in {ir.DataType.COMPLEX64, ir.DataType.COMPLEX128}:
        return 2 * elements
    if dtype != ir.DataType.STRING and dtype.bitwidth in {2, 4}:  # packed into bytes, one byte per item
        return math.ceil(elements * dtype.itemsize)
    return elements


def _check_graph(graph: onnx.GraphProto, outer: frozenset[str], path: Path) -> None:
    """Check the names of a graph that also sees the values ``outer`` of the graphs around it."""
    if not all(tensor.name for tensor in graph.initializer):
        raise ModelError(f"{path} has an initializer without a name: export the model again")
    inputs, initializers, outputs = (
        [item.name for item in items] for items in (graph.input, graph.initializer, graph.output)
    )
    _check_scope(inputs, initializers, outputs, graph.node, outer=outer, path=path)


def _check_scope(
    inputs: Sequence[str],
    initializers: Sequence[str],
    outputs: Sequence[str],
    nodes: Sequence[onnx.NodeProto],
    *,
    outer: frozenset[str],
    path: Path,
) -> None:
    """Check that every value is defined once, in any order, and every used one at all.

    An initializer may share its name with an input: it is that input's default.
    """
    _check_unique("graph input", inputs, path)
    _check_unique("initializer", initializers, path)
    results = [name for node in nodes for name in node.output if name]
    _check_unique("value", [*{*inputs, *initializers}, *results], path)
    defined = {*inputs, *initializers, *results}
    visible = outer | defined
    for node in nodes:
        for name in node.input:
            if name and name not in visible:
                raise ModelError(
                    f"{path} has no value {name!r}, which node {node.name!r} ({node.op_type}) reads: "
                    "export the model again"
                )
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                _check_graph(graph, visible, path)
    for name in outputs:
        if name not in defined:
            raise ModelError(f"{path} has no value {name!r}, which is declared an output: export the model again")


def _check_opsets(opset_imports: Iterable[onnx.OperatorSetIdProto], path: Path) -> None:
    """Check that no domain is imported at two versions; the empty domain is ai.onnx."""
    versions = {(opset.domain or "ai.onnx", opset.version) for opset in opset_imports}
    _check_unique("the opset version of", [domain for domain, _ in versions], path)


def _check_unique(kind: str, names: Iterable[str], path: Path) -> None:
    """Check that no name occurs twice."""
    for name, count in Counter(names).items():
        if count > 1:
            raise ModelError(f"{path} defines {kind} {name!r} {count} times: give them unique names or export it again")
