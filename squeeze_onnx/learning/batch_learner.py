"""A learner that takes whole batches, part by part: losses and gradient are means over the sequences of a batch."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from squeeze_onnx.learning.gradients import differentiate
from squeeze_onnx.learning.learner import USUAL, Learner, LearnerOptions
from squeeze_onnx.learning.losses import LOSS, LossGraph
from squeeze_onnx.learning.parts import PartedText


class TrainingFeeds(Protocol):
    """Parts of batches, each with what the teacher makes of it."""

    def feeds(self, index: int) -> dict[str, np.ndarray]:
        """Return all inputs of the loss graph for one part."""
        ...


class BatchLearner:
    """Computes losses and the ``gradient`` of one batch of ``text`` at ``parameters``, which an optimizer changes in place."""

    def __init__(self, learner: Learner, training_feeds: TrainingFeeds, text: PartedText) -> None:
        self._learner, self._training_feeds, self._text = learner, training_feeds, text
        self.parameters = learner.parameters
        self.gradient = np.zeros_like(learner.gradient)

    def __len__(self) -> int:
        """Return how many batches there are."""
        return len(self._text)

    def named(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """Return views of ``vector``, which is ordered as ``parameters``, by the name of the parameter and in its shape."""
        return self._learner.named(vector)

    def sequences(self, batch: int) -> int:
        """Return how many sequences a batch has."""
        return sum(self._text.sequences(index) for index in self._text.of(batch))

    def run(self, batch: int) -> dict[str, float]:
        """Fill ``gradient`` for one batch and return the losses by name."""
        sequences, losses = self.sequences(batch), dict[str, float]()
        self.gradient[:] = 0
        self._learner.look()
        for index in self._text.of(batch):
            share = self._text.sequences(index) / sequences
            for name, loss in self._learner.run(self._training_feeds.feeds(index)).items():
                losses[name] = losses.get(name, 0.0) + share * loss
            self._learner.gradient *= share
            self.gradient += self._learner.gradient
        return losses


def batch_of(step: int, batches: int, seed: int) -> int:
    """Return which of ``batches`` a step takes: every epoch in an order of its own, which depends on the seed only."""
    epoch, place = divmod(step, batches)
    return int(np.random.default_rng([seed, epoch]).permutation(batches)[place])


def open_learner(
    graph: LossGraph,
    parameters: Sequence[str],
    training_feeds: TrainingFeeds,
    text: PartedText,
    options: LearnerOptions = USUAL,
) -> BatchLearner:
    """Differentiate ``graph``, which ``training_feeds`` on ``text`` feed, by ``parameters``, and open the result."""
    differentiated = differentiate(graph.model, parameters, LOSS, training_feeds.feeds(text.most_telling()))
    learner = Learner(differentiated, (LOSS, *graph.heads), options)
    return BatchLearner(learner, training_feeds, text)
