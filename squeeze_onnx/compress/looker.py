"""Looking at a model as it goes through its steps, and once more when it is finished: the measurements behind a `LastLook`.

It is run on text that was held back; if none was, on that of calibration, and without any on inputs that are made up. On these it
is not held against the dense model, but rounding and fusing have to leave outputs where they are all the same.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

import onnx_ir as ir

from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.held_back import IN_SAMPLE, held_back_of, rows_of
from squeeze_onnx.data.calibration import CalibrationBatch, run_over, run_session, session_showing
from squeeze_onnx.data.made_up_inputs import made_up_batches
from squeeze_onnx.evaluate.answer_heads import Head
from squeeze_onnx.evaluate.answers import AnswerListener, Answers
from squeeze_onnx.evaluate.certificate import Certificate
from squeeze_onnx.evaluate.certifying import certify
from squeeze_onnx.evaluate.counted_outputs import counted_outputs
from squeeze_onnx.evaluate.output_rows import (
    OutputRows,
    Rows,
    are_finite,
    declared_outputs,
    output_rows,
    share_moved,
)
from squeeze_onnx.evaluate.span_head import answers_by_span
from squeeze_onnx.runtime.sessions import Session, ValueSpec, open_session
from squeeze_onnx.support.errors import MissingPackageError, ModelError, ProviderError

LABEL = "Last look"
MADE_UP = "There is no text to measure on: it was run on inputs that were made up."
SPANS = "Nothing was measured: answers that are spans of a context have no distance. Rows of questions score them."
NO_INPUT = "No input could be made up that the model takes: it was opened, not run."


@dataclass(frozen=True, eq=False)
class Seen:
    """The outputs of one model, and its answers if they can be read."""

    rows: Rows
    answers: Answers | None = None


class Looker:
    """Runs the dense model and what becomes of it on the same inputs; text is what is held back beside that of calibration."""

    def __init__(self, context: Context) -> None:
        self.held_back = bool(held_back_of(context.batches))
        self.text = held_back_of(context.batches) or tuple(context.batches)
        self.model = context.dense
        self._made_up: CalibrationBatch | None = None
        self._context = context
        self.provider = context.config.provider
        self._track = context.track

    @cached_property
    def head(self) -> Head | str:
        """How the model answers, or why that is not known: any model can be squeezed."""
        if answers_by_span(declared_outputs(self.model.ir), self._context.config.answer):
            return SPANS
        try:
            return self._context.head
        except ModelError as error:
            return f"Nothing was measured: {error}."

    @cached_property
    def dense(self) -> Seen:
        """The dense model on the text; raises ModelError if an answer is NaN or infinite."""
        outputs = self._listener(declared_outputs(self.model.ir))
        answers = [] if isinstance(self.head, str) else [AnswerListener(self.model.ir, self.head)]
        run = self._context.outputs_run
        run.over(self.text, [outputs, *answers], track=self._track, label=LABEL)
        run.close()
        return Seen(outputs.rows(), next((each.answers() for each in answers), None))

    @cached_property
    def answering(self) -> tuple[str, ...]:
        """The outputs that are the answer: what predictions of squeezing are about."""
        return counted_outputs(self.model.ir.graph, self._context.config.answer)

    def run_dense(self) -> None:
        """Run the dense model on the text, if there is any: what goes wrong there is no fault of what becomes of it."""
        if self.text:
            _ = self.dense

    def rows_of(self, model: ir.Model, provider: str | None = None) -> Rows | None:
        """Return the outputs of ``model``; None if it takes no input that can be made up, or this machine lacks ``provider``."""
        outputs = self._listener(declared_outputs(model))
        try:
            with session_showing(model, outputs.names, provider or self.provider) as session:
                if not self.text:
                    return self._made_up_rows(session)
                run_session(session, self.text, [outputs], track=self._track, label=LABEL)
                return outputs.rows()
        except (MissingPackageError, ProviderError):
            if provider in (None, self.provider) and self.text:
                raise
            return None

    def seen(self, model: ir.Model, session: Session | None = None) -> Seen | None:
        """Return the outputs and answers of ``model``, which may be open already; None if it takes no input that can be made up.

        There are no answers if they are no numbers, unlike those of the dense model.
        """
        if session is None:
            with session_showing(model, [output.name for output in declared_outputs(model)], self.provider) as opened:
                return self.seen(model, opened)
        if not self.text:
            rows = self._made_up_rows(session)
            return None if rows is None else Seen(rows)
        outputs = self._listener(session.outputs)
        answers = [] if isinstance(self.head, str) else [AnswerListener(model, self.head)]
        shown = [each for each in answers if {*each.names} <= {*outputs.names}]
        run_session(session, self.text, [outputs, *shown], track=self._track, label=LABEL)
        rows = outputs.rows()
        if not _comparable(rows, self.dense.rows):
            return Seen(rows)
        if answers and not shown:
            self._run_over(model, answers)
        return Seen(rows, next((each.answers() for each in answers), None))

    def certificate(self, seen: Seen) -> Certificate:
        """Hold the answers of a finished model against those of the dense one."""
        if isinstance(self.head, str):
            return Certificate(rows_of(self.text), (self.head,), held_back=self.held_back)
        if self.dense.answers is None or seen.answers is None:
            note = "Nothing was measured: outputs of the squeezed model are NaN or infinite."
            return Certificate(rows_of(self.text), (note,), held_back=self.held_back)
        certificate = certify(self.dense.answers, seen.answers, self.head)
        notes = certificate.notes if self.held_back else (*certificate.notes, IN_SAMPLE)
        return replace(certificate, held_back=self.held_back, notes=notes)

    def dense_takes_made_up_input(self) -> bool:
        """Say whether the model that came in runs on any of the inputs that were tried."""
        with suppress(ModelError):
            return self._made_up_rows(open_session(self.model.path, self.provider)) is not None
        return False

    def reference(self, rows: Rows) -> Rows | None:
        """Return the outputs of the dense model to hold ``rows`` against; of made-up input only if these are not finite."""
        if self.text:
            return self.dense.rows
        return None if are_finite(rows) else self.rows_of(self.model.ir)

    def _listener(self, outputs: Sequence[ValueSpec]) -> OutputRows:
        """Return what hears these ``outputs`` on the text, read as the answer is if that is known."""
        head = self.head if self.text else None
        return OutputRows(outputs, self.text, None if isinstance(head, str) else head)

    def _run_over(self, model: ir.Model, listeners: Sequence[OutputRows | AnswerListener]) -> None:
        run_over(model, self.text, listeners, provider=self.provider, track=self._track, label=LABEL)

    def _made_up_rows(self, session: Session) -> Rows | None:
        """Run ``session`` on the made-up input that ran before, or on the first that does; raises ModelError if none does."""
        tried = [self._made_up] if self._made_up else made_up_batches(self.model.ir)
        failure: ModelError | None = None
        for batch in tried:
            try:
                rows = output_rows(session, [batch])
            except ModelError as error:
                failure = failure or error
            else:
                self._made_up = batch
                return rows
        if failure is not None:
            raise failure
        return None


def _comparable(rows: Rows, reference: Rows) -> bool:
    """Say whether ``rows`` are numbers wherever those of ``reference`` are."""
    return share_moved(rows, reference, dict.fromkeys(reference, 1.0)) < float("inf")


def looker_of(context: Context) -> Looker:
    """Return what looks at finished models of this run, whatever their budget: the dense model is run for that once."""
    return context.once("looker", lambda: Looker(context))


def certificate_of(context: Context, squeezed: ir.Model) -> Certificate:
    """Measure how far the answers of ``squeezed`` are from those of the dense model, on the text that is held back.

    If none is, it is measured on that of calibration itself, and the certificate says so. Raises ModelError if an answer of the
    dense model is NaN or infinite.
    """
    looker = looker_of(context)
    seen = looker.seen(squeezed)
    assert seen is not None, "there is text"
    return looker.certificate(seen)
