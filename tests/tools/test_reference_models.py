"""The recipe of a reference model, and the models themselves where they can be built."""

import json
from pathlib import Path

import pytest

from squeeze_onnx.support.errors import OptionError
from tests.reference import classifier, minilm_l6
from tools.reference_models import BASES, EXPORT_TOLERANCE, REFERENCE_MODELS, Recipe


@pytest.mark.parametrize("name", REFERENCE_MODELS)
def test_recipe_of_every_reference_model_names_its_base_and_its_lora_file(name: str, tmp_path: Path) -> None:
    base = "mpnet-base" if name.startswith("mpnet") else "minilm-l6"
    task = name.removeprefix(base).removeprefix("-")
    (tmp_path / base).mkdir()
    (tmp_path / base / f"{task}.safetensors").write_bytes(b"weights")
    assert Recipe.of(name, tmp_path) == Recipe(name, base, tmp_path / base / f"{task}.safetensors" if task else None)


def test_other_lora_content_is_another_build(tmp_path: Path) -> None:
    lora = tmp_path / "MRPC.safetensors"
    lora.write_bytes(b"before")
    before = Recipe("minilm-l6-MRPC", "minilm-l6", lora).inputs
    lora.write_bytes(b"after")
    assert Recipe("minilm-l6-MRPC", "minilm-l6", lora).inputs != before


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(OptionError, match="no reference model is called 'bert'; there are minilm-l6, "):
        Recipe.of("bert", None)


def test_classifier_without_lora_folder_says_how_to_name_it() -> None:
    with pytest.raises(OptionError, match=r"minilm-l6-RTE needs --lora-folder \(or SQUEEZE_LORA\)"):
        Recipe.of("minilm-l6-RTE", None)


def test_missing_lora_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"minilm-l6-RTE needs the LoRA file .*minilm-l6/RTE\.safetensors"):
        Recipe.of("minilm-l6-RTE", tmp_path)


def test_every_card_states_the_pins_of_its_base() -> None:
    models = Path(__file__).parents[2] / "models"
    for name, base in BASES.items():
        card = (models / name / "README.md").read_text(encoding="utf-8")
        for wheel in base.wheels:
            assert f"| `{wheel.requirement}` | `{wheel.sha256}` |" in card


@pytest.mark.network
@pytest.mark.slow
def test_export_agrees_with_pytorch_on_a_padded_batch(model_cache: Path) -> None:
    folder = minilm_l6(model_cache)
    found = json.loads((folder.parent / "build.json").read_text(encoding="utf-8"))
    assert 0 < found["onnxruntime_vs_torch_max_abs_diff"] <= EXPORT_TOLERANCE


@pytest.mark.network
@pytest.mark.slow
def test_classifier_folder_is_what_optimum_writes(model_cache: Path) -> None:
    folder = classifier("minilm-l6", "MRPC", model_cache)
    assert {"model.onnx", "config.json", "tokenizer.json"} <= {file.name for file in folder.iterdir()}
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["BertForSequenceClassification"]
