"""The rows of tokens that stay, in every table that a model looks its token ids up in.

    input_ids ─► [Cast | Identity | Reshape …] ─► Gather(table) | GatherBlockQuantized | EmbedLayerNormalization

Tables may be stored as integers: scales and zero points that each row has go with it. Whatever else reads the ids would read
other numbers: comparing them with a constant is allowed where that keeps its number, anything else is refused by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.io.model import name_of
from squeeze_onnx.graph.match.constants import constant_tensor
from squeeze_onnx.graph.match.linear_head import find_linear_head
from squeeze_onnx.graph.match.operators import int_attribute, op_of, operand
from squeeze_onnx.support.errors import ModelError

_PASSES_IDS_ON = frozenset({"Cast", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"})
_SEES_NO_IDS = frozenset({"Shape", "Size"})
_LEAVE_OUT = "leave out `keep_vocabulary`"

_TABLES = {
    "Gather": (0, 1),
    "com.microsoft.GatherBlockQuantized": (0, 1),
    "com.microsoft.EmbedLayerNormalization": (2, 0),
}
"""Operator → (operand that is the table, operand that is the ids)."""


@dataclass(frozen=True)
class TokenTables:
    """What is stored of each token: ``values``, constants whose first axis has a place for each of ``rows`` tokens.

    ``fixed`` are the ids that the graph compares its input with.
    """

    values: tuple[ir.Value, ...]
    rows: int
    fixed: frozenset[int]


def find_token_tables(model: ir.Model, input_name: str = "input_ids") -> TokenTables:
    """Return the tables that the graph input ``input_name`` is looked up in.

    Raises ModelError, which names the node, if there is none, if something else computes with the ids, or if a table is also used
    for something else, such as the answer of a language model.
    """
    waiting = [value for value in model.graph.inputs if value.name == input_name]
    values: dict[ir.Value, set[ir.Node]] = {}
    fixed: set[int] = set()
    while waiting:
        ids = waiting.pop()
        if ids.is_graph_output():
            raise _refused(model, f"its output {ids.name!r} is the token ids")
        for node, index in ids.uses():
            table, of_ids = _TABLES.get(op_of(node), (None, None))
            if table is not None and index == of_ids:
                for value in _stored(model, node, table):
                    values.setdefault(value, set()).add(node)
            elif op_of(node) in _PASSES_IDS_ON and index == 0:
                waiting.extend(node.outputs)
            elif op_of(node) == "Equal":
                fixed |= _compared_with(model, node, 1 - index)
            elif op_of(node) not in _SEES_NO_IDS:
                raise _refused(model, f"{op_of(node)} {node.name!r} computes with the token ids")
    if not values:
        raise _refused(model, f"it has no table that {input_name} is looked up in")
    rows = {_rows_of(value) for value in values}
    if len(rows) > 1:
        raise _refused(model, f"its tables have {' and '.join(map(str, sorted(rows)))} rows")
    _refuse_other_uses(model, values)
    _refuse_answers_in_tokens(model, min(rows))
    return TokenTables(tuple(values), min(rows), frozenset(fixed))


def keep_rows(tables: TokenTables, kept: Sequence[int]) -> None:
    """Let each of ``tables`` have the rows ``kept`` alone, in that order; the graph changes in place."""
    rows = np.asarray(kept, np.int64)
    for value in tables.values:
        tensor = _tensor_of(value)
        assert tensor is not None, "it was found as a constant"
        smaller = ir.Tensor(np.ascontiguousarray(tensor.numpy()[rows]), dtype=tensor.dtype, name=value.name)
        node = value.producer()
        if node is None:
            value.const_value = smaller
        else:
            node.attributes["value"] = ir.AttrTensor("value", smaller)
        value.shape = ir.Shape(smaller.shape)
        for view in _views(value):
            view.shape = None  # it had the old number of rows


def _stored(model: ir.Model, node: ir.Node, table: int) -> list[ir.Value]:
    """Return the constants behind the table of ``node`` that have a row for each token."""
    if op_of(node) == "Gather":
        return _behind(model, node, node.inputs[0]) if int_attribute(node, "axis") == 0 else _unknown(model, node)
    if op_of(node) != "com.microsoft.GatherBlockQuantized":
        return _behind(model, node, node.inputs[table])
    if int_attribute(node, "gather_axis") != 0 or int_attribute(node, "quantize_axis", 1) == 0:
        return _unknown(model, node)
    parts = [value for value in (operand(node, index) for index in (0, 2, 3)) if value is not None]
    return [value for part in parts for value in _behind(model, node, part)]


def _behind(model: ir.Model, node: ir.Node, value: ir.Value | None) -> list[ir.Value]:
    if value is not None and _tensor_of(value) is not None:
        return [value]
    source = None if value is None else value.producer()
    if source is None or op_of(source) not in ("Identity", "Cast", "DequantizeLinear"):
        return _unknown(model, node)
    found = _behind(model, node, source.inputs[0])
    if op_of(source) == "DequantizeLinear":
        rows = _rows_of(found[0])
        for part in (operand(source, 1), operand(source, 2)):
            shape = () if part is None or part.shape is None else tuple(part.shape)
            by_row = int_attribute(source, "axis", 1) % 2 == 0 if len(shape) == 1 and shape != (1,) else len(shape) == 2
            if part is not None and by_row and shape[0] == rows:
                found += _behind(model, node, part)
            elif by_row:
                return _unknown(model, node)
    return found


def _tensor_of(value: ir.Value) -> ir.TensorProtocol | None:
    node = value.producer()
    if node is None:
        return value.const_value
    return constant_tensor(value) if op_of(node) == "Constant" else None


def _rows_of(value: ir.Value) -> int:
    tensor = _tensor_of(value)
    return 0 if tensor is None or not len(tensor.shape) else int(tensor.shape.numpy()[0])


def _compared_with(model: ir.Model, node: ir.Node, other: int) -> set[int]:
    tensor = constant_tensor(node.inputs[other])
    if tensor is None:
        raise _refused(model, f"Equal {node.name!r} compares the token ids with what is not constant")
    return {int(number) for number in tensor.numpy().ravel()}


def _views(value: ir.Value) -> Sequence[ir.Value]:
    found = [value]
    for view in found:
        for node, index in view.uses():
            if index == 0 and op_of(node) in ("Identity", "Cast", "DequantizeLinear"):
                found.extend(node.outputs)
    return found[1:]


def _refuse_other_uses(model: ir.Model, values: dict[ir.Value, set[ir.Node]]) -> None:
    for value, lookups in values.items():
        for view in (value, *_views(value)):
            if view.is_graph_output():
                raise _refused(model, f"its output {view.name!r} is the table of its tokens")
            for node, _ in view.uses():
                passed_on = op_of(node) in ("Identity", "Cast", "DequantizeLinear")
                if node not in lookups and not passed_on:
                    raise _refused(
                        model,
                        f"{op_of(node)} {node.name!r} computes with the table {value.name!r} that tokens are looked up in, as "
                        "language models do",
                    )


def _refuse_answers_in_tokens(model: ir.Model, rows: int) -> None:
    """Raise ModelError if an output has a number for each token, as those of language models have."""
    for output in model.graph.outputs:
        head = find_linear_head(model, str(output.name))
        width = output.shape[-1] if output.shape else None
        if width == rows or (head is not None and head.sites[-1].out_features == rows):
            raise _refused(model, f"its output {output.name!r} has a number for each of its {rows} tokens")


def _unknown(model: ir.Model, node: ir.Node) -> list[ir.Value]:
    raise _refused(
        model, f"{op_of(node)} {node.name!r} looks tokens up in what is no plain or quantized table of constants"
    )


def _refused(model: ir.Model, why: str) -> ModelError:
    return ModelError(f"{name_of(model)} cannot have a part of its vocabulary alone: {why}; {_LEAVE_OUT}")
