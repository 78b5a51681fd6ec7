"""Distillation on the tiny encoder: it learns, never makes worse, repeats itself, and goes on after an end."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy.special import softmax

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.evaluate.answer_heads import ClassLogits, Head, ScoreHead, SentenceEmbedding, TokenEmbeddings
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.rewriter import factor_site
from squeeze_onnx.learning.checkpoints import CheckpointConfig
from squeeze_onnx.learning.distill import DistillationResult, distill
from squeeze_onnx.learning.distillation_losses import answer_loss, distillation_losses, hidden_states
from squeeze_onnx.learning.teaching import Teaching
from squeeze_onnx.learning.training_loop import DistillConfig, held_out_batches
from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.support.errors import ModelError, OptionError
from squeeze_onnx.support.progress import Status, Track, no_status
from tests.graph.execution import svd_factors
from tests.text_models import SPECIAL
from tests.tiny_encoder import ELIGIBLE_SITES, VOCABULARY, encoder_model, weights_of

T = TypeVar("T")
TOKENS = TokenEmbeddings("last_hidden_state")
QUICK = DistillConfig(steps=30, block_share=0.25, rate=3e-3, evaluations=6)


def dense(*, classifier: bool = False) -> ir.Model:
    model: ir.Model = ir.from_proto(encoder_model(classifier=classifier))
    return model


def squeezed(*, classifier: bool = False) -> ir.Model:
    model = dense(classifier=classifier)
    for site in find_sites(model).sites:
        if site.name in ELIGIBLE_SITES:
            factor_site(model, site, *svd_factors(site.weight.numpy(), 6))
    return model


def text(count: int = 10) -> list[CalibrationBatch]:
    rng = np.random.default_rng(0)
    batches = []
    for tokens in np.linspace(3, 12, count).astype(int):
        ids = rng.integers(len(SPECIAL), VOCABULARY, (4, tokens))
        mask = np.ones_like(ids)
        mask[-1, 2:] = ids[-1, 2:] = 0
        batches.append(CalibrationBatch({"input_ids": ids, "attention_mask": mask}, mask))
    return batches


def taught(
    student: ir.Model, config: DistillConfig = QUICK, *, head: Head = TOKENS, classifier: bool = False, **options: Any
) -> DistillationResult:
    teacher = dense(classifier=classifier)
    return distill(student, teacher, Teaching(distillation_losses(teacher, head), text(), threads=1, **options), config)


def parameters(model: ir.Model) -> dict[str, np.ndarray]:
    return weights_of(ir.to_proto(model))


def same(left: ir.Model, right: ir.Model) -> bool:
    return all(np.array_equal(entries, parameters(right)[name]) for name, entries in parameters(left).items())


def answers(model: ir.Model) -> np.ndarray:
    """Return what the model says of the first token of every sequence, or of the sequence, as probabilities."""
    session = open_session(ir.to_proto(model).SerializeToString())
    found = [softmax(session.run(None, batch.feeds)[0], axis=-1) for batch in text()]
    return np.concatenate([rows[:, 0] if rows.ndim == 3 else rows for rows in found])


class Interrupted(Track):
    """A track that ends in an error after some steps of one stage of distillation."""

    def __init__(self, after: int, stage: str = "Distillation") -> None:
        self.after, self.stage = after, stage

    def __call__(self, items: Sequence[T], description: str, status: Status = no_status) -> Iterator[T]:
        for index, item in enumerate(items):
            if (description, index) == (self.stage, self.after):
                raise KeyboardInterrupt
            yield item


@pytest.mark.parametrize(
    ("classifier", "head", "measure"),
    [(False, TOKENS, "EmbeddingCosine"), (True, ClassLogits("logits", (0, 1)), "LogitDivergence")],
    ids=["embeddings", "classes"],
)
def test_brings_the_student_nearer(classifier: bool, head: Head, measure: str) -> None:
    student, start = squeezed(classifier=classifier), squeezed(classifier=classifier)
    outcome = taught(student, replace(QUICK, steps=100), head=head, classifier=classifier)
    assert outcome.measure == measure
    assert outcome.after < 0.7 * outcome.before
    expected, before, after = (answers(model) for model in (dense(classifier=classifier), start, student))
    assert np.linalg.norm(after - expected) < 0.7 * np.linalg.norm(before - expected)


def test_changes_entries_and_nothing_else() -> None:
    student, start = squeezed(), squeezed()
    taught(student)
    assert [node.name for node in student.graph] == [node.name for node in start.graph]
    shapes = {name: entries.shape for name, entries in parameters(start).items()}
    assert {name: entries.shape for name, entries in parameters(student).items()} == shapes
    assert np.array_equal(parameters(student)["embedding.weight"], parameters(start)["embedding.weight"])


def test_takes_models_of_a_fixed_size() -> None:
    student, teacher = squeezed(), dense()
    for value in (*student.graph.inputs, *teacher.graph.inputs):
        value.shape = ir.Shape([4, 3])
    outcome = distill(student, teacher, Teaching(distillation_losses(teacher, TOKENS), 4 * text(1), threads=1), QUICK)
    assert outcome.after < outcome.before


def test_leaves_the_head_alone_if_it_learns_hidden_states() -> None:
    head = ClassLogits("logits", (0, 1))
    student, start = squeezed(classifier=True), parameters(squeezed(classifier=True))
    taught(student, replace(QUICK, steps=100), head=head, classifier=True)
    changed = {name for name, entries in parameters(student).items() if not np.array_equal(entries, start[name])}
    assert any(name.endswith("left") for name in changed)
    assert not any(name.startswith("classifier") for name in changed)
    student = squeezed(classifier=True)
    distill(
        student,
        dense(classifier=True),
        Teaching([answer_loss(head)], text(), threads=1),
        replace(QUICK, steps=100),
    )
    assert not np.array_equal(parameters(student)["classifier.weight"], start["classifier.weight"])


def test_never_makes_it_worse() -> None:
    student = squeezed()
    outcome = taught(student, replace(QUICK, rate=1.0, patience=2))
    assert (outcome.best_step, outcome.after) == (0, outcome.before)
    assert same(student, squeezed())


def test_ends_when_nothing_that_was_learned_gets_better() -> None:
    outcome = taught(squeezed(), replace(QUICK, steps=60, block_share=0.0, evaluations=30, rate=1.0, patience=2))
    losses = [loss for _, loss in outcome.history[1:]]
    assert outcome.steps < 60
    assert min(losses[-2:]) >= min(losses[:-2])
    assert len(losses) - 1 - losses.index(min(losses)) == 2


def test_repeats_itself_and_depends_on_the_seed() -> None:
    first, second, other = squeezed(), squeezed(), squeezed()
    assert taught(first) == taught(second)
    assert same(first, second)
    taught(other, replace(QUICK, seed=1))
    assert not same(first, other)


@pytest.mark.parametrize(
    ("stage", "after"),
    [
        ("Distillation, layer 0", 3),
        ("Distillation, layer 1", 0),
        ("Distillation, layer 1", 7),
        ("Distillation", 0),
        ("Distillation", 21),
    ],
)
def test_goes_on_after_an_interruption_to_the_same_result(stage: str, after: int, tmp_path: Path) -> None:
    whole, resumed = squeezed(), squeezed()
    expected = taught(whole)
    checkpoint = CheckpointConfig(tmp_path / "state.npz", minutes=0)
    with pytest.raises(KeyboardInterrupt):
        taught(squeezed(), checkpoint=checkpoint, track=Interrupted(after, stage))
    assert taught(resumed, checkpoint=checkpoint) == expected
    assert same(whole, resumed)


def test_layers_learn_alone_before_the_whole_does() -> None:
    steps = replace(QUICK, steps=60, block_share=0.5)
    outcome = taught(squeezed(), steps)
    assert [(block.layer, block.steps) for block in outcome.blocks] == [(0, 30), (1, 30)]
    assert all(block.after < block.before for block in outcome.blocks)
    (_, start), (_, after_blocks), *_ = outcome.history
    assert outcome.before == start > after_blocks > outcome.after
    assert (outcome.history[1][0], outcome.steps, outcome.no_blocks) == (0, 30, None)


def test_layers_alone_change_nothing_of_other_layers() -> None:
    """The answer norm and the head come after the last block."""
    student, start = squeezed(classifier=True), squeezed(classifier=True)
    outcome = taught(student, replace(QUICK, block_share=1.0), head=ClassLogits("logits", (0, 1)), classifier=True)
    assert (outcome.steps, len(outcome.blocks)) == (0, 2)
    learned, before = parameters(student), parameters(start)
    same_names = {name for name, entries in before.items() if np.array_equal(entries, learned[name])}
    assert {"embedding.weight", "pooler.weight", "classifier.weight"} <= same_names
    assert not any(name.startswith("layer.") for name in same_names)


def test_without_a_share_of_the_steps_no_layer_learns_alone() -> None:
    outcome = taught(squeezed(), replace(QUICK, block_share=0.0))
    assert (outcome.blocks, outcome.no_blocks, outcome.steps) == ((), None, 30)


def test_a_share_that_is_no_whole_step_is_told() -> None:
    outcome = taught(squeezed(), replace(QUICK, steps=2, block_share=0.1))
    assert (outcome.blocks, outcome.no_blocks, outcome.steps) == ((), "there are too few steps to share", 2)


def test_where_layers_cannot_be_told_apart_all_steps_go_through_the_whole() -> None:
    teacher, student = dense(), squeezed()
    outcome = distill(student, teacher, Teaching([answer_loss(TOKENS)], text(), threads=1), QUICK)
    assert (outcome.blocks, outcome.steps) == ((), 30)
    assert outcome.no_blocks is not None
    assert outcome.no_blocks.startswith("its layers cannot be told apart")


def test_that_is_over_is_not_repeated(tmp_path: Path) -> None:
    checkpoint = CheckpointConfig(tmp_path / "state.npz")
    expected, resumed = taught(squeezed(), checkpoint=checkpoint), squeezed()
    assert taught(resumed, checkpoint=checkpoint, track=Interrupted(0)) == expected


def test_refuses_the_checkpoint_of_another_run(tmp_path: Path) -> None:
    checkpoint = CheckpointConfig(tmp_path / "state.npz")
    taught(squeezed(), checkpoint=checkpoint)
    with pytest.raises(OptionError, match=r"state\.npz belongs to a run on other data, another model or other options"):
        taught(squeezed(), replace(QUICK, seed=1), checkpoint=checkpoint)


def test_refuses_a_single_batch() -> None:
    with pytest.raises(OptionError, match="`distill` learns on some batches and judges on others: give more"):
        distill(squeezed(), dense(), Teaching(distillation_losses(dense(), TOKENS), text(1)))


def test_refuses_half_precision() -> None:
    half: ir.Model = ir.from_proto(encoder_model(dtype=np.float16))
    with pytest.raises(
        ModelError, match="finds no float32 weight that the answer depends on: export the model in float32"
    ):
        distill(half, half, Teaching(distillation_losses(half, TOKENS), text()))


def test_a_model_that_gives_a_score_learns_too() -> None:
    """Its answers are (sequences, 1): an axis of size 1 that is known to be one."""

    def scoring(model: ir.Model) -> ir.Model:
        proto = ir.to_proto(model)
        proto.graph.node.append(helper.make_node("MatMul", ["logits", "score.weight"], ["score"], name="score"))
        proto.graph.initializer.append(numpy_helper.from_array(np.array([[1.0], [-2.0]], np.float32), "score.weight"))
        proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", 1]))
        scored: ir.Model = ir.from_proto(proto)
        return scored

    teacher, student = scoring(dense(classifier=True)), scoring(squeezed(classifier=True))
    outcome = distill(
        student, teacher, Teaching(distillation_losses(teacher, ScoreHead("score")), text(), threads=1), QUICK
    )
    assert outcome.after < outcome.before


def test_auto_goes_by_the_amount_of_text() -> None:
    outcome = taught(squeezed(), DistillConfig(rate=1.0, patience=1))
    # 9 batches to learn on, 20 times, but no fewer than 200 steps: judged every tenth.
    assert outcome.history[1][0] == 10


@pytest.mark.parametrize(
    ("head", "axes"),
    [
        (ClassLogits("y", (0, 1)), 2),
        (ScoreHead("y"), 2),
        (SentenceEmbedding("y"), 2),
        (TokenEmbeddings("y"), 3),
    ],
)
def test_every_head_has_a_loss(head: Head, axes: int) -> None:
    assert (answer_loss(head).value, answer_loss(head).axes) == ("y", axes)


def test_hidden_states_are_the_additions_to_the_residual_stream() -> None:
    states = hidden_states(dense())
    # The first addition of the attention meets embeddings, which no weight has mixed.
    assert len(states) == 3
    kinds = {str(output.name): node.op_type for node in dense().graph for output in node.outputs}
    assert {kinds[name] for name in states} == {"Add"}


def test_holds_out_every_tenth_batch_but_no_more_than_a_few() -> None:
    assert held_out_batches(10, DistillConfig()) == [5]
    assert held_out_batches(2, DistillConfig()) == [1]
    assert held_out_batches(40, DistillConfig()) == [5, 15, 25, 35]
    many = held_out_batches(1000, DistillConfig(most_held_out=8))
    assert (len(many), many[0], many[-1]) == (8, 62, 937)
