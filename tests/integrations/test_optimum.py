import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from squeeze_onnx import OptimizeConfig
from squeeze_onnx.integrations.optimum import ORTSqueezer
from squeeze_onnx.support.errors import ModelError, OutputError
from tests.folders import snapshot
from tests.tiny_encoder import write_model_folder

ROOT = Path(__file__).parents[2]
REGISTERED = "optimum/commands/register/register_squeeze.py"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("optimum")


@pytest.fixture(scope="module")
def facts(work: Path) -> dict[str, Any]:
    """Run the script with the command registered as a wheel registers it."""
    paths = [str(ROOT)]
    if importlib.util.find_spec("optimum.commands.register.register_squeeze") is None:  # not installed, but on the path
        source = wheel_files()[REGISTERED]
        (work / "site" / REGISTERED).parent.mkdir(parents=True)
        shutil.copyfile(ROOT / source, work / "site" / REGISTERED)
        paths.append(str(work / "site"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(Path(__file__).with_name("optimum_script.py")), str(work)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout) | {"stderr": done.stderr}
    return found


def wheel_files() -> dict[str, str]:
    """Return what goes to another place in the wheel: place → source."""
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    return {place: source for source, place in targets["wheel"]["force-include"].items()}


def test_the_wheel_registers_the_command_and_makes_optimum_no_package() -> None:
    assert [place for place in wheel_files() if place.startswith("optimum/")] == [REGISTERED]
    assert (ROOT / wheel_files()[REGISTERED]).is_file()


def test_help_lists_the_command_and_loads_nothing_heavy(facts: dict[str, Any]) -> None:
    assert facts["status of help"] == 0
    assert re.search(r"squeeze\s+Export to ONNX and squeeze", facts["stderr"])
    assert re.search(r"onnx\s+Export PyTorch to ONNX", facts["stderr"])
    assert facts["loaded by help"] == []


def test_a_checkpoint_is_exported_and_squeezed_in_one_go(facts: dict[str, Any], work: Path) -> None:
    assert facts["export squeeze"] == 0
    report = json.loads((work / "small" / "report.json").read_text(encoding="utf-8"))
    assert (report["method"], report["config"]["keep"]) == ("svd", 0.5)
    assert {"config.json", "tokenizer.json", "model.onnx"} <= set(snapshot(work / "small"))
    assert re.search(rf"{work / 'small'}: size .* → .* method svd", facts["stderr"])
    assert all(
        f"Note: {note.partition('`')[0]}" in facts["stderr"] for note in report["notes"]
    )  # settings are options there
    assert f"Report: {work / 'small' / 'report.html'}; `squeeze-onnx validate`" in facts["stderr"]


def test_an_export_is_squeezed_as_it_is(facts: dict[str, Any], work: Path) -> None:
    assert (facts["export onnx"], facts["squeeze of an export"]) == (0, 0)
    first, second = ((work / name / "model.onnx").stat().st_size for name in ("small", "small2"))
    assert first == second < (work / "onnx" / "model.onnx").stat().st_size


def test_bad_input_is_status_2_and_one_sentence(facts: dict[str, Any]) -> None:
    assert facts["output exists"] == 2
    assert "optimum-cli export squeeze: error: " in facts["stderr"]
    assert "small2 exists already: name another folder, or replace it with --force" in facts["stderr"]


def test_the_result_answers_in_a_pipeline_and_after_quantization(facts: dict[str, Any]) -> None:
    assert facts["pipeline"]["label"] in ("LABEL_0", "LABEL_1")
    squeezed, quantized = map(np.array, facts["logits"])
    np.testing.assert_allclose(quantized, squeezed, atol=0.05)
    assert "input_ids" in facts["inputs of the features"]


def test_an_ort_model_is_squeezed_with_its_configuration(facts: dict[str, Any]) -> None:
    assert {"config.json", "model.onnx", "plan.json", "tokenizer.json"} <= set(facts["files of an ORTModel squeezed"])


class TestFromAFolder:
    def test_is_what_optimize_does(self, tmp_path: Path) -> None:
        model = write_model_folder(tmp_path / "model")
        squeezer = ORTSqueezer.from_pretrained(str(model))
        assert squeezer.squeeze(OptimizeConfig(keep=0.5), save_dir=tmp_path / "small") == tmp_path / "small"
        with pytest.raises(OutputError, match="`force`"):
            squeezer.squeeze(save_dir=tmp_path / "small")

    def test_names_one_of_several_files(self, tmp_path: Path) -> None:
        model = write_model_folder(tmp_path / "model")
        shutil.copyfile(model / "model.onnx", model / "other.onnx")
        assert ORTSqueezer.from_pretrained(model, "other.onnx").path == model / "other.onnx"

    def test_without_a_model_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"holds no \.onnx file"):
            ORTSqueezer.from_pretrained(tmp_path)


def test_a_model_of_several_files_is_refused() -> None:
    with pytest.raises(ModelError, match="a dict is no model of one ONNX file"):
        ORTSqueezer.from_pretrained({})  # type: ignore[arg-type]
