"""Distillation in the precision that is stored: it makes up for rounding, and what is stored is what has learned."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.compress.precision import PRECISIONS, Evidence, Float32, Int4, Precision
from squeeze_onnx.compress.precision.learned import RoundedLearning
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.evaluate.answer_heads import TokenEmbeddings
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.learning.distill import distill
from squeeze_onnx.learning.distillation_losses import distillation_losses
from squeeze_onnx.learning.teaching import Teaching
from squeeze_onnx.learning.training_loop import DistillConfig
from squeeze_onnx.runtime.sessions import open_session
from tests.learning.test_distill import dense, squeezed
from tests.text_models import SPECIAL
from tests.tiny_encoder import VOCABULARY

CONFIG = DistillConfig(steps=120, rate=3e-3, evaluations=6)
ROUNDED = ("int8", "int8-static", "int8-int4", "int4")


@cache
def text() -> Sequence[CalibrationBatch]:
    rng = np.random.default_rng(0)
    ids = [rng.integers(len(SPECIAL), VOCABULARY, (4, tokens)) for tokens in np.linspace(3, 12, 10).astype(int)]
    return [
        CalibrationBatch({"input_ids": each, "attention_mask": np.ones_like(each)}, np.ones_like(each)) for each in ids
    ]


def answers(model: ir.Model) -> np.ndarray:
    session = open_session(ir.to_proto(model).SerializeToString())
    return np.concatenate([session.run(None, batch.feeds)[0][:, 0] for batch in text()])


def rounded(precision: Precision, *, seen: bool) -> ir.Model:
    """Return a copy of the dense model that learned, in ``precision``; ``seen`` says whether it learned in that."""
    student, teacher = dense(), dense()
    learning = RoundedLearning.of(precision if seen else Float32(), student, Evidence(text()))
    losses = distillation_losses(teacher, TokenEmbeddings("last_hidden_state"))
    distill(student, teacher, Teaching(losses, text(), threads=1, roundings=learning.roundings(student)), CONFIG)
    return precision.lower(student, Evidence(text(), encoded=learning.finish(student), kept=())).model


@pytest.mark.parametrize("precision", ROUNDED)
def test_stores_the_very_weights_that_answered(precision: str) -> None:
    student = squeezed()
    learning = RoundedLearning.of(PRECISIONS[precision](), student, Evidence(text()))
    learned = {
        site.name: site.weight.numpy() + 0.01 for site in find_sites(student).sites if site.name in learning.encoders
    }
    for site in find_sites(student).sites:  # as if it had learned
        if site.name in learned:
            site.weight.source.const_value = ir.tensor(learned[site.name], name=site.weight.source.name)
    encoded = learning.finish(student)
    stored = PRECISIONS[precision]().lower(student.clone(), Evidence(text(), encoded=encoded, kept=()))
    again = {site.name: site.weight.numpy() for site in find_sites(stored.model).sites}
    assert encoded.keys() >= learned.keys()
    for site in find_sites(student).sites:
        if site.name in encoded:
            assert np.array_equal(site.weight.numpy(), encoded[site.name].decoded().astype(np.float32))
            if site.name in again:
                np.testing.assert_array_equal(again[site.name], site.weight.numpy())


def test_what_is_not_rounded_learns_as_ever() -> None:
    student, start = squeezed(), squeezed()
    learning = RoundedLearning.of(PRECISIONS["fp16"](), student, Evidence(text()))
    assert not learning.roundings(student)
    assert not learning.finish(student)
    assert np.array_equal(answers(student), answers(start))


def test_learning_makes_up_for_rounding() -> None:
    """In as many bytes: all products and tables in four bits, nothing corrected."""
    expected, four_bits = answers(dense()), Int4(correction_share=0)
    blind, seeing = (answers(rounded(four_bits, seen=seen)) for seen in (False, True))
    assert np.linalg.norm(seeing - expected) < 0.8 * np.linalg.norm(blind - expected)
