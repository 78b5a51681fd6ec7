"""Operators written out in others: what ONNX defines as a function of simpler operators is differentiated through those.

    Attention(q, k, v) ─► Transpose ─► MatMul ─► Softmax ─► MatMul

The bodies come with the `onnx` package, those of fused operators from `learning.fused_bodies`. Which one a node has may depend on
its attributes, on the operands that it is given and on their types, so these are traced first (`learning.shapes`).
"""

from collections.abc import Callable, Collection, Iterable, Sequence

import onnx
import onnx_ir as ir
from onnx import defs
from onnx_ir.passes.common import InlinePass

from squeeze_onnx.graph.match.operators import op_of
from squeeze_onnx.learning.fused_bodies import FUSED_BODIES, fused_body
from squeeze_onnx.learning.shapes import ShapeTrace

_DOMAIN = "squeeze_onnx.written_out"

Body = Callable[[ir.Node, Sequence[onnx.TypeProto]], onnx.FunctionProto]
"""Returns what a node computes, given the types of its operands."""


def inline_functions(model: ir.Model) -> None:
    """Replace every call of a function that ``model``, which changes in place, brings along by its nodes."""
    if model.functions:
        InlinePass()(model)


def has_body(node: ir.Node, opset: int) -> bool:
    """Whether the operator of ``node`` is defined by others, in ``opset`` of ONNX's own domain."""
    if op_of(node) in FUSED_BODIES:
        return True
    schema = _schema(node, opset)
    return schema is not None and (schema.has_function or schema.has_context_dependent_function)


def write_out(model: ir.Model, nodes: Iterable[ir.Node], traced: ShapeTrace) -> bool:
    """Replace ``nodes`` of ``model``, which changes in place, by what their operators are defined by; whether any was."""
    opset = model.graph.opset_imports.get("", 0)
    found = False
    for number, node in enumerate(nodes):
        body = _body(node, opset, [_type_of(value, traced) for value in node.inputs])
        if body is None:
            continue
        body.domain, body.name = _DOMAIN, f"{node.op_type}{number}"
        del body.opset_import[:]  # it was chosen for the opset of the model
        body.opset_import.extend(onnx.helper.make_opsetid(*each) for each in model.graph.opset_imports.items())
        del body.output[len(node.outputs) :]  # the others are optional, and may not be computed
        for inner in body.node:
            inner.name = f"{node.name}/{inner.op_type}"  # for messages
        function = ir.from_proto(body)
        model.functions[function.identifier()] = function
        node.domain, node.op_type = function.domain, function.name
        found = True
    inline_functions(model)
    model.graph.opset_imports.pop(_DOMAIN, None)
    return found


def types_to_trace(nodes: Iterable[ir.Node]) -> Collection[str]:
    """Return the names of the operands of ``nodes``, of which `write_out` asks the types."""
    return tuple(dict.fromkeys(str(value.name) for node in nodes for value in node.inputs if value is not None))


def _body(node: ir.Node, opset: int, types: Sequence[onnx.TypeProto]) -> onnx.FunctionProto | None:
    if op_of(node) in FUSED_BODIES:
        return fused_body(node, [_rank(each) for each in types], opset)
    schema = _schema(node, opset)
    if schema is None:
        return None
    serialized = None
    if schema.has_context_dependent_function:
        version = _newest(schema.context_dependent_function_opset_versions, opset)
        proto = ir.serde.serialize_node(node).SerializeToString()
        serialized = schema.get_context_dependent_function_with_opset_version(
            version, proto, [each.SerializeToString() for each in types]
        )
    elif schema.has_function:
        serialized = schema.get_function_with_opset_version(_newest(schema.function_opset_versions, opset))
    if not serialized:
        return None
    body = onnx.FunctionProto()
    body.ParseFromString(serialized if isinstance(serialized, bytes) else serialized.SerializeToString())
    return body if body.node else None


def _newest(versions: Sequence[int], opset: int) -> int:
    return max((version for version in versions if version <= opset), default=min(versions))


def _schema(node: ir.Node, opset: int) -> defs.OpSchema | None:
    if node.domain or not defs.has(node.op_type):
        return None
    try:
        return defs.get_schema(node.op_type, opset, "")
    except defs.SchemaError:
        return None


def _rank(kind: onnx.TypeProto) -> int | None:
    return len(kind.tensor_type.shape.dim) if kind.HasField("tensor_type") else None


def _type_of(value: ir.Value | None, traced: ShapeTrace) -> onnx.TypeProto:
    if value is None:
        return onnx.TypeProto()
    name = str(value.name)
    return onnx.helper.make_tensor_type_proto(
        onnx.helper.np_dtype_to_tensor_dtype(traced.dtypes[name]), [None] * len(traced.shapes[name])
    )
