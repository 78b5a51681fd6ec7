"""Watching a model as it goes through its steps: what each does to its outputs, and which one is why it does not run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx_ir as ir

from squeeze_onnx.compress.held_back import IN_SAMPLE, rows_of
from squeeze_onnx.compress.looker import MADE_UP, NO_INPUT, Looker, Seen
from squeeze_onnx.compress.model_steps import Steps
from squeeze_onnx.evaluate.last_look import LastLook, Step, StepName
from squeeze_onnx.evaluate.output_rows import (
    Rows,
    scales_of,
    shares_moved,
)
from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.runtime.providers import resolve_provider
from squeeze_onnx.runtime.sessions import OptimizationLevel, SessionSettings, open_session
from squeeze_onnx.support.errors import MissingPackageError, ModelError, ProviderError


class Watch:
    """Takes down the outputs of a model after each of its ``steps`` but the last: then it is finished."""

    def __init__(self, looker: Looker, steps: Steps) -> None:
        self.looker = looker
        self.steps = steps
        self._last = [*steps][-1]
        self._rows: dict[StepName, Rows] = {}

    def __call__(self, step: StepName, model: ir.Model) -> None:
        """Run ``model`` as it is after ``step``; raises ModelError if the step is why it does not run."""
        if step == self._last:
            return
        self.looker.run_dense()
        with self._explained(step):
            rows = self.looker.rows_of(model, self.steps[step].provider)
            if rows is not None:
                self._rows[step] = rows

    def file(self, path: Path, *, mapped: bool = False) -> Seen | str:
        """Run the finished model in the file ``path``; return a sentence on why if this machine cannot.

        ``mapped`` leaves weights in the file. Raises ModelError if the model does not run, but the one that came in does.
        """
        provider = self.steps[self._last].provider or self.looker.provider
        try:
            resolve_provider(provider)
        except (MissingPackageError, ProviderError) as error:
            return f"It was not run: {error}."
        self.looker.run_dense()
        with self._explained(self._last):
            level: OptimizationLevel = "disabled" if mapped else "all"
            session = open_session(path, provider, SessionSettings(optimization_level=level, prepacking=not mapped))
            return self.looker.seen(load_model(path).ir, session) or NO_INPUT
        return "It was not run: neither does the model that came in run here on inputs that are made up."

    def conclude(self, finished: Seen | str, predicted: Mapping[StepName, float | None]) -> LastLook:
        """Put what was seen after each step, and of the ``finished`` model, beside what was ``predicted``."""
        looker, rows = self.looker, dict(self._rows)
        notes = [] if looker.held_back else [IN_SAMPLE if looker.text else MADE_UP]
        if isinstance(finished, str):
            notes = [finished]
        else:
            rows[self._last] = finished.rows
        before = looker.dense.rows if looker.text else None
        steps = []
        for name in self.steps:
            after = rows.get(name)
            steps.append(self._step(name, before, after, predicted.get(name)))
            before = after
        ran = not isinstance(finished, str)
        return LastLook(rows_of(looker.text), looker.held_back, tuple(steps), ran=ran, notes=tuple(notes))

    def _step(self, name: StepName, before: Rows | None, after: Rows | None, predicted: float | None) -> Step:
        if after is None:
            return Step(name, predicted)
        reference = self.looker.reference(after)
        error = None if reference is None else self._mean(shares_moved(after, reference))
        if before is None:
            return Step(name, predicted, error=error)
        scales = scales_of(before)
        if reference is not None:
            scales = {output: max(scale, scales[output]) for output, scale in scales_of(reference).items()}
        shares = shares_moved(after, before, scales)
        return Step(name, predicted, self._mean(shares), max(shares.values(), default=None), error)

    def _mean(self, shares: Mapping[str, float]) -> float | None:
        """Return the mean over the outputs that are the answer; over all that can be compared if none of these can, or None."""
        counted = [shares[name] for name in self.looker.answering if name in shares] or [*shares.values()]
        return sum(counted) / len(counted) if counted else None

    @contextmanager
    def _explained(self, step: StepName) -> Iterator[None]:
        """Say that ``step`` is why a model does not run; pass over it if the model that came in does not run either."""
        try:
            yield
        except ModelError as error:
            ran_before = bool(self.looker.text) or bool(self._rows)
            if not ran_before and not self.looker.dense_takes_made_up_input():
                return
            what, way_out = self.steps[step].what, self.steps[step].way_out
            _, _, reason = str(error).partition(": ")  # before it is a file that is gone by now
            raise ModelError(
                f"{what} makes a model that ONNX Runtime cannot run ({reason}); nothing is written: {way_out}"
            ) from error
