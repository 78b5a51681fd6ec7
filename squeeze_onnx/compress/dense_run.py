"""The model that came in, open once for everything that it is run for."""

from collections.abc import Sequence
from dataclasses import replace

from squeeze_onnx.data.calibration import CalibrationBatch, Listener, run_session, session_showing
from squeeze_onnx.evaluate.output_rows import declared_outputs
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.graph.match.linear_head import find_linear_head
from squeeze_onnx.runtime.sessions import Session
from squeeze_onnx.support.progress import Track

MOST_FEATURES = 4096
"""Of an output that is computed on the way to other values: the logits of a vocabulary cost as much as the layers before them."""


class DenseRun:
    """One session on ``model`` that shows ``values`` of it and, but for those that cost much, its outputs.

    It is open from its first use until it is closed.
    """

    def __init__(self, model: OnnxModel, values: Sequence[str], provider: str, *, outputs: bool = True) -> None:
        self._model, self._provider = model, provider
        self._outputs = tuple(str(value.name) for value in model.ir.graph.outputs) if outputs else ()
        self.shown = tuple(dict.fromkeys((*self._outputs, *values)))
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """The session, which calls itself by the file of the model, and declares the outputs of that."""
        if self._session is None:
            with session_showing(self._model.ir, self.shown, self._provider) as session:
                outputs = tuple(value for value in session.outputs if value.name in self._outputs)
                self._session = replace(session, outputs=outputs)
        return self._session

    def over(
        self, batches: Sequence[CalibrationBatch], listeners: Sequence[Listener], *, track: Track, label: str
    ) -> None:
        """Run over ``batches`` once and let ``listeners`` hear, see `run_session`."""
        run_session(self.session, batches, listeners, track=track, label=label)

    def close(self) -> None:
        """Give back what the session holds; the next use opens it anew."""
        self._session = None


def features_of_heads(model: OnnxModel) -> tuple[str, ...]:
    """Return what the linear heads of ``model`` read: a certificate is about these values too."""
    heads = (find_linear_head(model.ir, str(output.name)) for output in model.ir.graph.outputs)
    return tuple(dict.fromkeys(head.features for head in heads if head is not None))


def outputs_are_cheap(model: OnnxModel) -> bool:
    """Say whether the outputs of ``model`` are known to be narrow: it costs little to compute them on the way."""
    widths = [output.shape[-1] if output.shape else None for output in declared_outputs(model.ir)]
    return all(isinstance(width, int) and width <= MOST_FEATURES for width in widths)
