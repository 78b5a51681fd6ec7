"""What the nodes behind a step read beside the stream, for the tokens that are left: masks, relative positions, sizes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.constants import is_constant
from squeeze_onnx.graph.match.operators import int_attribute, op_of
from squeeze_onnx.graph.rewrite.insertion import Inserter
from squeeze_onnx.support.errors import ModelError

AxisKind = Literal["fixed", "batch", "tokens", "other"]
"""What an axis of a value runs over: always as many, the texts, their tokens, or something that is made of both."""


@dataclass(frozen=True, eq=False)
class Positions:
    """Where the tokens that are left stand in their ``text``, (batch, kept), what stands there to be ``shown`` to other tokens
    (padding at a place that is not real), and how many there are (1,)."""

    text: ir.Value
    shown: ir.Value
    count: ir.Value


@dataclass(frozen=True, eq=False)
class KeptOperands:
    """Picks of each value what belongs to the tokens at ``positions``; each value once."""

    emit: Inserter
    before: ir.Node
    axes: Mapping[str, tuple[AxisKind, ...]]
    positions: Positions
    _known: dict[ir.Value, ir.Value] = field(default_factory=dict)

    def of(self, value: ir.Value, reader: ir.Node) -> ir.Value:
        """Return what ``reader`` is to read instead of ``value``; raises ModelError if that cannot be picked."""
        if value not in self._known:
            self._known[value] = self._made(value, reader)
        return self._known[value]

    def _made(self, value: ir.Value, reader: ir.Node) -> ir.Value:
        kinds = self.axes.get(str(value.name))
        if kinds is None or is_constant(value):
            return value
        if "tokens" not in kinds and "other" not in kinds:
            return self._resized(value)
        first, others = kinds[0], kinds[1:]
        if "other" in kinds or first == "tokens" or "batch" in others or others.count("tokens") > 2:
            raise ModelError(
                f"{op_of(reader)} {reader.name!r} reads {value.name!r}, in which what belongs to a token of a text cannot be "
                "told: its tokens cannot be taken out"
            )
        return self._picked(value, kinds)

    def _picked(self, value: ir.Value, kinds: tuple[AxisKind, ...]) -> ir.Value:
        """Return the rows, or rows and columns, of ``value`` at the positions: token axes first, flat, looked up, back."""
        node = self._node
        tokens = [axis for axis, kind in enumerate(kinds) if kind == "tokens"]
        others = [axis for axis in range(1, len(kinds)) if axis not in tokens]
        order = [0, *tokens, *others]
        sizes = node("Shape", value)
        length = node("Gather", sizes, self._integers(tokens[0]))
        place = self.positions.shown
        if len(tokens) == 2:
            rows = node("Unsqueeze", node("Mul", place, length), self._integers([2]))
            place = node("Add", rows, node("Unsqueeze", place, self._integers([1])))
        if kinds[0] == "batch":
            texts = node("Gather", sizes, self._integers(0))
            offsets = node("Range", self._integers(0), texts, self._integers(1))
            for _ in tokens:
                offsets = node("Mul", offsets, length)
            place = node("Add", place, node("Unsqueeze", offsets, self._integers(list(range(1, 1 + len(tokens))))))
        moved = node("Transpose", value, perm=order) if order != sorted(order) else value
        rest = node("Gather", sizes, self._integers(others)) if others else None
        flat = self._integers([-1]) if rest is None else node("Concat", self._integers([-1]), rest, axis=0)
        found = node("Gather", node("Reshape", moved, flat), place, axis=0)
        return node("Transpose", found, perm=np.argsort(order).tolist()) if order != sorted(order) else found

    def _resized(self, value: ir.Value) -> ir.Value:
        """Return ``value``, which no token belongs to, computed of as many tokens as are left if it depends on that."""
        producer = value.producer()
        if producer is None or is_constant(value) or any(map(_is_graph, producer.attributes.values())):
            return value
        if value in self._known:
            return self._known[value]
        inputs = [each and self._source(each) for each in producer.inputs]
        found = value
        if op_of(producer) == "Shape":
            found = self._shape(producer)
        elif any(new is not old for new, old in zip(inputs, producer.inputs, strict=True)):
            attributes = {name: each.value for name, each in producer.attributes.items()}
            count = len(producer.outputs)
            made = self.emit.node(
                f"{producer.domain}.{producer.op_type}".lstrip("."),
                inputs,
                before=self.before,
                outputs=count,
                **attributes,
            ).producer()
            assert made is not None
            for old, new in zip(producer.outputs, made.outputs, strict=True):
                self._known[old] = new
            found = self._known[value]
        self._known[value] = found
        return found

    def _source(self, value: ir.Value) -> ir.Value:
        """Return what takes the place of an operand of a node that sizes are computed by; one with tokens is left as it is."""
        kinds = self.axes.get(str(value.name), ())
        return value if {"tokens", "other"} & {*kinds} else self._resized(value)

    def _shape(self, shape: ir.Node) -> ir.Value:
        """Return the shape that the operand of ``shape`` would have with the tokens that are left."""
        [value] = shape.inputs
        assert value is not None
        kinds = self.axes.get(str(value.name), ())
        start, end = int_attribute(shape, "start"), int_attribute(shape, "end", len(kinds))
        runs = np.array([kind == "tokens" for kind in kinds[start:end]])
        if not runs.any():
            return shape.outputs[0]
        return self._node("Where", self.emit.constant(runs), self.positions.count, shape.outputs[0])

    def _node(self, op: str, *inputs: ir.Value | None, **attributes: object) -> ir.Value:
        return self.emit.node(op, list(inputs), before=self.before, **attributes)  # type: ignore[arg-type]

    def _integers(self, entries: int | list[int]) -> ir.Value:
        return self.emit.constant(np.asarray(entries, np.int64))


def _is_graph(attribute: ir.Attr) -> bool:
    return attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
