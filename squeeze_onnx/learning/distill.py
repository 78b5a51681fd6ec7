"""Distillation: the squeezed model learns to imitate the dense one on text without labels.

Factors, dense weights, biases and norms learn, up to the last hidden state if those are compared, so the size stays what it was:
layer by layer first, if asked to, each to make of what it is given what the dense one has there, then the whole. A slice of the
text is held out; the parameters that answer it best are what is kept, and the start is among them. What will be stored in fewer
bits answers, and is judged, as it will be stored; what is left in the student are the entries behind it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx_ir as ir

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.learning.batch_learner import TrainingFeeds, open_learner
from squeeze_onnx.learning.blocks import BlockFeeds, BlockSearch, LayerBlock, Prefix, block_graph, find_blocks
from squeeze_onnx.learning.checkpoints import Checkpoint
from squeeze_onnx.learning.gradients import check_rules
from squeeze_onnx.learning.learner import LearnerOptions
from squeeze_onnx.learning.losses import HiddenStateError, LossGraph, LossHead, attach_losses
from squeeze_onnx.learning.parameters import learnable_parameters, read_entries
from squeeze_onnx.learning.parts import PartedText, in_parts, tokens_measured
from squeeze_onnx.learning.stages import Saving, Stage, learn_in_stages
from squeeze_onnx.learning.teacher import TaughtBatches, teach
from squeeze_onnx.learning.teaching import Teaching
from squeeze_onnx.learning.training_loop import DistillConfig, TrainingLoop, batches_to_learn_on
from squeeze_onnx.learning.vectors import as_vector
from squeeze_onnx.support.errors import ModelError

AUTO_EPOCHS = 20
AUTO_STEPS = (200, 2000)
"""``auto`` goes through the text `AUTO_EPOCHS` times, but takes no fewer and no more steps than these."""


@dataclass(frozen=True)
class LearnedBlock:
    """What a layer learned alone: the relative error of its output on held-out text before and after, in so many steps."""

    layer: int
    before: float
    after: float
    steps: int


@dataclass(frozen=True)
class DistillationResult:
    """What learning did: the loss of the answers to held-out text before and after, and where the best ones came from.

    ``history`` has (step, held-out loss) of every evaluation of the whole model: the start first, then what the ``blocks`` left,
    if layers learned alone; ``no_blocks`` says why none did although some were to. ``measure`` names the loss.
    ``interrupted`` says that Ctrl-C ended it.
    """

    measure: str
    before: float
    after: float
    best_step: int
    steps: int
    history: tuple[tuple[int, float], ...]
    blocks: tuple[LearnedBlock, ...] = ()
    no_blocks: str | None = None
    interrupted: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "history": [list(entry) for entry in self.history]}


def distill(
    student: ir.Model,
    teacher: ir.Model,
    teaching: Teaching,
    config: DistillConfig | None = None,
) -> DistillationResult:
    """Let ``student``, whose weights change in place, imitate ``teacher``.

    The first loss of ``teaching``, that of the answer, judges on held-out text. With a checkpoint the state is saved now and then
    and at the end, and a run that finds the file goes on from there to the same result; whoever has the result deletes it.

    Raises OptionError if there is too little text or the checkpoint is another run's, ModelError if the graph cannot be
    differentiated or a gradient is not finite.
    """
    config = config or DistillConfig()
    losses, batches, provider, threads = teaching.losses, teaching.batches, teaching.provider, teaching.threads
    graph = attach_losses(student, losses)
    parameters = learnable_parameters(student, _taught_values(losses))
    if not parameters:
        raise ModelError("`distill` finds no float32 weight that the answer depends on: export the model in float32")
    saving = None
    if teaching.checkpoint is not None:
        start = read_entries(student, parameters)
        rounded = {name: rounding(start[name]) for name, rounding in teaching.roundings.items() if name in start}
        fingerprint = _fingerprint((config, tuple(losses)), (start, rounded), batches)
        saving = Saving(Checkpoint(teaching.checkpoint.path, fingerprint), teaching.checkpoint.minutes)
    search, pace = _share_steps(student, losses, len(batches), config)
    text = in_parts(batches, student, tokens_measured(teacher, losses[-1].value, batches, provider))
    with TemporaryDirectory() as folder:
        taught = teach(teacher, graph, text.parts, Path(folder) / "teacher", provider=provider, track=teaching.track)
        trainer = _Trainer(student, text, taught, config, pace, teaching.options)
        prefix = Prefix(
            student, search.blocks, text.parts, Path(folder) / "student", provider=provider, threads=threads
        )
        learning = [(place, block) for place, block in enumerate(search.blocks) if block.parameters]
        stages = [
            Stage(f"Distillation, layer {block.layer}", partial(trainer.teach_block, prefix, place, block))
            for place, block in learning
        ]
        earlier = [as_vector(read_entries(student, parameters))] if stages else []
        stages.append(Stage("Distillation", partial(trainer.teach_whole, losses, parameters, earlier)))
        learned = learn_in_stages(student, parameters, stages, saving, teaching.track)
    *alone, whole = learned.histories
    blocks = [
        LearnedBlock(block.layer, history.before, history.best[1], history.steps)
        for (_, block), history in zip(learning, alone, strict=True)
    ]
    best_step, after = whole.best
    measure = type(losses[0]).__name__
    return DistillationResult(
        measure,
        whole.before,
        after,
        best_step,
        whole.steps,
        whole.evaluations,
        tuple(blocks),
        search.reason,
        learned.interrupted,
    )


def check_teachable(teacher: ir.Model, losses: Sequence[LossHead]) -> None:
    """Raise ModelError if a model like ``teacher`` cannot learn by ``losses``; runs nothing."""
    parameters = learnable_parameters(teacher, _taught_values(losses))
    check_rules(teacher, parameters, [loss.value for loss in losses])


def _taught_values(losses: Sequence[LossHead]) -> list[str]:
    """Return the values whose weights learn: the hidden states, if there are any.

    What reads the last of them is as good as it was, and from a few answers would learn noise.
    """
    states = [loss.value for loss in losses if isinstance(loss, HiddenStateError)]
    return states or [loss.value for loss in losses]


@dataclass(frozen=True)
class _Pace:
    """How many steps go through each block and how many through the whole, and after how many comes an evaluation."""

    block_steps: int
    steps: int
    interval: int


def _share_steps(
    student: ir.Model, losses: Sequence[LossHead], batches: int, config: DistillConfig
) -> tuple[BlockSearch, _Pace]:
    """Return the blocks that learn, if any do, and how the steps are shared between them and the whole."""
    epoch = len(batches_to_learn_on(range(batches), config))
    steps = config.steps or int(np.clip(AUTO_EPOCHS * epoch, *AUTO_STEPS))
    block_steps = round(config.block_share * steps)
    states = [loss.value for loss in losses if isinstance(loss, HiddenStateError)]
    if block_steps:
        search = find_blocks(student, states)
    else:
        search = BlockSearch((), "there are too few steps to share" if config.block_share else None)
    if not search.blocks:
        block_steps = 0
    return search, _Pace(block_steps, steps - block_steps, max(steps // config.evaluations, 1))


@dataclass(frozen=True)
class _Trainer:
    """Opens what learns; the weights are those that ``student`` has by then."""

    student: ir.Model
    text: PartedText
    taught: TaughtBatches
    config: DistillConfig
    pace: _Pace
    options: LearnerOptions

    def teach_block(self, prefix: Prefix, place: int, block: LayerBlock) -> TrainingLoop:
        prefix.advance_to(place)
        graph = block_graph(self.student, block, prefix.read(0, block.part.inputs))
        training_feeds = BlockFeeds(prefix, block, graph, self.taught)
        return self._training_loop(graph, block.parameters, training_feeds, self.pace.block_steps)

    def teach_whole(
        self, losses: Sequence[LossHead], parameters: Sequence[str], earlier: Sequence[np.ndarray]
    ) -> TrainingLoop:
        graph = attach_losses(self.student, losses)
        return self._training_loop(graph, parameters, self.taught, self.pace.steps, earlier)

    def _training_loop(
        self,
        graph: LossGraph,
        parameters: Sequence[str],
        training_feeds: TrainingFeeds,
        steps: int,
        earlier: Sequence[np.ndarray] = (),
    ) -> TrainingLoop:
        learner = open_learner(graph, parameters, training_feeds, self.text, self.options)
        return TrainingLoop(
            learner,
            graph.heads[0],
            self.config,
            steps=steps,
            interval=self.pace.interval,
            earlier=earlier,
        )


def _fingerprint(
    options: tuple[Any, ...], parameters: Sequence[Mapping[str, np.ndarray]], batches: Sequence[CalibrationBatch]
) -> str:
    """Return what tells this run from any other: its options, its start, also rounded, and its text."""
    digest = sha256(repr(options).encode())
    for arrays in (*parameters, *(batch.feeds for batch in batches)):
        for name, array in sorted(arrays.items()):
            digest.update(f"{name}{array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()
