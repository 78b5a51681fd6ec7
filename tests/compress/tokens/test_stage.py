import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

import squeeze_onnx as so
from squeeze_onnx.compress.plan import PlannedTokens
from squeeze_onnx.compress.plan_reading import read_plan
from squeeze_onnx.compress.tokens.stage import PrunedTokens
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.evaluate.answer_heads import ClassLogits
from squeeze_onnx.learning.distillation_losses import distillation_losses, hidden_states
from squeeze_onnx.learning.losses import KeptStateError, attach_losses
from squeeze_onnx.learning.teacher import teach
from squeeze_onnx.support.errors import ModelError, OptionError
from squeeze_onnx.workflows.dry_run import foresee
from tests.conftest import RunCli
from tests.graph.execution import run
from tests.graph.token_streams import Rotating, model_of, pruned
from tests.tiny_encoder import WORDS, batch, encoder_model, write_model_folder

ASKED = 0.6


def texts(seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(3, 20))) for _ in range(60)]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder, a classifier and text."""
    folder = tmp_path_factory.mktemp("tokens")
    for name in ("encoder", "classifier"):
        (folder / name).mkdir()
        write_model_folder(folder / name, encoder_model(classifier=name == "classifier"))
    (folder / "text.txt").write_text("\n".join(texts()), encoding="utf-8")
    return folder


def test_fewer_tokens_are_chosen_distilled_rounded_and_told_and_the_plan_does_it_again(
    work: Path, run_cli: RunCli
) -> None:
    asked = ("--calibration", work / "text.txt", "--distill", "3", "--precision", "int8")
    done = run_cli(
        "optimize", work / "classifier", "-o", work / "fewer", "--keep", "0.7", "--prune-tokens", str(ASKED), *asked
    )
    assert done.returncode == 0, done.stderr
    report, plan = (json.loads((work / "fewer" / name).read_text("utf-8")) for name in ("report.json", "plan.json"))
    tokens = report["tokens"]
    assert 0.4 < tokens["share"] <= ASKED == tokens["asked"]
    assert [step["step"] for step in report["last_look"]["steps"]] == [
        "squeezing",
        "pruning",
        "distillation",
        "rounding",
    ]
    assert plan["tokens"] == {"asked": ASKED, "layers": tokens["layers"]}
    assert read_plan(work / "fewer" / "plan.json").tokens is not None
    operators = [node.op_type for node in ir.load(work / "fewer" / "model.onnx").graph]
    assert operators.count("TopK") == len(tokens["layers"])
    assert f"Tokens: {tokens['share']:.0%} of the multiplications" in done.stdout

    again = run_cli(
        "optimize", work / "classifier", "-o", work / "again", "--plan", work / "fewer" / "plan.json", *asked
    )
    assert again.returncode == 0, again.stderr
    assert (work / "again" / "model.onnx").read_bytes() == (work / "fewer" / "model.onnx").read_bytes()


def test_all_tokens_are_no_other_model(work: Path) -> None:
    for name, settings in (("plain", {}), ("all", {"prune_tokens": 1})):
        so.optimize(work / "encoder", work / name, method="svd", keep=0.7, calibration=texts(), **settings)  # type: ignore[arg-type]
    assert (work / "all" / "model.onnx").read_bytes() == (work / "plain" / "model.onnx").read_bytes()
    assert "tokens" not in json.loads((work / "all" / "plan.json").read_text("utf-8"))


def test_a_forecast_says_that_it_does_not_foresee_them(work: Path) -> None:
    config = so.OptimizeConfig(method="svd", keep=0.7, prune_tokens=0.8)
    text = so.CalibrationConfig(str(work / "text.txt"), rows=32)
    forecast = foresee(work / "encoder", work / "foreseen", config, calibration=text)
    assert any("(`prune_tokens`) is chosen on the squeezed model" in note for note in forecast["notes"])


def test_embeddings_of_fewer_tokens_keep_their_shape_and_their_place(work: Path) -> None:
    result = so.squeeze(work / "encoder", calibration=texts(), method="svd", keep=0.9, prune_tokens=ASKED)
    assert result.tokens is not None
    assert result.tokens.kept
    found = run(result.model.ir, batch())[0]
    assert found.shape == (3, 7, 32)
    alone = run(result.model.ir, {name: each[2:, :4] for name, each in batch().items()})[0]
    np.testing.assert_allclose(found[2:, :4], alone, atol=1e-5)


def refused(folder: Path, model: Any, **settings: Any) -> None:
    folder.mkdir()
    write_model_folder(folder, model)
    settings = {"calibration": texts(), "method": "svd", "prune_tokens": ASKED, **settings}
    so.optimize(folder, folder / "out", **settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"calibration": None}, "`prune_tokens` looks at what tokens do to answers; give `calibration`"),
        ({"prune_tokens": 0.05}, r"`prune_tokens` 0\.05 cannot be reached: .* stay; ask for more"),
        ({"prune_tokens": 1.5}, r"`prune_tokens` is a fraction above 0 and up to 1; got 1\.5"),
        ({"distill": 3, "distill_layers": 0.5}, "`distill_layers` 0.5 compares all tokens"),
    ],
    ids=["without text", "too few", "too many", "with single layers"],
)
def test_what_cannot_be_asked_for_is_refused(tmp_path: Path, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        refused(tmp_path / "model", encoder_model(), **settings)
    assert not (tmp_path / "model" / "out").exists()


def test_a_model_that_answers_for_every_token_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"answers with token logits .logits.: leave it out"):
        refused(tmp_path / "tagger", encoder_model(tagger=True))


def test_a_model_that_knows_where_its_tokens_stand_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"when tokens only change places .* so a later layer knows where they stand"):
        refused(tmp_path / "turning", ir.to_proto(model_of(Rotating(np.float32))))


def test_a_student_with_all_tokens_in_another_order_has_nothing_to_learn(tmp_path: Path) -> None:
    teacher = ir.from_proto(encoder_model(classifier=True))
    student, kept = pruned(teacher, {0: 1.0, 1: 1.0})
    losses = PrunedTokens(PlannedTokens(1.0, {}), 1.0, kept=kept).losses(
        distillation_losses(teacher, ClassLogits("logits", (0, 1)))
    )
    assert sum(isinstance(loss, KeptStateError) for loss in losses) == len(hidden_states(teacher))
    graph = attach_losses(student, losses)
    one = CalibrationBatch(batch(), batch()["attention_mask"])
    feeds = teach(teacher, graph, [one], tmp_path).feeds(0)
    assert max(abs(float(loss)) for loss in run(graph.model, feeds)) < 1e-5
