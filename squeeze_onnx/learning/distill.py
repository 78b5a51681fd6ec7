"""Distillation: the squeezed model learns to imitate the dense one on text without labels.

All that is left of the weights learns, factors, dense weights, biases and norms, so the size stays what it was. A slice of the
text is held out; the parameters that answer it best are what is kept, and the start is among them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx_ir as ir

from squeeze_onnx.calibration import CalibrationBatch
from squeeze_onnx.errors import ModelError, OptionError
from squeeze_onnx.learning.checkpoints import Checkpoint, CheckpointConfig
from squeeze_onnx.learning.gradients import differentiate
from squeeze_onnx.learning.learner import Learner
from squeeze_onnx.learning.losses import LOSS, LossHead, attach_losses
from squeeze_onnx.learning.optimizer import AdamW, Schedule, clip
from squeeze_onnx.learning.parameters import learnable_parameters
from squeeze_onnx.learning.teacher import TaughtBatches, teach
from squeeze_onnx.progress import Track, silent

AUTO_EPOCHS = 20
AUTO_STEPS = (200, 2000)
"""``auto`` goes through the text `AUTO_EPOCHS` times, but takes no fewer and no more steps than these."""


@dataclass(frozen=True)
class DistillConfig:
    """How long and how fast to learn.

    ``steps`` counts batches (None: `AUTO_EPOCHS`), ``rate`` is the highest learning rate, after ``warm_up`` of the steps;
    ``held_out`` is the fraction of the batches that only judges, ``evaluations`` times, but no more than ``most_held_out`` of
    them, for judging takes time too; after ``patience`` evaluations without a better one learning ends. ``largest_gradient`` is
    the norm that gradients are clipped to.
    """

    steps: int | None = None
    rate: float = 2e-4
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
            raise OptionError(f"--distill is a positive number of steps, or auto; got {self.steps}")


@dataclass(frozen=True)
class Distillation:
    """What learning did: the loss of the answers to held-out text before and after, and where the best ones came from.

    ``history`` has (step, held-out loss) of every evaluation; ``measure`` names the loss.
    """

    measure: str
    before: float
    after: float
    best_step: int
    steps: int
    history: tuple[tuple[int, float], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "history": [list(entry) for entry in self.history]}


def distill(
    student: ir.Model,
    teacher: ir.Model,
    losses: Sequence[LossHead],
    batches: Sequence[CalibrationBatch],
    config: DistillConfig | None = None,
    *,
    provider: str = "cpu",
    threads: int | None = None,
    checkpoint: CheckpointConfig | None = None,
    track: Track = silent,
) -> Distillation:
    """Let ``student``, whose weights change in place, imitate ``teacher`` on ``batches``.

    The first of ``losses`` is that of the answer; it judges on held-out text. With a ``checkpoint`` the state is saved now and
    then and at the end, and a run that finds the file goes on from there to the same result; whoever has the result deletes it.

    Raises OptionError if there is too little text or the checkpoint is another run's, ModelError if the graph cannot be
    differentiated or a gradient is not finite.
    """
    config = config or DistillConfig()
    if len(batches) < 2:
        raise OptionError("--distill learns on some batches and judges on others: give more calibration text")
    graph = attach_losses(student, losses)
    parameters = learnable_parameters(student, [loss.value for loss in losses])
    if not parameters:
        raise ModelError(
            "--distill finds no float32 weight that the answer depends on: convert the model to FLOAT first"
        )
    with TemporaryDirectory() as folder:
        taught = teach(teacher, graph, batches, Path(folder), provider=provider, track=track)
        largest = max(range(len(taught)), key=taught.sequences)
        learner = Learner(
            differentiate(graph.model, parameters, LOSS, taught.feeds(largest)),
            (LOSS, *graph.heads),
            provider=provider,
            threads=threads,
        )
        run = _Run(learner, graph.heads[0], taught, config)
        if checkpoint is None:
            run.learn(track)
        else:
            fingerprint = _fingerprint(config, losses, learner.parameters, batches)
            run.learn_with(Checkpoint(checkpoint.path, fingerprint), checkpoint.minutes, track)
    for name, entries in learner.named(run.best_parameters).items():
        student.graph.initializers[name].const_value = ir.tensor(entries.copy(), name=name)
    return run.outcome(type(losses[0]).__name__)


def held_out_batches(count: int, config: DistillConfig) -> list[int]:
    """Return which of ``count`` batches are held out: every n-th, a fair sample of batches that come shortest first."""
    stride = max(round(1 / config.held_out), ceil(count / config.most_held_out), 2)
    return list(range(stride // 2, count, stride)) or [count - 1]


class _Run:
    """Learning as it goes on: everything that changes from step to step."""

    def __init__(self, learner: Learner, answer: str, taught: TaughtBatches, config: DistillConfig) -> None:
        self._learner, self._answer, self._taught, self._config = learner, answer, taught, config
        self._held_out = held_out_batches(len(taught), config)
        self._learned_on = [index for index in range(len(taught)) if index not in self._held_out]
        steps = config.steps or int(np.clip(AUTO_EPOCHS * len(self._learned_on), *AUTO_STEPS))
        self._schedule = Schedule(config.rate, steps, max(round(config.warm_up * steps), 1))
        self._interval = max(steps // config.evaluations, 1)
        self._optimizer = AdamW.fresh(learner.parameters.size, weight_decay=config.weight_decay)
        self._step = 0
        self._history: list[tuple[int, float]] = []
        self._loss = np.nan
        self.best_parameters = learner.parameters.copy()

    def learn(self, track: Track, save: Callable[[], None] = lambda: None) -> None:
        """Take all steps that are left, calling ``save`` after each."""
        if not self._history:
            self._evaluate()
        for step in track(range(self._step, self._schedule.steps), "Distillation", self.status):
            if self._is_over():
                break
            self._take(step)
            save()

    def learn_with(self, checkpoint: Checkpoint, minutes: float, track: Track) -> None:
        """Take all steps that are left since ``checkpoint``, which is renewed every so many minutes and at the end."""
        state = checkpoint.load()
        if state is not None:
            self._restore(state)
        saved_at = time.monotonic()

        def save() -> None:
            nonlocal saved_at
            if time.monotonic() - saved_at >= 60 * minutes:
                checkpoint.save(self._state())
                saved_at = time.monotonic()

        self.learn(track, save)
        checkpoint.save(self._state())

    def status(self) -> str:
        """Say where learning stands."""
        return f"loss {self._loss:.4f}, held out {self._history[-1][1]:.4f} (best {self._best[1]:.4f})"

    def outcome(self, measure: str) -> Distillation:
        """Return what came of it."""
        best_step, after = self._best
        return Distillation(measure, self._history[0][1], after, best_step, self._step, tuple(self._history))

    @property
    def _best(self) -> tuple[int, float]:
        return min(self._history, key=lambda entry: entry[1])

    def _take(self, step: int) -> None:
        learner, config = self._learner, self._config
        self._loss = learner.run(self._taught.feeds(self._batch_of(step)))[LOSS]
        if not np.isfinite(clip(learner.gradient, config.largest_gradient)):
            raise ModelError(f"--distill: the gradient of step {step} is not finite: check the weights of the model")
        self._optimizer.update(learner.parameters, learner.gradient, self._schedule.rate(step))
        self._step = step + 1
        if self._step % self._interval == 0 or self._step == self._schedule.steps:
            self._evaluate()

    def _batch_of(self, step: int) -> int:
        """Return the batch of a step: every epoch in an order of its own, which depends on the seed and nothing else."""
        epoch, place = divmod(step, len(self._learned_on))
        order = np.random.default_rng([self._config.seed, epoch]).permutation(len(self._learned_on))
        return self._learned_on[int(order[place])]

    def _evaluate(self) -> None:
        """Judge the parameters on held-out text, every sequence alike, and keep them if they are the best."""
        losses = [self._learner.run(self._taught.feeds(index))[self._answer] for index in self._held_out]
        loss = float(np.average(losses, weights=[self._taught.sequences(index) for index in self._held_out]))
        self._history.append((self._step, loss))
        if self._best == self._history[-1]:
            self.best_parameters[:] = self._learner.parameters

    def _is_over(self) -> bool:
        """Whether nothing got better for a while. The start does not count: a good one is first lost, then passed."""
        learned = [loss for _, loss in self._history[1:]]
        return bool(learned) and len(learned) - 1 - int(np.argmin(learned)) >= self._config.patience

    def _state(self) -> dict[str, np.ndarray]:
        return {
            "parameters": self._learner.parameters,
            "best_parameters": self.best_parameters,
            "mean": self._optimizer.mean,
            "square": self._optimizer.square,
            "step": np.array(self._step),
            "history": np.array(self._history),
        }

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self._learner.parameters[:] = state["parameters"]
        self.best_parameters[:] = state["best_parameters"]
        self._optimizer.mean[:], self._optimizer.square[:] = state["mean"], state["square"]
        self._optimizer.steps = self._step = int(state["step"])
        self._history = [(int(step), float(loss)) for step, loss in state["history"]]


def _fingerprint(
    config: DistillConfig, losses: Sequence[LossHead], parameters: np.ndarray, batches: Sequence[CalibrationBatch]
) -> str:
    """Return what tells this run from any other: its options, its start and its text."""
    digest = sha256(repr((config, tuple(losses))).encode())
    digest.update(parameters.tobytes())
    for batch in batches:
        for name, array in sorted(batch.feeds.items()):
            digest.update(f"{name}{array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()
