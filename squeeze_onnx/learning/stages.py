"""Learning in stages, each of which changes the student for the next; a checkpoint knows the stage, too."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.learning.checkpoints import Checkpoint
from squeeze_onnx.learning.parameters import put_entries, read_entries
from squeeze_onnx.learning.training_loop import History, TrainingLoop, evaluations_of
from squeeze_onnx.learning.vectors import as_vector, views
from squeeze_onnx.support.progress import Track


@dataclass(frozen=True)
class Stage:
    """What the user reads while it lasts, and how it begins: the student is then as the stages before left it."""

    label: str
    begin: Callable[[], TrainingLoop]


@dataclass(frozen=True)
class Saving:
    """Where the state goes, and how many ``minutes`` pass from one saving to the next."""

    checkpoint: Checkpoint
    minutes: float


@dataclass(frozen=True)
class Learned:
    """What was judged in each stage, and whether Ctrl-C ended learning."""

    histories: tuple[History, ...]
    interrupted: bool


def learn_in_stages(
    student: ir.Model, parameters: Sequence[str], stages: Sequence[Stage], saving: Saving | None, track: Track
) -> Learned:
    """Go through ``stages``, after each of which the best it found is in ``student``; they change ``parameters`` only.

    After Ctrl-C, if ``track`` lets it end early, no more steps are taken. With ``saving`` the state is saved now and then and at
    the end of a stage; if there is one, this goes on from it.
    """
    course = _Course(student, parameters, saving)
    for stage in stages[course.stage :]:
        course.attend(stage, track)
    return Learned(tuple(course.histories), course.interrupted)


class _Course:
    """Which stages are over, what they left, and what is known of the one that was interrupted."""

    def __init__(self, student: ir.Model, parameters: Sequence[str], saving: Saving | None) -> None:
        self._student, self._parameters, self._saving = student, parameters, saving
        self._interrupted: dict[str, np.ndarray] | None = None
        self._saved_at = time.monotonic()
        self.histories: list[History] = []
        self.interrupted = False
        state = None if saving is None else saving.checkpoint.load()
        if state is not None:
            self._go_back_to(state)

    @property
    def stage(self) -> int:
        """How many stages are over."""
        return len(self.histories)

    def attend(self, stage: Stage, track: Track) -> None:
        """Go through one stage, or what is left of it."""
        loop = stage.begin()
        if self._interrupted is not None:
            loop.restore(self._interrupted)
            self._interrupted = None
        if self.interrupted:
            loop.judge_start()
        else:
            loop.learn(track, stage.label, lambda: self._save_if_due(loop))
            self.interrupted = loop.interrupted
        if not self.interrupted:  # else a step may be half done
            self._save(loop)
        put_entries(self._student, loop.best_entries())
        self.histories.append(loop.history)

    def _save_if_due(self, loop: TrainingLoop) -> None:
        if self._saving is not None and time.monotonic() - self._saved_at >= 60 * self._saving.minutes:
            self._save(loop)

    def _save(self, loop: TrainingLoop) -> None:
        """Save the state, and the student, which is what it was when the stage began."""
        if self._saving is None:
            return
        over = {_key(index): np.array(history.evaluations) for index, history in enumerate(self.histories)}
        student = as_vector(read_entries(self._student, self._parameters))
        self._saving.checkpoint.save({"stage": np.array(self.stage), "student": student, **over, **loop.state()})
        self._saved_at = time.monotonic()

    def _go_back_to(self, state: dict[str, np.ndarray]) -> None:
        over = [state.pop(_key(index)) for index in range(int(state.pop("stage")))]
        self.histories = [History(tuple(evaluations_of(evaluations))) for evaluations in over]
        shapes = {name: entries.shape for name, entries in read_entries(self._student, self._parameters).items()}
        put_entries(self._student, views(state.pop("student"), shapes))
        self._interrupted = state


def _key(stage: int) -> str:
    return f"history of stage {stage}"
