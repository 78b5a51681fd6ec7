"""The last look at a finished model: how far each step moved its outputs, beside what was predicted, and whether one broke them.

A cut may be meant to hurt, and then its prediction says so. What is looked for is a step after which the outputs have next to
nothing to do with those before it, although nothing announced that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import onnx_ir as ir

StepName = Literal["squeezing", "pruning", "distillation", "fusing", "rounding"]

StepObserver = Callable[[StepName, ir.Model], None]
"""Sees a model after a step."""

WORTHLESS = 1.0
"""The distance, in variances, of outputs that are the same for every text; those of another model altogether have 2."""

FAR = WORTHLESS / 2
"""The same for a step that is not meant to move outputs."""

TIMES = 10.0
"""By how many times a prediction may be exceeded besides: it adds up what weights do, each alone, to text they were fitted to.

Fitted to 128 short texts, MiniLM at keep 0.75 moves the outputs of others by 8 times as much, at 0.5 by 4, at 0.1 by 2.
"""

Verdict = Literal["as predicted", "far outside", "ran", "not run"]


@dataclass(frozen=True)
class Step:
    """What one step did to the outputs, in shares of their variance (see `squeeze_onnx.evaluate.output_rows`).

    ``predicted``: how far it was to move them, None if nothing predicts that. ``moved``: how far they are from those of the model
    before, on average over the outputs that are an answer, and ``farthest`` the output that moved most. ``error``: how far they
    are from those of the dense model. None where it was not measured, infinite if outputs are no numbers.
    """

    name: StepName
    predicted: float | None = None
    moved: float | None = None
    farthest: float | None = None
    error: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values; ``finite`` says whether outputs are numbers, without which there is no distance."""
        distances = {"moved": self.moved, "error": self.error}
        known = {name: None if value is None or not isfinite(value) else value for name, value in distances.items()}
        finite = all(value is None or isfinite(value) for value in distances.values())
        return {"step": self.name, "predicted": self.predicted, **known, "finite": finite}


@dataclass(frozen=True)
class LastLook:
    """What was seen of a finished model on ``texts`` texts or samples, step by step, each step the one after that before.

    ``held_back`` says whether nothing that made the model had read them. ``ran`` is whether the finished model was run at all;
    ``notes`` are sentences on what the numbers do not say.
    """

    texts: int
    held_back: bool
    steps: tuple[Step, ...]
    ran: bool = True
    notes: tuple[str, ...] = ()

    @property
    def broken(self) -> Step | None:
        """The first step that moved the outputs far outside of what was predicted."""
        errors = [0.0, *(step.error for step in self.steps)]
        return next(
            (step for step, before in zip(self.steps, errors, strict=False) if _is_far(step, error_before=before)), None
        )

    @property
    def verdict(self) -> Verdict:
        """The outcome in a word or two."""
        if not self.ran:
            return "not run"
        if self.broken is not None:
            return "far outside"
        return "as predicted" if any(step.moved is not None for step in self.steps) else "ran"

    @property
    def predicted(self) -> float | None:
        """How far the outputs of the finished model were to be from those of the dense one, None if a part is not predicted."""
        parts = [0.0 if step.name == "distillation" else step.predicted for step in self.steps]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    def what_broke(self, called: Mapping[StepName, str]) -> str:
        """Say what the broken step did to the outputs, and that those before it were fine; ``called`` has the words for each."""
        assert self.broken is not None, "asked of a broken model only"
        step, what = self.broken, called[self.broken.name]
        moved = step.farthest if step.farthest is not None else step.error
        if moved is None or not isfinite(moved):
            told = f"{what} makes outputs NaN or infinite"
        else:
            told = f"{what} moves the outputs by {moved:.2g} of their variance"
            told += "" if step.predicted is None else f", where {step.predicted:.2g} was predicted"
        before = [each for each in self.steps[: self.steps.index(step)] if each.error is not None]
        fine = f" (after {called[before[-1].name]} it was {before[-1].error:.2g})" if before else ""
        return f"{self._where()} {told}{fine}"

    def _where(self) -> str:
        if not self.texts:
            return "on made-up input"
        return f"on {self.texts} texts that {'were held back' if self.held_back else 'calibration read'}"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        steps = [step.to_json() for step in self.steps]
        return {
            "texts": self.texts,
            "held_back": self.held_back,
            "predicted": self.predicted,
            "measured": steps[-1]["error"],
            "steps": steps,
            "verdict": self.verdict,
            "broken_by": None if self.broken is None else self.broken.name,
            "notes": list(self.notes),
        }


def _is_far(step: Step, *, error_before: float | None) -> bool:
    """Say whether ``step`` moved the outputs further than what was predicted of it allows.

    Squeezing is judged by the mean over outputs, which is what is predicted, and only where something is; fewer tokens by how far
    that was to move when they were chosen. Distillation is not to lead away from the dense model; fusing and rounding are to
    leave every output where it is.
    """
    if any(value is not None and not isfinite(value) for value in (step.moved, step.error)):
        return True
    match step.name:
        case "squeezing":
            if step.predicted is None or step.error is None:
                return False
            return step.error > max(WORTHLESS, TIMES * step.predicted)
        case "pruning":
            return step.moved is not None and step.moved > max(WORTHLESS, TIMES * (step.predicted or 0.0))
        case "distillation":
            return step.error is not None and error_before is not None and step.error > error_before + FAR
        case _:
            return step.farthest is not None and step.farthest > max(FAR, TIMES * (step.predicted or 0.0))


def unwatched(step: StepName, model: ir.Model) -> None:
    """See nothing."""
