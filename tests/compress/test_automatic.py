"""What ``auto`` stands for."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from squeeze_onnx.compress.automatic import resolve_method
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.survey import take_survey
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.support.errors import ModelError, OptionError
from tests.tiny_encoder import batch, encoder_model, write_model_folder

DATA = (CalibrationBatch(batch(), None),)
ONE_TEXT = (CalibrationBatch({name: array[:1] for name, array in batch().items()}, None),)

Resolve = Callable[..., str]


@pytest.fixture
def resolve(tmp_path: Path) -> Resolve:
    """What ``config`` and ``data`` come to for ``model``, an encoder with a classifier unless it says otherwise."""

    def resolved(
        model: onnx.ModelProto | None = None,
        config: OptimizeConfig | None = None,
        data: tuple[CalibrationBatch, ...] = DATA,
    ) -> str:
        folder = write_model_folder(tmp_path, encoder_model(classifier=True) if model is None else model)
        loaded, config = load_model(folder), config or OptimizeConfig()
        return resolve_method(Context(loaded, config, data))

    return resolved


def test_of_a_classifier_is_weighed_by_gradients(resolve: Resolve) -> None:
    assert resolve() == "fisher"


def test_of_an_embedding_by_its_outputs(resolve: Resolve) -> None:
    assert resolve(encoder_model()) == "whiten"


@pytest.mark.parametrize(
    ("config", "data", "method"),
    [
        (OptimizeConfig(), (), "svd"),
        (OptimizeConfig(preset="paper-ffn"), DATA, "squeeze"),
        (OptimizeConfig(method="svd"), DATA, "svd"),
        (OptimizeConfig(method="whiten"), DATA, "whiten"),
        (OptimizeConfig(), ONE_TEXT, "whiten"),
    ],
    ids=["without data", "a preset", "a name", "another name", "one text, which gradients cannot be traced on"],
)
def test_of_a_classifier_goes_by_what_is_given(
    resolve: Resolve, config: OptimizeConfig, data: tuple[CalibrationBatch, ...], method: str
) -> None:
    assert resolve(None, config, data) == method


def test_takes_no_gradient_where_there_is_none(resolve: Resolve) -> None:
    assert resolve(encoder_model(classifier=True, dtype=np.float16)) == "whiten"
    old = encoder_model(classifier=True)
    old.opset_import[0].version = 15
    assert resolve(old) == "whiten"


def test_takes_no_gradient_of_an_operator_without_a_rule(resolve: Resolve) -> None:
    model = encoder_model(classifier=True)
    logits = next(node for node in model.graph.node if "logits" in node.output)
    logits.output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("Atan", ["before"], ["logits"]))
    assert resolve(model) == "whiten"


def test_learning_through_an_operator_without_a_rule_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    model = encoder_model(classifier=True)
    logits = next(node for node in model.graph.node if "logits" in node.output)
    logits.output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("Atan", ["before"], ["logits"], name="bend"))
    loaded = load_model(write_model_folder(tmp_path, model))
    context = Context(loaded, OptimizeConfig(method="whiten", distill=1), DATA)
    with pytest.raises(ModelError, match="Atan 'bend' has no rule of differentiation"):
        take_survey(context)


def test_of_an_operator_without_a_rule_says_so_if_gradients_are_asked_for(resolve: Resolve) -> None:
    model = encoder_model(classifier=True)
    logits = next(node for node in model.graph.node if "logits" in node.output)
    logits.output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("Atan", ["before"], ["logits"], name="bend"))
    with pytest.raises(ModelError, match="Atan 'bend' has no rule of differentiation"):
        resolve(model, OptimizeConfig(method="fisher"))


def test_heeds_what_only_budgets_of_all_weights_can(resolve: Resolve) -> None:
    assert resolve(None, OptimizeConfig(floor={"all": 0.2})) == "fisher"
    with pytest.raises(OptionError, match=r"`floor` is kept by `method` whiten, fisher, soco .* not by svd"):
        resolve(None, OptimizeConfig(floor={"all": 0.2}), ())
