"""Functions of one value, entry by entry: x goes in, y comes out, and y is used again wherever it says y′."""

from collections.abc import Mapping
from math import log, pi, sqrt

import onnx_ir as ir

from squeeze_onnx.learning.emitter import Emitter
from squeeze_onnx.learning.rules.base import Adjoint


def negate(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = −x."""
    return {0: adjoint.emit("Neg", adjoint.gradient)}


def square_root(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = √x: y′ = 1/(2y)."""
    emit = adjoint.emit
    return {0: emit("Mul", emit("Div", adjoint.gradient, adjoint.output), emit.constant(0.5))}


def reciprocal(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = 1/x: y′ = −y²."""
    emit, y = adjoint.emit, adjoint.output
    return {0: emit("Neg", emit("Mul", adjoint.gradient, emit("Mul", y, y)))}


def exponential(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = eˣ: y′ = y."""
    return {0: adjoint.emit("Mul", adjoint.gradient, adjoint.output)}


def logarithm(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = log x: y′ = 1/x."""
    return {0: adjoint.emit("Div", adjoint.gradient, adjoint.operand(0))}


def tanh(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = tanh x: y′ = 1 − y²."""
    emit, y = adjoint.emit, adjoint.output
    return {0: emit("Mul", adjoint.gradient, emit("Sub", emit.constant(1), emit("Mul", y, y)))}


def sigmoid(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = 1/(1 + e⁻ˣ): y′ = y(1 − y)."""
    emit, y = adjoint.emit, adjoint.output
    return {0: emit("Mul", adjoint.gradient, emit("Mul", y, emit("Sub", emit.constant(1), y)))}


def absolute(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = |x|: y′ = sign(x), which is 0 at 0."""
    emit = adjoint.emit
    return {0: emit("Mul", adjoint.gradient, emit("Sign", adjoint.operand(0)))}


def sine(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = sin x: y′ = cos x."""
    emit = adjoint.emit
    return {0: emit("Mul", adjoint.gradient, emit("Cos", adjoint.operand(0)))}


def cosine(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = cos x: y′ = −sin x."""
    emit = adjoint.emit
    return {0: emit("Neg", emit("Mul", adjoint.gradient, emit("Sin", adjoint.operand(0))))}


def error_function(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = erf x: y′ = 2/√π · exp(−x²)."""
    emit, x = adjoint.emit, adjoint.operand(0)
    return {0: emit("Mul", adjoint.gradient, bell(emit, 2 / sqrt(pi), x))}


def bell(emit: Emitter, height: float, x: ir.Value) -> ir.Value:
    """Return height · exp(−x²); the height goes into the exponent, which saves a pass over the entries."""
    return emit("Exp", emit("Sub", emit.constant(log(height)), emit("Mul", x, x)))
