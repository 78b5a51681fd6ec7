"""A graph with gradients, open: parameters and gradients are views of two vectors that onnxruntime reads and writes.

What will be stored rounded is read rounded, and its gradient counts as that of the entries behind it: the straight-through
estimator (Bengio, Léonard & Courville 2013, arXiv 1308.3432). So learning makes up for what rounding will do.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from squeeze_onnx.learning.gradients import GradientGraph
from squeeze_onnx.learning.vectors import as_vector, views
from squeeze_onnx.runtime.bound_session import BoundSession
from squeeze_onnx.runtime.graph_session import open_graph
from squeeze_onnx.runtime.sessions import SessionSettings

Rounding = Callable[[np.ndarray], np.ndarray]
"""Returns what the entries of a parameter become as they are stored, in the same shape."""


@dataclass(frozen=True)
class LearnerOptions:
    """How a learner runs: on which ``provider``, with how many ``threads`` (None: onnxruntime's choice).

    ``roundings`` are those of the parameters, by name, that will be stored in fewer bits.
    """

    provider: str = "cpu"
    threads: int | None = None
    roundings: Mapping[str, Rounding] = field(default_factory=dict)


USUAL = LearnerOptions()


class Learner:
    """Computes losses and the gradient at ``parameters``, a float32 vector that an optimizer changes in place."""

    def __init__(self, graph: GradientGraph, losses: Sequence[str], options: LearnerOptions = USUAL) -> None:
        self.parameters = as_vector(graph.parameters)
        self._roundings = {name: each for name, each in options.roundings.items() if name in graph.parameters}
        self._read = self.parameters.copy() if self._roundings else self.parameters
        self._looked_at = np.full_like(self.parameters, np.nan) if self._roundings else self.parameters
        self.gradient = np.zeros_like(self.parameters)
        self._shapes = {name: array.shape for name, array in graph.parameters.items()}
        self._losses = {name: np.zeros((), np.float32) for name in losses}
        settings = SessionSettings(threads=options.threads, memory_pattern=False)
        session = open_graph(graph.model, options.provider, settings, part="the gradients")
        gradients = self.named(self.gradient)
        self._session = BoundSession(
            session,
            self.named(self._read),
            {graph.gradients[name]: view for name, view in gradients.items()} | self._losses,
        )

    def named(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """Return views of ``vector``, which is ordered as ``parameters``, by the name of the parameter and in its shape."""
        return views(vector, self._shapes)

    def look(self) -> None:
        """Take over ``parameters`` as they are now, rounded where they will be stored so."""
        if self._roundings and not np.array_equal(self._looked_at, self.parameters):
            self._looked_at[:] = self._read[:] = self.parameters
            read = self.named(self._read)
            for name, rounding in self._roundings.items():
                read[name][:] = rounding(read[name])

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Fill ``gradient`` for one batch, at the parameters at the last `look`, and return the losses by name."""
        self._session.run(feeds)
        return {name: float(value) for name, value in self._losses.items()}
