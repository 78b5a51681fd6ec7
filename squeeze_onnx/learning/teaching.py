"""What a student is taught, and how that runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.learning.checkpoints import CheckpointConfig
from squeeze_onnx.learning.learner import LearnerOptions, Rounding
from squeeze_onnx.learning.losses import LossHead
from squeeze_onnx.support.progress import Track, silent


@dataclass(frozen=True, eq=False)
class Teaching:
    """The ``losses`` to be small on ``batches``, and how learning runs.

    The first loss is that of the answer; those of hidden states say where layers end. ``threads`` are those of the session, None
    for onnxruntime's choice; ``roundings`` are those of parameters, by name, that will be stored in fewer bits. With a
    ``checkpoint`` the state is saved now and then, where a stage allows for that.
    """

    losses: Sequence[LossHead]
    batches: Sequence[CalibrationBatch]
    provider: str = "cpu"
    threads: int | None = None
    checkpoint: CheckpointConfig | None = None
    track: Track = silent
    roundings: Mapping[str, Rounding] = field(default_factory=dict)

    @property
    def options(self) -> LearnerOptions:
        """How a learner of these runs."""
        return LearnerOptions(self.provider, self.threads, self.roundings)
