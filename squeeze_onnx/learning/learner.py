"""A graph with gradients, open: parameters and gradients are views of two vectors that onnxruntime reads and writes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from squeeze_onnx.graph.io.model import save_model
from squeeze_onnx.learning.gradients import GradientGraph
from squeeze_onnx.learning.vectors import as_vector, views
from squeeze_onnx.runtime.bound_session import BoundSession
from squeeze_onnx.runtime.sessions import SessionSettings, open_session


class Learner:
    """Computes losses and the gradient at ``parameters``, a float32 vector that an optimizer changes in place."""

    def __init__(
        self, graph: GradientGraph, losses: Sequence[str], *, provider: str = "cpu", threads: int | None = None
    ) -> None:
        self.parameters = as_vector(graph.parameters)
        self.gradient = np.zeros_like(self.parameters)
        self._shapes = {name: array.shape for name, array in graph.parameters.items()}
        self._losses = {name: np.zeros((), np.float32) for name in losses}
        with TemporaryDirectory() as folder:
            path = Path(folder) / "gradients.onnx"
            save_model(graph.model, path)
            session = open_session(path, provider, SessionSettings(threads=threads, memory_pattern=False))
        gradients = self.named(self.gradient)
        self._session = BoundSession(
            session,
            self.named(self.parameters),
            {graph.gradients[name]: view for name, view in gradients.items()} | self._losses,
        )

    def named(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """Return views of ``vector``, which is ordered as ``parameters``, by the name of the parameter and in its shape."""
        return views(vector, self._shapes)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Fill ``gradient`` for one batch and return the losses by name."""
        self._session.run(feeds)
        return {name: float(value) for name, value in self._losses.items()}
