"""Goals as arguments: ``optimize --max-size``, ``--effort`` and ``--dry-run``."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from squeeze_onnx.compress.calibration_source import CalibrationConfig
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.workflows.dry_run import foresee
from squeeze_onnx.workflows.optimize import optimize
from tests.conftest import RunCli
from tests.folders import snapshot
from tests.tiny_encoder import WORDS, outputs, write_model_folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an encoder of 78 kB in ``model`` and sentences in ``text``."""
    folder = tmp_path_factory.mktemp("goals")
    write_model_folder(folder / "model")
    random = np.random.default_rng(0)
    sentences = [" ".join(random.choice(WORDS, 8)) for _ in range(48)]
    (folder / "text").write_text("\n".join(sentences), encoding="utf-8")
    return folder


@pytest.fixture
def goal(call_cli: RunCli, work: Path) -> Any:
    """Call `optimize` on the encoder, its survey kept for the next call."""

    def call(*options: object, status: int = 0) -> Any:
        text = ("--calibration", work / "text", "--cache", work / "cache")
        done = call_cli("optimize", work / "model", *text, "--effort", "quick", *options)
        assert done.returncode == status, done.stderr
        return done

    return call


def test_the_best_that_fits_a_size_is_written_and_can_be_said_in_full(
    call_cli: RunCli, goal: Any, work: Path, tmp_path: Path
) -> None:
    done = goal("-o", tmp_path / "small", "--max-size", "27kB")
    report = json.loads((tmp_path / "small" / "report.json").read_text(encoding="utf-8"))
    size, entry = report["size"]["optimized_bytes"], report["goal"]
    assert 0.97 * 27_000 <= size <= 27_000
    assert size == pytest.approx(entry["size"]["predicted_bytes"], rel=0.01)
    forms = {form["precision"]: form for form in entry["size"]["forms"]}
    assert set(forms) == {"fp32", "int8", "int8-int4"}
    damage = {name: form["cut"] + (form["rounding"] or 0) for name, form in forms.items()}
    assert report["precision"]["name"] == min(damage, key=lambda name: damage[name])
    assert outputs(tmp_path / "small").shape == outputs(work / "model").shape
    assert f"Effort quick came to: {entry['command']}" in done.stdout
    words = shlex.split(entry["command"].replace(str(tmp_path / "small"), str(tmp_path / "again")))
    assert "--include" in words
    assert call_cli(*words[1:]).returncode == 0
    again, small = ((tmp_path / name / "model.onnx").read_bytes() for name in ("again", "small"))
    assert again == small


def test_a_dry_run_says_what_will_come_and_leaves_nothing(goal: Any, work: Path, tmp_path: Path) -> None:
    before = snapshot(work / "model")
    done = goal("--dry-run", "--max-size", "27kB", "--json", tmp_path / "forecast.json")
    forecast = json.loads((tmp_path / "forecast.json").read_text(encoding="utf-8"))
    assert forecast["size"]["baseline_bytes"] > 77_000
    assert 26_000 < forecast["size"]["predicted_bytes"] <= 27_000
    assert forecast["damage"]["cut"] > 0
    assert 0 < forecast["products_share"] < 1
    assert "Predicted: 77.8 kB → 2" in done.stdout
    assert done.stdout.endswith("Nothing was written.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["forecast.json"]
    assert snapshot(work / "model") == before


@pytest.mark.parametrize("include", [(), ("embedding",)], ids=["layers", "and tables"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int8-int4", "int4"])
def test_bytes_are_predicted_to_one_per_cent(
    work: Path, tmp_path: Path, precision: str, include: tuple[str, ...]
) -> None:
    config = OptimizeConfig(method="whiten", keep=0.6, precision=precision, include=include, refit=False, simulations=9)
    given: dict[str, Any] = {"calibration": CalibrationConfig(str(work / "text")), "cache": work / "cache"}
    foreseen = foresee(work / "model", tmp_path / "out", config, **given)["size"]["predicted_bytes"]
    written = optimize(work / "model", tmp_path / "out", config, **given)["size"]["optimized_bytes"]
    assert foreseen == pytest.approx(written, rel=0.01)


def test_a_size_that_nothing_gets_down_to_names_the_least(goal: Any, tmp_path: Path) -> None:
    said = goal("-o", tmp_path / "out", "--max-size", "9kB", "--precision", "int8", status=2).stderr
    assert "--max-size 9.0 kB is less than" in said
    least = float(said.split("about ")[1].split(" kB in int8")[0])
    assert not list(tmp_path.iterdir())
    goal("--dry-run", "--max-size", f"{1.02 * least:.1f}kB", "--precision", "int8")


def test_a_size_larger_than_the_model_only_rounds(goal: Any) -> None:
    assert "Of the multiplications with weights 100% stay" in goal("--dry-run", "--max-size", "1MB").stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--max-size", "10 potatoes"), "--max-size is a size such as 10MB"),
        (("--max-size", "0"), "--max-size is a size such as 10MB"),
        (("--max-size", "10MB", "--keep", "0.5"), "--max-size is a budget by itself; leave out --keep"),
        (("--max-size", "10MB", "--method", "svd"), "svd does not: leave it out"),
        (("--max-size", "10MB", "--target-latency", "0.5"), "are two budgets"),
        (("--max-size", "10MB", "--objective", "size"), "leave out --objective size"),
        (("--max-size", "10MB", "--calibration", "general:eo"), "there are general sentences of all, en,"),
        (("--max-size", "10MB", "--plan", "plan.json"), "--plan already says"),
        (("--effort", "bst"), "--effort is one of quick, balanced, best; got 'bst'; did you mean best?"),
        (("--dry-run", "--max-drop", "1"), "--dry-run scores nothing"),
    ],
)
def test_goals_that_make_no_sense_are_one_sentence(
    call_cli: RunCli, work: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    done = call_cli("optimize", work / "model", "-o", tmp_path / "out", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_without_text_the_sentences_of_the_package_are_read_and_that_is_said(
    call_cli: RunCli, work: Path, tmp_path: Path
) -> None:
    done = call_cli("optimize", work / "model", "--dry-run", "--max-size", "40kB", "--effort", "quick")
    assert done.returncode == 0, done.stderr
    assert "Note: Calibrated on the general sentences of this package (general:en)" in done.stdout
    assert "--calibration general:en" in done.stdout


def test_only_a_dry_run_needs_no_output(call_cli: RunCli, work: Path) -> None:
    done = call_cli("optimize", work / "model", "--keep", "0.5")
    assert done.returncode == 2
    assert "'-o' / '--output'" in done.stderr


def test_squeezing_in_memory_has_no_file_whose_size_could_be_met(work: Path) -> None:
    from squeeze_onnx import squeeze

    with pytest.raises(OptionError, match="max_size and effort are goals of optimize"):
        squeeze(work / "model", {"max_size": "10MB"})
