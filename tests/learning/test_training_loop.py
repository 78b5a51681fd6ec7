"""A single run of learning: from which start it goes on, and what it keeps."""

from collections.abc import Iterator

import numpy as np
import pytest

from squeeze_onnx.learning.batch_learner import BatchLearner, open_learner
from squeeze_onnx.learning.distillation_losses import answer_loss
from squeeze_onnx.learning.learner import LearnerOptions
from squeeze_onnx.learning.losses import attach_losses
from squeeze_onnx.learning.parameters import learnable_parameters
from squeeze_onnx.learning.parts import in_parts
from squeeze_onnx.learning.teacher import teach
from squeeze_onnx.learning.training_loop import DistillConfig, TrainingLoop
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.progress import silent
from tests.learning.test_distill import TOKENS, dense, squeezed, text

Trainer = tuple[BatchLearner, str]
STEPS = 4


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """Return a learner that computes what the answer of the squeezed encoder lacks, and the loss's name."""
    student, losses = squeezed(), [answer_loss(TOKENS)]
    graph = attach_losses(student, losses)
    parted = in_parts(text(), student)
    taught = teach(dense(), graph, parted.parts, tmp_path_factory.mktemp("imitation"))
    parameters = learnable_parameters(student, [losses[0].value])
    return open_learner(graph, parameters, taught, parted, LearnerOptions(threads=1)), graph.heads[0]


@pytest.fixture
def learner(trainer: Trainer) -> Iterator[BatchLearner]:
    found = trainer[0]
    start = found.parameters.copy()
    yield found
    found.parameters[:] = start


def spoiled(parameters: np.ndarray) -> np.ndarray:
    return parameters + np.random.default_rng(0).normal(0, 0.3, parameters.size).astype(np.float32)


def loop(trainer: Trainer, steps: int, *earlier: np.ndarray) -> TrainingLoop:
    return TrainingLoop(*trainer, DistillConfig(rate=1e-3), steps=steps, interval=2, earlier=earlier)


def test_goes_on_from_the_earlier_start_if_that_is_better(trainer: Trainer, learner: BatchLearner) -> None:
    good = learner.parameters.copy()
    from_good = loop(trainer, STEPS)
    from_good.learn(silent, "", lambda: None)
    learner.parameters[:] = spoiled(good)
    from_spoiled = loop(trainer, STEPS, good)
    from_spoiled.learn(silent, "", lambda: None)
    (_, before), (_, spoiled_loss), *learned = from_spoiled.history.evaluations
    assert spoiled_loss > before == from_good.history.before
    assert tuple(learned) == from_good.history.evaluations[1:]


def test_goes_on_from_the_later_start_if_that_is_better(trainer: Trainer, learner: BatchLearner) -> None:
    good = learner.parameters.copy()
    run = loop(trainer, 0, spoiled(good))
    run.learn(silent, "", lambda: None)
    assert np.array_equal(learner.parameters, good)
    assert run.history.best == run.history.evaluations[1]
    assert run.history.before > run.history.best[1]


@pytest.mark.usefixtures("learner")
def test_calls_to_save_after_every_step(trainer: Trainer) -> None:
    run = loop(trainer, STEPS)
    saved: list[int] = []
    run.learn(silent, "", lambda: saved.append(int(run.state()["step"])))
    assert saved == list(range(1, STEPS + 1))
    assert run.history.steps == STEPS


def test_refuses_a_share_above_all() -> None:
    with pytest.raises(OptionError, match=r"`distill_layers` is a float from 0 to 1; got 1\.5"):
        DistillConfig(block_share=1.5)
