"""A student in training: gradient steps on some batches, others that judge, and the best parameters so far.

Of what part of a model learns from which batches it knows nothing, so the whole model and a single layer learn alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

import numpy as np

from squeeze_onnx.learning.batch_learner import BatchLearner, batch_of
from squeeze_onnx.learning.losses import LOSS
from squeeze_onnx.learning.optimizer import AdamW, MovingAverage, Schedule, clip
from squeeze_onnx.support.errors import ModelError, OptionError
from squeeze_onnx.support.progress import Track

T = TypeVar("T")


@dataclass(frozen=True)
class DistillConfig:
    """How long and how fast to learn.

    ``steps`` counts batches (None: as many as the text is worth, see `squeeze_onnx.learning.distill`). ``block_share`` is the
    part of them that goes through single layers: so many steps through every layer cost what so many through the model do, and
    bring less (models/*/results/distillation.json).
    ``rate`` is the highest learning rate, as a share of the root mean square of a weight, after ``warm_up`` of the steps;
    ``held_out`` is the fraction of the batches that only judges, ``evaluations`` times, but no more than ``most_held_out`` of
    them, for judging takes time too; after ``patience`` evaluations without a better one learning ends. ``largest_gradient`` is
    the norm that gradients are clipped to.
    """

    steps: int | None = None
    block_share: float = 0.0
    rate: float = 1e-3
    warm_up: float = 0.05
    held_out: float = 0.1
    most_held_out: int = 8
    evaluations: int = 20
    patience: int = 6
    largest_gradient: float = 1.0
    weight_decay: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise OptionError(f"`distill` is a positive number of steps, or auto; got {self.steps}")
        if not 0 <= self.block_share <= 1:
            raise OptionError(f"`distill_layers` is a float from 0 to 1; got {self.block_share}")


@dataclass(frozen=True)
class History:
    """(step, held-out loss) of every evaluation, the start (step 0) first; where there were two starts, both."""

    evaluations: tuple[tuple[int, float], ...]

    @property
    def before(self) -> float:
        """The loss of the first start."""
        return self.evaluations[0][1]

    @property
    def best(self) -> tuple[int, float]:
        """The step that what is kept is of, and its loss."""
        return min(self.evaluations, key=lambda entry: entry[1])

    @property
    def steps(self) -> int:
        """How many steps were taken; the last one is always judged."""
        return self.evaluations[-1][0]


def held_out_batches(count: int, config: DistillConfig) -> list[int]:
    """Return which of ``count`` batches are held out: every n-th, a fair sample of batches that come shortest first."""
    stride = max(round(1 / config.held_out), ceil(count / config.most_held_out), 2)
    return list(range(stride // 2, count, stride)) or [count - 1]


def batches_to_learn_on(batches: Sequence[T], config: DistillConfig) -> list[T]:
    """Return those of ``batches`` that are not held out. Raises OptionError if a single one is all there is."""
    if len(batches) < 2:
        raise OptionError("`distill` learns on some batches and judges on others: give more calibration text")
    held_out = held_out_batches(len(batches), config)
    return [batch for index, batch in enumerate(batches) if index not in held_out]


class TrainingLoop:
    """Learning as it goes on: everything that changes from step to step.

    ``judge`` is the loss that is asked for on held-out text, every ``interval`` steps. The learner starts from its parameters,
    or from an ``earlier`` start if that is judged to be no worse.
    """

    def __init__(
        self,
        learner: BatchLearner,
        judge: str,
        config: DistillConfig,
        *,
        steps: int,
        interval: int,
        earlier: Sequence[np.ndarray] = (),
    ) -> None:
        self._learner, self._judge, self._config = learner, judge, config
        self._held_out = held_out_batches(len(learner), config)
        self._learned_on = batches_to_learn_on(range(len(learner)), config)
        self._schedule = Schedule(config.rate, steps, max(round(config.warm_up * steps), 1))
        self._interval = interval
        first = next(iter(earlier), learner.parameters)
        self._optimizer = AdamW.fresh(learner.named(first).values(), weight_decay=config.weight_decay)
        self._average = MovingAverage(learner.parameters, interval)
        self._earlier = earlier
        self._best_parameters = learner.parameters.copy()
        self._step = 0
        self._history: list[tuple[int, float]] = []
        self._loss = np.nan
        self.interrupted = False

    @property
    def history(self) -> History:
        """What was judged so far."""
        return History(tuple(self._history))

    def best_entries(self) -> dict[str, np.ndarray]:
        """Return the parameters that were judged best, by name."""
        return self._learner.named(self._best_parameters)

    def learn(self, track: Track, label: str, save: Callable[[], None]) -> None:
        """Take all steps that are left, calling ``save`` after each; ``label`` is what the user reads meanwhile.

        Ctrl-C ends it with the best so far if ``track`` says so; `interrupted` tells.
        """
        self.judge_start()
        try:
            for step in track(range(self._step, self._schedule.steps), label, self.status):
                if self._is_over():
                    break
                self._take(step)
                save()
        except KeyboardInterrupt:
            if not track.ends_early(label):
                raise
            self.interrupted = True

    def judge_start(self) -> None:
        """Choose where to start, if that is still to do."""
        if not self._history:
            self._choose_start()

    def status(self) -> str:
        """Say where learning stands."""
        return f"loss {self._loss:.4f}, held out {self._history[-1][1]:.4f} (best {self.history.best[1]:.4f})"

    def state(self) -> dict[str, np.ndarray]:
        """Return all that `restore` takes to go on from here."""
        return {
            "parameters": self._learner.parameters,
            "best_parameters": self._best_parameters,
            "average": self._average.values,
            "mean": self._optimizer.mean,
            "square": self._optimizer.square,
            "step": np.array(self._step),
            "history": np.array(self._history),
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go back to where `state` was called."""
        self._learner.parameters[:] = state["parameters"]
        self._best_parameters[:] = state["best_parameters"]
        self._average.values[:] = state["average"]
        self._optimizer.mean[:], self._optimizer.square[:] = state["mean"], state["square"]
        self._optimizer.steps = self._step = int(state["step"])
        self._history = evaluations_of(state["history"])

    def _choose_start(self) -> None:
        parameters = self._learner.parameters
        if self._earlier:
            own = parameters.copy()
            for start in self._earlier:
                parameters[:] = start
                self._evaluate()
            parameters[:] = own
        self._evaluate()
        parameters[:] = self._average.values[:] = self._best_parameters

    def _take(self, step: int) -> None:
        learner, config = self._learner, self._config
        batch = self._learned_on[batch_of(step, len(self._learned_on), config.seed)]
        self._loss = learner.run(batch)[LOSS]
        if not np.isfinite(clip(learner.gradient, config.largest_gradient)):
            raise ModelError(f"`distill`: the gradient of step {step} is not finite: check the weights of the model")
        self._optimizer.update(learner.parameters, learner.gradient, self._schedule.rate(step))
        self._average.add(learner.parameters)
        self._step = step + 1
        if self._step % self._interval == 0 or self._step == self._schedule.steps:
            self._average.swap(learner.parameters)
            self._evaluate()
            self._average.swap(learner.parameters)

    def _evaluate(self) -> None:
        """Judge the parameters on held-out text, every sequence alike, and keep them if they are the best."""
        losses = [self._learner.run(batch)[self._judge] for batch in self._held_out]
        loss = float(np.average(losses, weights=[self._learner.sequences(batch) for batch in self._held_out]))
        self._history.append((self._step, loss))
        if self.history.best is self._history[-1]:
            self._best_parameters[:] = self._learner.parameters

    def _is_over(self) -> bool:
        """Whether nothing got better for a while. The start does not count: a good one is first lost, then passed."""
        learned = [loss for _, loss in self._history[len(self._earlier) + 1 :]]
        return bool(learned) and len(learned) - 1 - int(np.argmin(learned)) >= self._config.patience


def evaluations_of(array: np.ndarray) -> list[tuple[int, float]]:
    """Return a history (evaluations, 2) as it was before it was saved."""
    return [(int(step), float(loss)) for step, loss in array]
