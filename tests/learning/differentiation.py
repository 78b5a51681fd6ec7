"""Gradients of graphs in onnxruntime, to be held against others."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from squeeze_onnx.learning.gradients import GradientGraph, differentiate
from tests.graph.execution import run

Array = np.ndarray


def gradients(
    model: ir.Model,
    parameters: Sequence[str],
    feeds: Mapping[str, Array],
    *,
    loss: str = "loss",
    traced: Mapping[str, Array] | None = None,
) -> dict[str, Array]:
    """Return the gradient of ``loss`` by each parameter on ``feeds``; shapes are traced on another batch if ``traced``."""
    graph = differentiate(model, parameters, loss, traced or feeds)
    return run_gradients(graph, feeds)


def run_gradients(graph: GradientGraph, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Return the gradients of ``graph`` at its own parameters."""
    names = [str(value.name) for value in graph.model.graph.outputs]
    found = dict(zip(names, run(graph.model, {**feeds, **graph.parameters}), strict=True))
    return {name: found[output] for name, output in graph.gradients.items()}


def relative_error(found: Array, expected: Array) -> float:
    """Return ‖found − expected‖/‖expected‖."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
