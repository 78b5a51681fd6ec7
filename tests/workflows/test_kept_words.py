"""A part of the vocabulary, then everything else: what a run says, writes, and is held against."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import squeeze_onnx
from squeeze_onnx.compress.calibration_source import CalibrationConfig, GivenFeeds
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.evaluate.validation import validate
from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.support.errors import ModelError, OptionError, OutputError
from squeeze_onnx.workflows.dry_run import foresee
from squeeze_onnx.workflows.explicit_command import explicit_command
from squeeze_onnx.workflows.gate import GateConfig, choose_rows, make_evaluators
from squeeze_onnx.workflows.opening import settled
from squeeze_onnx.workflows.optimize import optimize
from squeeze_onnx.workflows.recipe import read_recipe
from tests.evaluate.test_validation import write_sst2
from tests.kept_words import FEATURES, table_model
from tests.text_models import write_classifier
from tests.tiny_encoder import SENTENCES, VOCABULARY, write_model_folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the model ``whole``, and ``texts.txt`` that have some of its words."""
    folder = tmp_path_factory.mktemp("words")
    write_model_folder(folder / "whole", pad_token_id=0)
    (folder / "texts.txt").write_text("\n".join(SENTENCES), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trimmed(work: Path) -> dict[str, Any]:
    """Write ``part``, which nothing else was done to, and return its report."""
    return optimize(work / "whole", work / "part", config(work, method="svd", keep=1.0))


def config(work: Path, **settings: Any) -> OptimizeConfig:
    return OptimizeConfig(keep_vocabulary=(str(work / "texts.txt"),), **settings)


def test_trimming_alone_changes_no_answer(work: Path, trimmed: dict[str, Any]) -> None:
    told = validate(work / "whole", work / "part", ValidateConfig(data=work / "texts.txt", latency_rounds=1)).to_json()
    assert told["max_abs_diff"] <= 1e-6
    assert told["data"]["rows"] == {"sentences": len(SENTENCES)}


def test_the_report_is_about_the_model_that_was_given(work: Path, trimmed: dict[str, Any]) -> None:
    given, words = work / "whole", trimmed["vocabulary"]
    assert trimmed["model"]["path"] == str(given)
    assert trimmed["size"]["baseline_bytes"] == (given / "model.onnx").stat().st_size == words["bytes"]["before"]
    assert f"{VOCABULARY} → {words['tokens']['after']} tokens" in (work / "part" / "report.html").read_text(
        encoding="utf-8"
    )
    assert trimmed["notes"] == []  # nothing was cut, so no method is weak
    assert words["kept"] == [str(work / "texts.txt")]
    assert words["tokens"]["after"] < words["tokens"]["before"] == words["table_rows"]["before"] == VOCABULARY
    assert (
        json.loads((work / "part" / "config.json").read_text(encoding="utf-8"))["vocab_size"]
        == words["tokens"]["after"]
    )


def test_what_is_squeezed_is_held_against_the_model_with_these_tokens(work: Path) -> None:
    text = CalibrationConfig(str(work / "texts.txt"))
    told = foresee(work / "whole", work / "out", config(work, keep=0.7), calibration=text)
    assert told["size"]["predicted_bytes"] < told["vocabulary"]["bytes"]["after"] < told["size"]["baseline_bytes"]


def test_a_calibration_text_of_other_words_is_told(work: Path) -> None:
    (work / "other.txt").write_text(
        "\n".join(["an actor and the plot", "never a bright film", "or not"] * 9), encoding="utf-8"
    )
    text = CalibrationConfig(str(work / "other.txt"))
    told = foresee(work / "whole", work / "out", config(work, keep=1.0, method="svd"), calibration=text)
    assert 0.1 < told["vocabulary"]["calibration_gone"] < 0.9
    assert any("of the tokens of the calibration text are no longer" in note for note in told["notes"])


def test_a_gate_counts_what_the_missing_words_cost(tmp_path: Path) -> None:
    """The baseline reads all words, a candidate those that stay."""
    vectors = {"good": (-1.0, 1.0), "bad": (1.0, -1.0), "film": (0.5, 0.0)}
    whole = write_classifier(tmp_path / "whole", vectors)
    part = write_classifier(tmp_path / "part", {"film": (0.5, 0.0), "bad": (1.0, -1.0)})
    gate = GateConfig(1.0, "sst2", write_sst2(tmp_path / "glue"))
    rows = choose_rows(load_model(part), gate, None, OptimizeConfig())
    _, final = make_evaluators(load_model(part), rows, gate, OptimizeConfig(), given=whole)
    assert final.baseline_metric == 1.0
    assert final.grade(part / "model.onnx").drop_points > 0


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"calibration": CalibrationConfig("tokens.npz")}, OptionError, "other numbers than saved inputs have"),
        (
            {"calibration": GivenFeeds(batches=(CalibrationBatch({}, np.ones((1, 1))),))},
            OptionError,
            "other numbers than saved inputs have",
        ),
        ({"calibration": CalibrationConfig("a.txt", tokenizer=Path("b"))}, OptionError, "put `tokenizer` there"),
        ({"out": "whole", "force": True}, OutputError, "would replace the input"),
        ({"model": "speaker"}, ModelError, r"has a number for each of its 6 tokens"),
    ],
)
def test_what_cannot_be_had_is_refused_and_leaves_nothing(
    work: Path, tmp_path: Path, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    whole = (
        write_model_folder(tmp_path / "speaker", table_model(FEATURES)) if given.pop("model", None) else work / "whole"
    )
    out = work / given.pop("out", "out")
    with pytest.raises(error, match=message):
        optimize(whole, out, config(work, keep=1.0), **given)
    assert not (work / "out").exists()
    assert (work / "whole" / "model.onnx").exists()


def test_a_model_in_memory_has_no_tokenizer(work: Path) -> None:
    with pytest.raises(OptionError, match="which squeeze does not write: use optimize"):
        squeeze_onnx.squeeze(work / "whole", config(work, keep=0.5))


def test_the_explicit_command_keeps_the_same_words() -> None:
    asked = OptimizeConfig(keep_vocabulary=("my texts.txt", "de"), max_size="1MB")
    told, text = settled(Path("model"), asked, None)
    assert text is not None
    assert text.source == "my texts.txt"
    assert "--keep-vocabulary 'my texts.txt' --keep-vocabulary de" in explicit_command(
        Path("model"), Path("out"), told, text, None
    )


def test_files_of_a_recipe_lie_beside_it(work: Path) -> None:
    recipe = work / "squeeze.toml"
    recipe.write_text(
        'model = "whole"\noutput = "out"\n[optimize]\nkeep-vocabulary = ["texts.txt", "en"]\n', encoding="utf-8"
    )
    assert read_recipe(recipe).optimize.keep_vocabulary == (str(work / "texts.txt"), "en")
