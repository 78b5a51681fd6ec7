"""What a rule of differentiation sees and says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import onnx_ir as ir

from squeeze_onnx.graph.match.operators import op_of, operand
from squeeze_onnx.learning.emitter import Emitter
from squeeze_onnx.support.errors import ModelError


@dataclass(frozen=True)
class Adjoint:
    """A node, what the loss changes by its outputs, and which operands the same is wanted of.

    ``gradients`` has one entry an output, shaped as the output; None where the loss does not depend on it.
    """

    node: ir.Node
    gradients: Sequence[ir.Value | None]
    wanted: frozenset[int]
    emit: Emitter

    @property
    def gradient(self) -> ir.Value:
        """The gradient of the first output."""
        return self.given(self.gradients[0])

    @property
    def output(self) -> ir.Value:
        """The first output."""
        return self.node.outputs[0]

    def operand(self, index: int) -> ir.Value:
        """Return an operand that the operator requires."""
        return self.given(self.node.inputs[index])

    def given(self, value: ir.Value | None) -> ir.Value:
        """Return ``value``; raises ModelError if it is missing."""
        if value is None:
            raise ModelError(f"{self.called} lacks a required operand or result: export the model again")
        return value

    def only(self, *operands: int) -> None:
        """Raise ModelError if the gradient of an operand other than ``operands`` is wanted."""
        others = sorted(self.wanted.difference(operands))
        if others:
            raise ModelError(
                f"{self.called} cannot be differentiated by its operand {others[0]}: leave what feeds it out of the learning"
            )

    def float_attribute(self, name: str, default: float) -> float:
        """Return the attribute ``name`` of the node, a number."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else float(attribute.as_float())

    def sum_along(self, value: ir.Value) -> ir.Value:
        """Sum ``value``, shaped as the first operand, along the axes that the node reduces."""
        axes, attributes = operand(self.node, 1), dict(self.node.attributes)
        along = attributes.pop("axes", None)
        if along is not None:
            axes = self.emit.axes(*along.as_ints())
        return self.emit("ReduceSum", value, axes, **attributes)

    @property
    def called(self) -> str:
        """The operator and name of the node, as messages say it."""
        return f"{op_of(self.node)} {self.node.name!r}"


class Rule(Protocol):
    """Differentiates one operator."""

    def __call__(self, adjoint: Adjoint) -> Mapping[int, ir.Value]:
        """Emit the gradients of the wanted operands, each shaped as the operand; returns them by operand number."""
        ...
